#!/usr/bin/env bash
# The peers tool says why it found nobody, and never that the workspace "may be isolated".
# A revoked token, a lost registration and a platform that was down all looked like a workspace without colleagues.
# @closes #2397
# @timeout 30s
# @tags discovery registry
# @needs curl jq docker
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require BASE ORG_ID ADMIN_TOKEN ALPHA_ID ALPHA_TOKEN BETA_ID

UNREGISTERED=00000000-0000-4000-8000-000000000404
# The way a workspace takes: through the proxy, not past it.
PLATFORM=http://harness-tenant.localhost:8080
as_org=(-H "X-Molecule-Org-Id: $ORG_ID")
as_admin=("${as_org[@]}" -H "Authorization: Bearer $ADMIN_TOKEN")

loner=
# shellcheck disable=SC2317  # called at the end
on_exit() {
    [[ -z $loner ]] || request DELETE "$BASE/workspaces/$loner" "${as_admin[@]}"
}

# tool PLATFORM WORKSPACE [--token TOKEN]
tool() {
    in_service tenant /harness-services tool list-peers --platform "$1" --workspace "$2" "${@:3}"
}

# answers WHAT TEXT PART…: what the tool must say, and what it must never say.
answers() {
    expect_text "$@"
    if [[ ${2,,} == *isolated* ]]; then
        fail "$1: nothing is known of an isolation"
        printf '      got:      %s\n' "$2"
    fi
}

note "the registry's own 404 has a body, which the guard's has not"
request GET "$BASE/registry/$UNREGISTERED/peers" "${as_org[@]}"
expect_equal "an unregistered workspace: status" "$STATUS" 404
expect_equal "an unregistered workspace: error" "$(jq -r '.error? // empty' <<< "$BODY" 2> /dev/null || true)" "workspace not found"
expect_text "an unregistered workspace: content type" "$CONTENT_TYPE" application/json
request GET "$BASE/registry/$UNREGISTERED/peers" -H "X-Molecule-Org-Id: org_other"
expect_equal "another organisation: status" "$STATUS" 404
expect_equal "another organisation: body" "$BODY" ""

note "the tool puts each of its answers into words of its own"
answers "peers" "$(tool "$PLATFORM" "$ALPHA_ID" --token "$ALPHA_TOKEN")" "beta" "$BETA_ID"

request POST "$BASE/workspaces" "${as_admin[@]}" -H "Content-Type: application/json" -d '{"name": "loner"}'
[[ $STATUS == 201 ]] || unusable "no workspace can be made: $STATUS $BODY"
loner=$(jq -er .id <<< "$BODY")
answers "no peers" "$(tool "$PLATFORM" "$loner")" "No peers in the registry" "no parent, children or siblings"

answers "404" "$(tool "$PLATFORM" "$UNREGISTERED")" \
    "No peers found." "HTTP 404" "$UNREGISTERED is not registered" "/registry/register"
answers "401" "$(tool "$PLATFORM" "$ALPHA_ID" --token wrong)" "No peers found." "HTTP 401" "re-mints its token"
# The stub has no registry, and says so with 501.
answers "5xx" "$(tool http://cp-stub:9090/cp "$ALPHA_ID")" "No peers found." "HTTP 501"
answers "unreachable" "$(tool http://127.0.0.1:9 "$ALPHA_ID")" "No peers found." "Cannot reach the platform at http://127.0.0.1:9"

finish "tool_list_peers names the reason"
