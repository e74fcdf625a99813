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

request POST "$BASE/workspaces" "${as_admin[@]}" "${json[@]}" -d '{"name": "loner"}'
[[ $STATUS == 201 ]] || unusable "no workspace can be made: $STATUS $BODY"
loner=$(field .id)
answers "no peers" "$(tool "$PLATFORM" "$loner")" "No peers in the registry" "no parent, children or siblings"

answers "404" "$(tool "$PLATFORM" "$UNREGISTERED")" \
    "No peers found." "HTTP 404" "$UNREGISTERED is not registered" "/registry/register"
answers "401" "$(tool "$PLATFORM" "$ALPHA_ID" --token wrong)" "No peers found." "HTTP 401" "re-mints its token"
# The stub has no registry, and says so with 501.
answers "5xx" "$(tool http://cp-stub:9090/cp "$ALPHA_ID")" "No peers found." "HTTP 501"
answers "unreachable" "$(tool http://127.0.0.1:9 "$ALPHA_ID")" "No peers found." "Cannot reach the platform at http://127.0.0.1:9"

note "who registers is alive for three minutes, and has an address for five"
ttl() { in_service redis redis-cli ttl "ws:$loner$1"; }
within() {
    if (($2 > 0 && $2 <= $3)); then
        pass "$1"
    else
        fail "$1: $2 s, not up to $3"
    fi
}
registration=$(jq -n --arg id "$loner" '{id: $id, url: "http://loner:1", internal_url: "http://loner:2"}')
request POST "$BASE/registry/register" "${json[@]}" -d "$registration"
expect_equal "registering: status" "$STATUS" 200
expect_equal "registering: body" "$(field .status)" registered
as_loner=("${as_org[@]}" -H "Authorization: Bearer $(field .auth_token)" -H "X-Workspace-ID: $loner")
within "alive" "$(ttl "")" 180
within "the address for others" "$(ttl :url)" 300
within "the address for the tenant" "$(ttl :internal_url)" 300
request POST "$BASE/registry/register" "${json[@]}" -d "$registration"
expect_error "registering again without the token" 401 "missing workspace auth token"

note "discovery is for those that are related, and of those that live"
request GET "$BASE/registry/discover/$loner" "${as_loner[@]}"
expect_equal "itself: status" "$STATUS" 200
expect_equal "itself: address" "$(field .url)" http://loner:1
request GET "$BASE/registry/discover/$loner" "${as_org[@]}"
expect_error "by nobody" 400 "X-Workspace-ID must be the caller's workspace id"
request GET "$BASE/registry/discover/$ALPHA_ID" "${as_loner[@]}"
expect_error "by a stranger" 403 "workspaces are not related"
request GET "$BASE/registry/discover/$UNREGISTERED" "${as_loner[@]}"
expect_error "of nobody" 404 "workspace not found"
in_service redis redis-cli del "ws:$loner" > /dev/null
request GET "$BASE/registry/discover/$loner" "${as_loner[@]}"
expect_error "of one whose heartbeats stopped" 503 "workspace not online"
expect_equal "of one whose heartbeats stopped: its status" "$(field .status)" offline
request POST "$BASE/registry/heartbeat" "${as_loner[@]}" "${json[@]}" -d "{\"workspace_id\": \"$loner\"}"
expect_answer "a heartbeat" 200 '{"status":"ok"}'
within "alive again" "$(ttl "")" 180

finish "tool_list_peers names the reason"
