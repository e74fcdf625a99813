#!/usr/bin/env bash
# The rate limit counts connections' peers, and no header makes a client another one.
# The first hop of X-Forwarded-For, which anybody can write, once was the client: the limit held nobody back.
# @timeout 30s
# @tags rate-limit
# @needs curl jq docker
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require ALPHA_BASE ALPHA_ORG_ID

limit=5
spare_tenant -e RATE_LIMIT=$limit

ask() { request GET "$SPARE_BASE/health" -D "$scratch/headers" -H "X-Forwarded-For: 203.0.113.$1" -H "X-Real-IP: 203.0.113.$1"; }

note "$limit requests are admitted, and each answer says what is left"
for ((i = 1; i <= limit; i++)); do
    ask "$i"
    expect_equal "request $i: status" "$STATUS" 200
    expect_equal "request $i: limit and rest" "$(header x-ratelimit-limit) $(header x-ratelimit-remaining)" "$limit $((limit - i))"
done
expect_equal "the last one: body" "$(field .status)" ok

note "then there are none, whoever the client says it is"
ask 77
expect_equal "one more: status" "$STATUS" 429
expect_equal "one more: error" "$(field .error)" "rate limit exceeded"
retry_after=$(header retry-after)
if [[ $retry_after =~ ^[0-9]+$ ]] && ((retry_after >= 1 && retry_after <= 60)); then
    pass "one more: Retry-After within the minute"
else
    fail "one more: Retry-After within the minute, not '$retry_after'"
fi
expect_equal "one more: rest" "$(header x-ratelimit-remaining)" 0
expect_equal "one more: Retry-After is the reset" "$(header x-ratelimit-reset)" "$retry_after"
request GET "$SPARE_BASE/workspaces"
expect_error "the guard is behind the limit" 429 "rate limit exceeded"

note "the harness's own tenants are not touched"
request GET "$ALPHA_BASE/health" -D "$scratch/headers"
expect_equal "alpha: status" "$STATUS" 200
expect_more "alpha: has a limit of its own" "$limit" "$(header x-ratelimit-limit)"

finish "a client is who is connected"
