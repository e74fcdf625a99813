#!/usr/bin/env bash
# A new workspace gets its instance from the configured control plane, and never from production's.
# The tenant once knew its control plane only by the address for browsers, and asked production for every instance.
# @timeout 30s
# @tags control-plane provisioning
# @needs curl jq
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require ALPHA_BASE ALPHA_ORG_ID ALPHA_ADMIN_TOKEN CP_STUB_BASE

made=
# shellcheck disable=SC2317  # called at the end
on_exit() {
    [[ -z $made ]] || request DELETE "$ALPHA_BASE/workspaces/$made" "${alpha_admin[@]}"
}

note "the workspace is there at once, and its instance soon"
make_workspace '{"name": "provisioned", "tier": 2, "runtime": "replay", "id": "00000000-0000-4000-8000-000000000001"}'
made=$ID
expect_equal "making it: state" "$(field .status)" provisioning
expect_without "making it: the server chose the id" "$made" 00000000-0000-4000-8000-000000000001
for ((i = 0; i < 80; i++)); do
    request GET "$ALPHA_BASE/admin/workspaces/$made/instance" "${alpha_admin[@]}"
    [[ -z $(field .instance_id)$(field .error) ]] || break
    sleep 0.1
done
expect_equal "the instance: status" "$STATUS" 200
expect_equal "the instance: error" "$(field .error)" ""
instance=$(field .instance_id)
expect_text "the instance: id" "$instance" i-
expect_equal "the instance: alive" "$(field .alive)" true

note "the stub was asked, by a tenant that said who it is"
request GET "$CP_STUB_BASE/__stub/state"
expect_equal "what was ordered" \
    "$(field ".provisions[] | select(.workspace_id == \"$made\") | \"\(.org_id) \(.instance_id) \(.authenticated) \(.admin_token)\"")" \
    "$ALPHA_ORG_ID $instance true true"

request GET "$ALPHA_BASE/admin/workspaces/$made/console" "${alpha_admin[@]}"
expect_equal "its console: status" "$STATUS" 200
expect_text "its console: body" "$(field .output)" "workspace $made"

note "an instance goes with its workspace"
request DELETE "$ALPHA_BASE/workspaces/$made" "${alpha_admin[@]}"
expect_equal "removing it: status" "$STATUS" 200
expect_equal "removing it: body" "$(field .status)" removed
state=
for ((i = 0; i < 50; i++)); do
    request GET "$CP_STUB_BASE/__stub/state"
    state=$(field ".provisions[] | select(.workspace_id == \"$made\") | .state")
    [[ $state == running ]] || break
    sleep 0.1
done
expect_equal "the instance afterwards" "$state" terminated

note "the stub answers as the control plane does"
request POST "$CP_STUB_BASE/cp/workspaces/provision" "${json[@]}" -d '{"workspace_id": "by-hand"}'
expect_equal "provision: status" "$STATUS" 201
expect_equal "provision: body" "$(field .state)" pending
request GET "$CP_STUB_BASE/cp/workspaces/provision"
expect_answer "provision, another method" 405 ""
request POST "$CP_STUB_BASE/cp/admin/orgs" "${json[@]}" -d '{"slug": "acme"}'
expect_equal "an organisation without its fields: status" "$STATUS" 400
expect_equal "an organisation without its fields: which" "$(field '.fields | join(" ")')" "name owner_user_id"
request POST "$CP_STUB_BASE/cp/admin/orgs" "${json[@]}" -d '{"slug": "acme", "name": "Acme", "owner_user_id": "u"}'
expect_equal "an organisation: status" "$STATUS" 201
expect_equal "an organisation: body" "$(field .slug)" acme
request GET "$CP_STUB_BASE/cp/tenants/config" "${alpha_org[@]}"
expect_equal "a tenant's configuration: status" "$STATUS" 200
expect_equal "a tenant's configuration: body" "$(field .MOLECULE_ORG_SLUG)" harness-tenant
request POST "$CP_STUB_BASE/cp/nothing/like/it"
expect_equal "anything else: status" "$STATUS" 501
expect_text "anything else: body" "$BODY" "POST /cp/nothing/like/it" '"hint"'

finish "the configured control plane provides the instance"
