#!/usr/bin/env bash
# What no API route claims goes to the user interface, without the caller's cookie and token.
# The interface's process once saw, and logged, every admin token that a browser sent along.
# @timeout 30s
# @tags proxy canvas
# @needs curl jq docker
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require ALPHA_BASE ALPHA_ORG_ID ALPHA_ADMIN_TOKEN

note "a page is served wherever the API has nothing"
for path in / /workspaces-of/mine /health/details; do
    request GET "$ALPHA_BASE$path" "${alpha_org[@]}"
    expect_equal "$path: status" "$STATUS" 200
    expect_text "$path: content type" "$CONTENT_TYPE" text/html
    expect_text "$path: body" "$BODY" '<main id="canvas">'
done
request GET "$ALPHA_BASE/workspaces" "${alpha_org[@]}"
expect_error "a path of the API stays the API's" 401 "admin auth required"

note "the interface's process gets the request, and no credentials"
request GET "$ALPHA_BASE/__canvas/request?q=1" "${alpha_org[@]}" -H "Accept-Language: de" \
    -H "Authorization: Bearer $ALPHA_ADMIN_TOKEN" -H "Cookie: session=secret" -H "Cookie: other=secret"
expect_equal "the mirror: status" "$STATUS" 200
expect_equal "the mirror: path and query" "$(field .uri)" "/__canvas/request?q=1"
expect_equal "the mirror: host" "$(field '.headers.host[0]')" 127.0.0.1:3000
expect_equal "the mirror: other headers" "$(field '.headers["accept-language"][0]')" de
expect_equal "the mirror: credentials" "$(field '.headers | keys | map(select(. == "authorization" or . == "cookie")) | join(" ")')" ""
expect_without "the mirror: no cookie under any name" "$BODY" secret
expect_without "the mirror: no token under any name" "$BODY" "$ALPHA_ADMIN_TOKEN"

note "an interface that is away"
spare_tenant -e CANVAS_PROXY_URL=http://127.0.0.1:9
request GET "$SPARE_BASE/" "${alpha_org[@]}"
expect_answer "unreachable" 502 "canvas unavailable"
request GET "$SPARE_BASE/health"
expect_equal "the API lives on: status" "$STATUS" 200
expect_equal "the API lives on: body" "$(field .status)" ok

finish "credentials end at the API"
