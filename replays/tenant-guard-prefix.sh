#!/usr/bin/env bash
# What is not addressed to a tenant's organisation finds an empty 404, also below a path that is open to all.
# The open paths were once compared as prefixes, and whatever was added below /health was public.
# @timeout 30s
# @tags guard
# @needs curl jq
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require ALPHA_BASE ALPHA_HOST ALPHA_ORG_ID BETA_ORG_ID

# rejected WHAT PATH [CURL-ARGUMENT…]
rejected() {
    request GET "$ALPHA_BASE$2" "${@:3}"
    expect_answer "$1" 404 ""
}

# admitted WHAT [CURL-ARGUMENT…]: the guard lets it through, and the next layer wants the admin.
admitted() {
    request GET "$ALPHA_BASE/workspaces" "${@:2}"
    expect_error "$1" 401 "admin auth required"
}

not_found_count() {
    request GET "$ALPHA_BASE/metrics"
    sed -n 's/^http_requests_total{method="GET",status="404"} //p' <<< "$BODY"
}

note "a rejection says nothing, and is counted"
before=$(not_found_count)
rejected "no organisation" /workspaces
rejected "another tenant's organisation" /workspaces "${beta_org[@]}"
rejected "the organisation in lower case with a blank" /workspaces -H "X-Molecule-Org-Id: $ALPHA_ORG_ID x"
request GET "$ALPHA_BASE/workspaces" -D "$scratch/headers"
expect_equal "a rejection: security headers" "$(header x-content-type-options)" ""
request GET "$ALPHA_BASE/health" -D "$scratch/headers"
expect_equal "an answer: security headers" "$(header x-content-type-options)" nosniff
after=$(not_found_count)
expect_more "rejections are in the metrics" "$before" "$after"

note "the organisation is in its header, or in the state of a replayed request"
admitted "the header" "${alpha_org[@]}"
admitted "the state" -H "Fly-Replay-Src: instance=1;region=fra;state=$ALPHA_ORG_ID;t=1"
rejected "another organisation's state" /workspaces -H "Fly-Replay-Src: instance=1;state=$BETA_ORG_ID"
rejected "a state that only begins alike" /workspaces -H "Fly-Replay-Src: state=${ALPHA_ORG_ID}x"

note "some paths are open, and nothing below them"
for path in /health /metrics /buildinfo; do
    request GET "$ALPHA_BASE$path"
    expect_equal "$path: status" "$STATUS" 200
    rejected "below $path" "$path/debug"
done
for path in /registry/register /registry/heartbeat; do
    request POST "$ALPHA_BASE$path" "${json[@]}" -d '{}'
    expect_equal "$path: status" "$STATUS" 400
    expect_text "$path: body" "$BODY" '"error"' "missing field"
    rejected "below $path" "$path/debug"
done
rejected "a path that begins like an open one" /healthz
request GET "$ALPHA_BASE/cp/auth/me"
expect_equal "below /cp/: status" "$STATUS" 200
expect_equal "below /cp/: body" "$(field .id)" user_harness

note "the user interface's own pages need no header"
admitted "a page's referer" -H "Referer: http://$ALPHA_HOST/settings"
admitted "the host itself as the referer" -H "Referer: https://$ALPHA_HOST"
admitted "a page's origin" -H "Origin: http://$ALPHA_HOST"
rejected "a host that only begins alike" /workspaces -H "Referer: http://$ALPHA_HOST.evil.example/"
rejected "an origin that only begins alike" /workspaces -H "Origin: http://$ALPHA_HOST.evil.example"
# The tunnel drops the port from Host, and a browser keeps it in Referer: on another port than 80 or 443 there is no
# such trust.
rejected "a referer with a port" /workspaces -H "Referer: $ALPHA_BASE/"

finish "the guard opens what it lists and no more"
