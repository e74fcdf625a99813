#!/usr/bin/env bash
# Cleaning up before the integration tests leaves the engines of the other stacks alone.
# The preclean removed every engine that a backend had spawned, on the whole engine: the dev sandbox's among them, whose
# backend then saw "container disappeared" and cancelled the game.
# @closes #14
# @timeout 90s
# @tags galaxy teardown
# @needs curl jq docker
# shellcheck source=replays/_galaxy.sh
. "$(dirname "${BASH_SOURCE[0]}")/_galaxy.sh"

boot dev-deploy integration

note "an engine that disappears takes its game with it, within the reconciler's next round"
at dev-deploy
create_game control || unusable "no game can be made: $STATUS $BODY"
docker rm -f "$CONTAINER_ID" > /dev/null
await_rounds 2
expect_equal "the control game" "$(game_status "$GAME_ID")" "cancelled container disappeared"

note "the preclean of integration, while the sandbox plays"
as_admin GET /games
sandbox=$(jq -r '.[] | select(.name == "Dev Sandbox") | .id' <<< "$BODY")
sandbox_engine=$(jq -r '.[] | select(.name == "Dev Sandbox") | .container_id' <<< "$BODY")
expect_equal "the sandbox before" "$(game_status "$sandbox")" "running "
at integration
create_game leftover || unusable "no game can be made: $STATUS $BODY"
leftover_engine=$CONTAINER_ID
if bug; then
    preclean unscoped
else
    preclean scoped
fi

expect_equal "integration's engine" "$(container_status "$leftover_engine")" gone
expect_equal "the sandbox's engine" "$(container_status "$sandbox_engine")" running
at dev-deploy
await_rounds 2
expect_equal "the sandbox after" "$(game_status "$sandbox")" "running "

finish "a preclean removes its own stack's engines, and no others"
