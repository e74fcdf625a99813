#!/usr/bin/env bash
# The tunnel says itself which host, scheme and client a request is of, whatever the client claims.
# A claimed X-Forwarded-Host once ended in links of invitations, and so in somebody else's hands.
# @timeout 30s
# @tags proxy headers
# @needs curl jq docker
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require ALPHA_BASE ALPHA_HOST ALPHA_ORG_ID

# arrived NAME: the values of a header that reached the tenant's far side.
arrived() { field ".headers[\"$1\"] // [] | join(\" | \")"; }

note "claims do not get through"
request GET "$ALPHA_BASE/__canvas/request" "${alpha_org[@]}" -H "X-Forwarded-Host: evil.example" \
    -H "X-Forwarded-Proto: https" -H "X-Real-IP: 203.0.113.9" -H "X-Forwarded-For: 203.0.113.7"
expect_equal "the mirror: status" "$STATUS" 200
expect_equal "X-Forwarded-Host: the host without its port" "$(arrived x-forwarded-host)" "$ALPHA_HOST"
expect_equal "X-Forwarded-Proto: how the tunnel was asked" "$(arrived x-forwarded-proto)" http
real_ip=$(arrived x-real-ip)
if [[ -n $real_ip && $real_ip != 203.0.113.9 ]]; then
    pass "X-Real-IP: the connection's"
else
    fail "X-Real-IP: the connection's, not $real_ip"
fi
# The client's word stays first, so nobody behind may believe the first.
expect_text "X-Forwarded-For: appended to" "$(arrived x-forwarded-for)" "203.0.113.7, $real_ip, "

note "the tunnel names no organisation"
request GET "$ALPHA_BASE/__canvas/request" -H "Origin: http://$ALPHA_HOST"
expect_equal "the mirror by origin: status" "$STATUS" 200
expect_equal "X-Molecule-Org-Id" "$(arrived x-molecule-org-id)" ""
expect_text "the mirror by origin: body" "$BODY" '"uri":"/__canvas/request"'

note "a host name selects a tenant, and an unknown one none"
request GET "$ALPHA_BASE/health" -H "Host: nobody.localhost"
expect_answer "an unknown host" 404 "no tenant has this host name"
request GET "$ALPHA_BASE/health" -H "Host: ${ALPHA_HOST^^}"
expect_equal "in capitals: status" "$STATUS" 200
expect_equal "in capitals: body" "$(field .status)" ok

note "events come while the connection is open"
event=
exec {events}< <(exec curl -sN --max-time 6 -H "Host: $ALPHA_HOST" "${alpha_org[@]}" \
    "http://127.0.0.1:${ALPHA_BASE##*:}/__canvas/events")
listener=$!
read -r -t 5 -u "$events" event || true
# It would listen on, and outlive the replay.
kill "$listener" 2> /dev/null || true
wait "$listener" || true
exec {events}<&-
expect_equal "the first event" "$event" "data: hello"

note "50 MiB is the most"
request POST "$ALPHA_BASE/registry/register" -H "Content-Length: $((50 * 1024 * 1024 + 1))" -d '{}'
expect_equal "one byte more: status" "$STATUS" 413
expect_text "one byte more: body" "$BODY" "413 Request Entity Too Large"

note "nobody but this machine reaches it"
expect_equal "published at" "$(docker port "$(service_containers cf-proxy)" 8080/tcp)" "127.0.0.1:${ALPHA_BASE##*:}"

finish "host, scheme and client are the tunnel's own word"
