#!/usr/bin/env bash
# Every engine carries its stack's label, so that the preclean of its stack finds it.
# A backend that did not stamp the label made engines that matched no selector: each preclean removed nothing, called
# that a success, and the machine filled up for weeks.
# @timeout 90s
# @tags galaxy teardown labels
# @needs curl jq docker
# shellcheck source=replays/_galaxy.sh
. "$(dirname "${BASH_SOURCE[0]}")/_galaxy.sh"

if bug; then
    boot integration -- BACKEND_STACK_LABEL=
else
    boot integration
fi
at integration
create_game labelled || unusable "no game can be made: $STATUS $BODY"

inspected=$(docker inspect "$CONTAINER_ID")
of() { jq -r ".[0] | $1" <<< "$inspected"; }
label() { of ".Config.Labels[\"$1\"] // \"\""; }

note "what an engine is found by"
expect_equal "its name" "$(of .Name)" "/galaxy-game-$GAME_ID"
expect_equal "galaxy.backend" "$(label galaxy.backend)" 1
expect_equal "galaxy.stack" "$(label galaxy.stack)" integration
expect_equal "galaxy.checkout" "$(label galaxy.checkout)" "$GALAXY_CHECKOUT"
expect_equal "its title" "$(label org.opencontainers.image.title)" galaxy-game-engine

note "what it may use, and where its state is"
expect_equal "its processor quota" "$(label com.galaxy.cpu_quota)" "$(of '.HostConfig.NanoCpus / 1e9')"
expect_equal "its memory" "$(label com.galaxy.memory)" "$(of '.HostConfig.Memory / 1048576')m"
expect_equal "its processes" "$(label com.galaxy.pids_limit)" "$(of .HostConfig.PidsLimit)"
expect_equal "its restart policy" "$(of .HostConfig.RestartPolicy.Name)" unless-stopped
expect_equal "its state, outside" "$(of '.Mounts[0].Source')" "$STATE_ROOT/$GAME_ID"
expect_equal "its state, inside" "$(of '.Mounts[0].Destination')" "$STATE_ROOT/$GAME_ID"

note "the preclean finds it"
preclean scoped
expect_equal "the engine" "$(container_status "$CONTAINER_ID")" gone

finish "no engine is left that nobody would find"
