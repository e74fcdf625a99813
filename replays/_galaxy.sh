# shellcheck shell=bash
# What the galaxy replays share. Sourced first, never run. It offers what _lib.sh and assets/galaxy/lib.sh offer, and
#
#   boot STACK… [-- KEY=VALUE…]  boots stacks of the replay's own, and takes them down at the end
#   at STACK                     sets what its env file says: as_admin, create_game and $MAIL_URL are its backend's
#   await_rounds COUNT           waits until its reconciler has completed so many more rounds
#   bug                          whether HARNESS_BUG names this replay
#   preclean SELECTION           what runs before the integration tests: see below
#
# A replay has a checkout label of its own: whatever it breaks, the stacks that somebody works with are not touched.
# It is the same each time, so that a run which was killed is cleaned up by the next one.
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"
replay_name=$(basename "$0" .sh)
path_digest=$(printf '%s' "$REPO_ROOT/$replay_name" | sha256sum)
export GALAXY_CHECKOUT=${path_digest:0:8}
# shellcheck source=assets/galaxy/lib.sh
. "$REPO_ROOT/assets/galaxy/lib.sh"
# shellcheck source=assets/harness/images.sh
. "$HARNESS_DIR/images.sh"
# What a hook's function cannot do is the harness's fault.
die() { unusable "$*"; }

GALAXY_ENV_DIR=$(mktemp -d "${TMPDIR:-/tmp}/tackroom-replay.XXXXXX")
export GALAXY_ENV_DIR
# What is to be rebuilt was, when the harness came up.
unset REBUILD
REPLAY_FILTER=(--filter "label=galaxy.checkout=$GALAXY_CHECKOUT")
booted=()

bug() { [[ ",${HARNESS_BUG:-}," == *",$replay_name,"* ]]; }

# Engines first, whatever stack they say: a replay may have made some that no stack's hook takes.
take_down() {
    local stack
    docker ps -aq "${REPLAY_FILTER[@]}" --filter label=galaxy.role=backend | xargs -r docker rm -fv > /dev/null
    docker ps -aq "${REPLAY_FILTER[@]}" --filter label=galaxy.backend=1 | xargs -r docker rm -fv > /dev/null
    for stack in "$@"; do
        "$GALAXY_DIR/down.sh" "$stack" > "$GALAXY_ENV_DIR/$stack.down.log" 2>&1 || cat "$GALAXY_ENV_DIR/$stack.down.log" &
    done
    wait
    remove_state_roots "galaxy.checkout=$GALAXY_CHECKOUT" > /dev/null
}

# shellcheck disable=SC2317  # called at the end
on_exit() {
    ((${#booted[@]} == 0)) || take_down "${booted[@]}"
    rm -rf "$GALAXY_ENV_DIR"
}

# The images of all stacks, once. To build them from nothing takes longer than a replay may.
provide() {
    local unbuilt
    # shellcheck disable=SC2034  # read by images.sh
    PACKAGED=(postgres) STEPS=3 work=$GALAXY_ENV_DIR
    unbuilt=$(unbuilt_images)
    [[ -z $unbuilt ]] || unusable "there is no image yet of ${unbuilt//$'\n'/, }: 'tackroom up' or assets/galaxy/up.sh builds them"
    provide_images
    share_images
}

boot() {
    local stack stacks=() pids=()
    while (($#)) && [[ $1 != -- ]]; do
        stacks+=("$1")
        shift
    done
    provide
    if [[ -n $(docker ps -aq "${REPLAY_FILTER[@]}") ]]; then
        note "cleaning up after a run that was killed"
        take_down "${STACKS[@]}"
    fi
    booted+=("${stacks[@]}")
    for stack in "${stacks[@]}"; do
        "$GALAXY_DIR/up.sh" "$stack" "${@:2}" > "$GALAXY_ENV_DIR/$stack.up.log" 2>&1 &
        pids+=($!)
    done
    for stack in "${stacks[@]}"; do
        if ! wait "${pids[0]}"; then
            tail -n 20 "$GALAXY_ENV_DIR/$stack.up.log"
            unusable "$stack did not come up"
        fi
        pids=("${pids[@]:1}")
        tail -n 1 "$GALAXY_ENV_DIR/$stack.up.log"
    done
}

at() {
    unset BACKEND_HTTP_URL BACKEND_PUSH_URL MAIL_URL ADMIN_USER ADMIN_PASSWORD STATE_ROOT GALAXY_NETWORK BACKEND_STACK_LABEL
    use_stack "$1"
    load_env "$STACK_ENV"
}

rounds() {
    as_admin GET /runtime
    jq -er .reconciler_rounds <<< "$BODY" || unusable "the reconciler cannot be asked: $STATUS $BODY"
}

await_rounds() {
    local target deadline=$((SECONDS + 20))
    target=$(($(rounds) + $1))
    while (($(rounds) < target)); do
        ((SECONDS < deadline)) || unusable "the reconciler stands still"
        sleep 0.1
    done
}

# The status of a game and why.
game_status() {
    as_admin GET "/games/$1"
    jq -r '"\(.status? // "unknown") \(.reason? // "")"' <<< "$BODY" 2> /dev/null || true
}

container_status() {
    local status
    status=$(docker inspect -f '{{.State.Status}}' "$1" 2> /dev/null) || status=gone
    printf '%s' "$status"
}

# preclean scoped: by tackroom, from the stacks that tackroom.toml declares, where the runner says which tackroom it is;
# else by the filters that those stand for. preclean unscoped: the bug, held to this replay's own checkout label.
preclean() {
    local filter=(--filter label=galaxy.backend=1 --filter "label=galaxy.checkout=$GALAXY_CHECKOUT") config ids
    if [[ $1 == scoped && -n ${TACKROOM_EXE:-} ]]; then
        config=$GALAXY_ENV_DIR/tackroom.toml
        awk -v RS= '/galaxy\./ { print $0 "\n" }' "$REPO_ROOT/tackroom.toml" | sed "s/{checkout}/$GALAXY_CHECKOUT/g" > "$config"
        [[ -s $config ]] || unusable "tackroom.toml declares no galaxy stack"
        "$TACKROOM_EXE" --config "$config" teardown integration --yes || unusable "tackroom teardown: exit code $?"
        return
    fi
    [[ $1 == unscoped ]] || filter+=(--filter label=galaxy.stack=integration)
    mapfile -t ids < <(docker ps -aq --no-trunc "${filter[@]}")
    ((${#ids[@]} == 0)) || docker rm -fv "${ids[@]}" > /dev/null
    note "preclean removed ${#ids[@]} engine(s)"
}
