#!/usr/bin/env bash
# Of the control plane's paths a tenant forwards those that browsers need, and never an admin's.
# Every /cp/ path once went on, cookies and tokens with it, to routes that trust a tenant's network.
# @timeout 30s
# @tags proxy control-plane
# @needs curl jq docker
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require ALPHA_BASE CP_STUB_BASE

nonce=replay-$$-$RANDOM
credentials=(-H "Cookie: session=harness-tenant.$nonce" -H "Authorization: Bearer $nonce")

# stub FILTER: of the stub's state.
stub() {
    request GET "$CP_STUB_BASE/__stub/state"
    field "$1"
}

note "what browsers need goes on, with the caller's credentials"
before=$(stub .auth_me_with_credentials)
request GET "$ALPHA_BASE/cp/auth/me" "${credentials[@]}"
expect_equal "/cp/auth/me: status" "$STATUS" 200
expect_equal "/cp/auth/me: body" "$(field .email)" harness@example.test
after=$(stub .auth_me_with_credentials)
expect_more "cookie and token arrived" "$before" "$after"

note "path, query and the stub's own words come through"
request PUT "$ALPHA_BASE/cp/orgs/$nonce?x=1" "${credentials[@]}"
expect_equal "no handler: status" "$STATUS" 501
expect_text "no handler: body" "$BODY" "PUT /cp/orgs/$nonce" '"hint"' cp_stub.rs
expect_text "no handler: the stub remembers it" "$(stub '.unhandled | join("\n")')" "PUT /cp/orgs/$nonce"

note "nothing else leaves the tenant"
for path in "/cp/admin/$nonce" /cp/admin/tenants/redeploy-fleet "/cp/workspaces/$nonce/x" /cp/tenants/config \
    "/cp/internal/$nonce" /cp/ /cp/auth /cp/auth/ "/cp/auth$nonce" "/cp/orgs$nonce" "/cp/auth/../admin/$nonce" \
    "/cp/auth/%2e%2e/admin/$nonce"; do
    request GET "$ALPHA_BASE$path" --path-as-is "${credentials[@]}"
    expect_answer "$path" 404 "404 page not found"
done
expect_equal "the stub was not asked" "$(stub '.unhandled[]' | grep "$nonce")" "PUT /cp/orgs/$nonce"

note "a control plane that is away"
spare_tenant -e CP_UPSTREAM_URL=http://127.0.0.1:9
request GET "$SPARE_BASE/cp/auth/me" "${credentials[@]}"
expect_answer "unreachable" 502 "control plane unavailable"
request GET "$SPARE_BASE/cp/admin/x"
expect_answer "unreachable, and not to be forwarded" 404 "404 page not found"

finish "only browsers' paths reach the control plane"
