#!/usr/bin/env bash
# A workspace's token opens that workspace alone; admin routes open for the admin, the organisation and its members.
# A token was once looked up without its workspace, so that any agent could read any other's history.
# @timeout 45s
# @tags auth
# @needs curl jq docker
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require ALPHA_BASE ALPHA_HOST ALPHA_ORG_ID ALPHA_ADMIN_TOKEN ALPHA_ID ALPHA_TOKEN BETA_ID BETA_TOKEN CP_STUB_BASE

sql() { in_service postgres psql -h /tmp -U tenant -d postgres -qtAc "$1"; }
open_database() { sql "ALTER DATABASE tenant ALLOW_CONNECTIONS true"; }

made=()
closed=
# shellcheck disable=SC2317  # called at the end
on_exit() {
    local id
    [[ -z $closed ]] || open_database
    for id in "${made[@]}"; do
        request DELETE "$ALPHA_BASE/workspaces/$id" "${alpha_admin[@]}"
    done
}

# ask PATH [CURL-ARGUMENT…]
ask() { request GET "$ALPHA_BASE$1" "${alpha_org[@]}" "${@:2}"; }
bearer() { printf 'Authorization: Bearer %s' "$1"; }

note "the admin's routes"
ask /workspaces
expect_error "nobody" 401 "admin auth required"
ask /workspaces -H "$(bearer wrong)"
expect_error "a wrong token" 401 "invalid admin auth token"
ask /workspaces -H "Authorization: bearer $ALPHA_ADMIN_TOKEN"
expect_error "another scheme" 401 "admin auth required"
ask /workspaces -H "$(bearer "$ALPHA_TOKEN")"
expect_error "a workspace's token" 401 "invalid admin auth token"
ask /workspaces -H "$(bearer "$ALPHA_ADMIN_TOKEN")"
expect_equal "the admin: status" "$STATUS" 200
expect_equal "the admin: body" "$(field "map(select(.id == \"$ALPHA_ID\"))[0].name")" alpha
ask "/admin/workspaces/$ALPHA_ID/test-token" -H "$(bearer "$ALPHA_ADMIN_TOKEN")"
expect_answer "tokens for tests, in production" 404 "404 page not found"

note "the organisation's tokens act for the admin until they are revoked"
request POST "$ALPHA_BASE/org/tokens" "${alpha_admin[@]}"
expect_equal "minting: status" "$STATUS" 201
org_token=$(field .auth_token) org_token_id=$(field .id)
ask /org/tokens -H "$(bearer "$org_token")"
expect_equal "in use: status" "$STATUS" 200
expect_text "in use: it is listed" "$BODY" "$org_token_id"
expect_without "in use: not in plain text" "$BODY" "$org_token"
ask "/workspaces/$BETA_ID/activity" -H "$(bearer "$org_token")"
expect_equal "at a workspace: status" "$STATUS" 200
request DELETE "$ALPHA_BASE/org/tokens/$org_token_id" "${alpha_admin[@]}"
expect_equal "revoking: status" "$STATUS" 200
ask /workspaces -H "$(bearer "$org_token")"
expect_error "revoked" 401 "invalid admin auth token"

note "members are known by their session, and the control plane is asked once"
session=session=harness-tenant.replay-$$-$RANDOM
for attempt in 1 2 3; do
    ask /workspaces -H "Cookie: $session"
    expect_equal "a member, request $attempt: status" "$STATUS" 200
done
expect_text "a member: body" "$BODY" "$ALPHA_ID"
ask /workspaces -H "Cookie: session=harness-tenant-beta.1"
expect_error "another tenant's member" 401 "admin auth required"
request GET "$CP_STUB_BASE/__stub/state"
expect_equal "questions about the member" "$(field "[.tenant_member_cookies[] | select(. == \"$session\")] | length")" 1

note "a workspace's own routes"
activity=/workspaces/$ALPHA_ID/activity
ask "$activity"
expect_error "nobody" 401 "missing workspace auth token"
ask "$activity" -H "$(bearer wrong)"
expect_error "a wrong token" 401 "invalid workspace auth token"
ask "$activity" -H "$(bearer "$BETA_TOKEN")"
expect_error "another workspace's token" 401 "invalid workspace auth token"
ask "$activity" -H "$(bearer "$ALPHA_TOKEN")"
expect_equal "its own token: status" "$STATUS" 200
expect_equal "its own token: body" "$(field type)" array
ask "$activity" -H "$(bearer "$ALPHA_ADMIN_TOKEN")"
expect_equal "the admin: status" "$STATUS" 200
ask "$activity" -H "Referer: http://$ALPHA_HOST/chat"
expect_equal "a page of the user interface: status" "$STATUS" 200
ask /workspaces/alpha/activity -H "$(bearer "$ALPHA_ADMIN_TOKEN")"
expect_error "no id" 400 "an id must be a UUID"

note "tokens are stored as hashes, can be revoked, and die with their workspace"
make_workspace '{"name": "token-holder"}'
holder=$ID
made+=("$holder")
request POST "$ALPHA_BASE/admin/workspaces/$holder/tokens" "${alpha_admin[@]}"
expect_equal "minting: status" "$STATUS" 201
first=$(field .auth_token) first_id=$(field .id)
request POST "$ALPHA_BASE/admin/workspaces/$holder/tokens" "${alpha_admin[@]}"
second=$(field .auth_token)
stored=$(in_service postgres psql -h /tmp -U tenant -d tenant -qtAc \
    "SELECT count(*) FROM workspace_auth_tokens WHERE workspace_id = '$holder' AND sha256 = sha256('$first')")
expect_equal "stored as SHA-256" "$stored" 1
ask "/workspaces/$holder/tokens" -H "$(bearer "$first")"
expect_equal "listed: status" "$STATUS" 200
expect_equal "listed: both" "$(field length)" 2
request DELETE "$ALPHA_BASE/workspaces/$holder/tokens/$first_id" "${alpha_org[@]}" -H "$(bearer "$second")"
expect_equal "revoking: status" "$STATUS" 200
ask "/workspaces/$holder/tokens" -H "$(bearer "$first")"
expect_error "revoked" 401 "invalid workspace auth token"
request DELETE "$ALPHA_BASE/workspaces/$holder" "${alpha_admin[@]}"
expect_equal "removing the workspace: status" "$STATUS" 200
made=()
ask "/workspaces/$holder/tokens" -H "$(bearer "$second")"
expect_error "of a removed workspace" 401 "invalid workspace auth token"

note "what is open is open, and shows little"
ask "/workspaces/$ALPHA_ID"
expect_equal "a workspace: status" "$STATUS" 200
expect_equal "a workspace: what is shown" "$(field 'keys | join(" ")')" "id name parent_id role status tier"
ask /workspaces/alpha
expect_error "no id" 400 "an id must be a UUID"
ask /workspaces/00000000-0000-4000-8000-000000000404
expect_error "an unknown id" 404 "workspace not found"
make_workspace "{\"name\": \"listener\", \"parent_id\": \"$ALPHA_ID\"}"
made+=("$ID")
request POST "$ALPHA_BASE/registry/register" "${json[@]}" -d "{\"id\": \"$ID\", \"delivery_mode\": \"poll\"}"
[[ $STATUS == 200 ]] || unusable "the listener cannot be registered: $STATUS $BODY"
a2a=("$ALPHA_BASE/workspaces/$ID/a2a" "${alpha_org[@]}" "${json[@]}" -d '{"method": "message/send"}')
request POST "${a2a[@]}" -H "X-Workspace-ID: $ALPHA_ID" -H "$(bearer "$ALPHA_TOKEN")"
expect_equal "a message from the parent: status" "$STATUS" 202
expect_equal "a message from the parent: body" "$(field .status)" queued
make_workspace "{\"name\": \"deaf\", \"parent_id\": \"$ALPHA_ID\"}"
made+=("$ID")
request POST "$ALPHA_BASE/registry/register" "${json[@]}" -d "{\"id\": \"$ID\", \"url\": \"http://127.0.0.1:9\"}"
request POST "$ALPHA_BASE/workspaces/$ID/a2a" "${alpha_org[@]}" "${json[@]}" -d '{"method": "message/send"}' \
    -H "X-Workspace-ID: $ALPHA_ID" -H "$(bearer "$ALPHA_TOKEN")"
expect_error "a message to nobody's address" 502 "workspace unreachable"
make_workspace '{"name": "stranger"}'
made+=("$ID")
request POST "${a2a[@]}" -H "X-Workspace-ID: $ID"
expect_error "a message from a stranger" 403 "workspaces are not related"

note "a store that is away is the platform's fault, and nobody is told which store"
closed=yes
sql "ALTER DATABASE tenant ALLOW_CONNECTIONS false"
sql "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'tenant'" > /dev/null
ask "$activity" -H "$(bearer "$ALPHA_TOKEN")"
expect_error "a workspace's token" 503 "platform unavailable"
expect_equal "a workspace's token: code" "$(field .code)" platform_unavailable
expect_equal "a workspace's token: nothing else is said" "$(field 'keys | join(" ")')" "code error"
ask /workspaces -H "$(bearer wrong)"
expect_error "a wrong token" 503 "platform unavailable"
request GET "$ALPHA_BASE/health"
expect_equal "health: status" "$STATUS" 503
expect_equal "health: which one" "$(field .postgres)" unavailable
open_database
closed=
for ((i = 0; i < 50; i++)); do
    request GET "$ALPHA_BASE/health"
    [[ $STATUS != 200 ]] || break
    sleep 0.1
done
expect_equal "health afterwards: status" "$STATUS" 200
ask "$activity" -H "$(bearer "$ALPHA_TOKEN")"
expect_equal "a workspace's token afterwards: status" "$STATUS" 200

finish "each token opens what it was made for"
