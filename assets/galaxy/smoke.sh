#!/usr/bin/env bash
# Boots a test environment of its own and checks what tests of a backend rely on: health, push, the admin surface, GeoIP,
# mail, the challenge throttle, overridden settings, and that a second boot changes nothing. Takes it down again.
# shellcheck source=replays/_galaxy.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../replays/_galaxy.sh"

boot integration -- BACKEND_AUTH_CHALLENGE_THROTTLE_MAX=2 BACKEND_NOTIFICATION_ADMIN_EMAIL=chief@galaxy.test
at integration
expect_equal "the state root" "$(sed -E 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/UUID/' <<< "$STATE_ROOT")" /tmp/galaxy-state-UUID

note "health and the admin surface"
request GET "$BACKEND_HTTP_URL/healthz"
expect_equal "/healthz" "$STATUS $(jq -r '.postgres + " " + .docker' <<< "$BODY")" "200 ok ok"
request GET "$BACKEND_HTTP_URL/api/v1/admin/games"
expect_equal "without credentials" "$STATUS" 401
request GET "$BACKEND_HTTP_URL/api/v1/admin/games" -u "$ADMIN_USER:wrong"
expect_equal "with a wrong password" "$STATUS" 401
as_admin GET /games
expect_equal "as the bootstrap admin" "$STATUS $BODY" "200 []"

note "GeoIP"
as_admin GET /geoip/192.0.2.1
expect_equal "a known address" "$STATUS $(jq -r .country <<< "$BODY")" "200 DE"
as_admin GET /geoip/127.0.0.1
expect_equal "an unknown address" "$STATUS" 404

# mail RECIPIENT COUNT: waits until so many mails to them arrived, and prints the newest.
mail() {
    local deadline=$((SECONDS + 15)) found
    while request GET "$MAIL_URL/api/v1/messages" &&
        found=$(jq -c --arg to "$1" '[.messages[] | select(.to == [$to])]' <<< "$BODY") && (($(jq length <<< "$found") < $2)); do
        ((SECONDS < deadline)) || break
        sleep 0.1
    done
    jq -r '"\(length) \(.[0].subject) \(.[0].text)"' <<< "$found"
}

note "challenges: mail with the country, and the overridden throttle"
challenge() {
    request POST "$BACKEND_HTTP_URL/api/v1/public/auth/challenges" -H "Content-Type: application/json" \
        -H "X-Forwarded-For: 203.0.113.9" -d "$(jq -n --arg email "$1" '{email: $email}')"
}
challenge pilot@galaxy.test
expect_equal "the first" "$STATUS" 202
challenge PILOT@galaxy.test
expect_equal "the second" "$STATUS" 202
challenge pilot@galaxy.test
expect_equal "the third" "$STATUS" 429
challenge other@galaxy.test
expect_equal "another address" "$STATUS" 202
challenge nobody
expect_equal "no address" "$STATUS" 400
expect_text "the code's mail" "$(mail pilot@galaxy.test 2)" "2 Your sign-in code" "asked for from JP"

note "a game that loses its engine: pushed, and mailed to the overridden admin"
curl -sSN --max-time 20 "$BACKEND_PUSH_URL" > "$GALAXY_ENV_DIR/events" 2> /dev/null &
listener=$!
create_game doomed || unusable "no game can be made: $STATUS $BODY"
docker rm -f "$CONTAINER_ID" > /dev/null
expect_text "the admin's mail" "$(mail chief@galaxy.test 1)" "1 Game doomed was cancelled" "container disappeared"
kill "$listener"
wait "$listener" || true
expect_text "the stream" "$(< "$GALAXY_ENV_DIR/events")" "event: game" "event: notification" "Game doomed was cancelled"

note "a game that ends: its engine and its state go"
create_game short || unusable "no game can be made: $STATUS $BODY"
as_admin DELETE "/games/$GAME_ID"
expect_equal "finishing it" "$STATUS $(jq -r .status <<< "$BODY")" "200 finished"
expect_equal "its engine" "$(container_status "$CONTAINER_ID")" gone
as_admin DELETE "/games/$GAME_ID"
expect_equal "finishing it again" "$STATUS" 404

note "booting again keeps what is up"
before=$(docker ps -q --no-trunc "${STACK_FILTER[@]}" | sort)
"$GALAXY_DIR/up.sh" integration BACKEND_AUTH_CHALLENGE_THROTTLE_MAX=2 BACKEND_NOTIFICATION_ADMIN_EMAIL=chief@galaxy.test > /dev/null 2>&1
expect_equal "the containers" "$(docker ps -q --no-trunc "${STACK_FILTER[@]}" | sort)" "$before"

finish "the test environment keeps its contract"
