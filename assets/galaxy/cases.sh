#!/usr/bin/env bash
# Makes engines in the states that a list and a teardown must cope with, without a stack around them.
#   cases.sh image        builds this checkout's image, if it is not of its sources, and prints its name
#   cases.sh make CASE…   prints the id of each container that it made, one a line
#   cases.sh clean        removes all that this script made under this checkout label
# The cases:
#   running        an engine; created, paused, exited, restarting: the same in that state
#   unlabelled     without galaxy.stack: from before backends stamped it
#   claimed-twice  also looks like what testcontainers leaves behind
#   bind-gone      exited, and the source of its mount is no more: a restart fails
#   dead           could not be removed: the list calls it "removing", an inspect "dead". Takes root on the engine's host
#                  and a file system with immutable files; exit code 77 without
#   spawner        a container that stands for a backend: while it runs, there is always an engine (for a minute at most)
#   state-root     no container: prints a left-behind state root with this stack's labels
# Settings:
#   GALAXY_CHECKOUT   eight hexadecimal digits: give each test its own
#   CASE_STACK        the stack label (integration)
#   CASE_IMAGE        an image with the harness's services; else this checkout's, built first if it is not of its sources
# shellcheck source=assets/galaxy/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

CASE_STACK=${CASE_STACK:-integration}
SPAWNER_SECONDS=60
SPAWNER_LOCK=${TMPDIR:-/tmp}/galaxy-case-$GALAXY_CHECKOUT.lock
COMMON=(--label galaxy.case=1 --label "galaxy.checkout=$GALAXY_CHECKOUT")
STACK_LABEL=(--label "galaxy.stack=$CASE_STACK")
OURS=(--filter label=galaxy.case=1 --filter "label=galaxy.checkout=$GALAXY_CHECKOUT")

uuid() { cat /proc/sys/kernel/random/uuid; }

# engine [DOCKER-ARGUMENT…]: creates one, which keeps its state to itself.
engine() {
    local game
    game=$(uuid)
    docker create --name "galaxy-game-$game" --label galaxy.backend=1 --label "galaxy.game=$game" "${COMMON[@]}" \
        --network none --stop-timeout 1 --user 0:0 -e "GAME_ID=$game" -e GAME_STATE_PATH=/ "$@" "$CASE_IMAGE" galaxy engine
}

started() {
    local id
    id=$(engine "$@")
    docker start "$id" > /dev/null
    printf '%s\n' "$id"
}

# await_state ID STATE
await_state() {
    local deadline=$((SECONDS + 60))
    while [[ $(docker inspect -f '{{.State.Status}}' "$1") != "$2" ]]; do
        ((SECONDS < deadline)) || die "$1 does not become $2"
        sleep 0.05
    done
}

make_bind_gone() {
    local id root
    root=/tmp/galaxy-state-$(uuid)
    mkdir "$root"
    chmod 0777 "$root"
    id=$(started "${STACK_LABEL[@]}" --mount "type=bind,source=$root,target=$root")
    docker stop "$id" > /dev/null
    rm -rf "$root"
    printf '%s\n' "$id"
}

# An immutable file in the container's own layer: the engine's removal of it breaks off half-way.
make_dead() {
    local id layer
    id=$(started "${STACK_LABEL[@]}")
    layer=$(docker inspect -f '{{.GraphDriver.Data.UpperDir}}' "$id")
    if ! touch "$layer/immutable" 2> /dev/null || ! chattr +i "$layer/immutable" 2> /dev/null; then
        docker rm -fv "$id" > /dev/null
        say "the engine's files cannot be made immutable from here" >&2
        exit 77
    fi
    docker rm -fv "$id" > /dev/null 2>&1 || true
    await_state "$id" dead
    printf '%s\n' "$id"
}

make_spawner() {
    local id labels=("${STACK_LABEL[@]}")
    [[ $CASE_STACK != integration ]] || labels+=(--label org.testcontainers=true)
    id=$(docker create --label galaxy.role=backend "${labels[@]}" "${COMMON[@]}" --network none --stop-timeout 1 \
        "$CASE_IMAGE" galaxy smtp-sink)
    docker start "$id" > /dev/null
    # Outlives this script, and neither the container nor its time. Holds the lock until its last engine is made.
    exec 7> "$SPAWNER_LOCK"
    flock 7
    spawn "$id" > /dev/null 2>&1 < /dev/null &
    printf '%s\n' "$id"
}

spawn() {
    local deadline=$((SECONDS + SPAWNER_SECONDS)) engines
    while ((SECONDS < deadline)); do
        # Asked before its own state: who removes the spawner first meets no engine of later.
        engines=$(docker ps -q "${OURS[@]}" --filter label=galaxy.backend=1)
        [[ $(docker inspect -f '{{.State.Running}}' "$1" 2> /dev/null) == true ]] || break
        if [[ -z $engines ]]; then
            started "${STACK_LABEL[@]}"
        fi
        sleep 0.05
    done
}

make_state_root() {
    local root
    root=/tmp/galaxy-state-$(uuid)
    mkdir -p "$root/$(uuid)"
    printf '%s\n' galaxy.backend=1 galaxy.case=1 "galaxy.checkout=$GALAXY_CHECKOUT" "galaxy.stack=$CASE_STACK" > "$root/.labels"
    printf '%s\n' "$root"
}

make() {
    local id
    case $1 in
        created) engine "${STACK_LABEL[@]}" ;;
        running) started "${STACK_LABEL[@]}" ;;
        unlabelled) started ;;
        claimed-twice) started "${STACK_LABEL[@]}" --label org.testcontainers=true ;;
        paused)
            id=$(started "${STACK_LABEL[@]}")
            docker pause "$id" > /dev/null
            printf '%s\n' "$id"
            ;;
        exited)
            id=$(started "${STACK_LABEL[@]}")
            docker stop "$id" > /dev/null
            printf '%s\n' "$id"
            ;;
        restarting)
            # Without its state directory an engine ends at once.
            id=$(started "${STACK_LABEL[@]}" --restart always -e GAME_ID=)
            await_state "$id" restarting
            printf '%s\n' "$id"
            ;;
        bind-gone) make_bind_gone ;;
        dead) make_dead ;;
        spawner) make_spawner ;;
        state-root) make_state_root ;;
        *) die "no such case: $1" ;;
    esac
}

clean() {
    local id layer ids
    docker ps -aq "${OURS[@]}" --filter label=galaxy.role=backend | xargs -r docker rm -fv > /dev/null
    if [[ -e $SPAWNER_LOCK ]]; then
        flock "$SPAWNER_LOCK" rm -f "$SPAWNER_LOCK"
    fi
    mapfile -t ids < <(docker ps -aq --no-trunc "${OURS[@]}")
    for id in "${ids[@]}"; do
        layer=$(docker inspect -f '{{.GraphDriver.Data.UpperDir}}' "$id" 2> /dev/null) || continue
        [[ ! -e $layer/immutable ]] || chattr -i "$layer/immutable"
        docker rm -fv "$id" > /dev/null 2>&1 || true
    done
    SERVICES_IMAGE=$CASE_IMAGE remove_state_roots "galaxy.case=1,galaxy.checkout=$GALAXY_CHECKOUT" > /dev/null
    ids=("$(docker ps -aq "${OURS[@]}")")
    [[ -z ${ids[0]} ]] || die "still there: ${ids[*]}"
}

# An image of older sources may not know what the cases ask of it.
provide_case_image() {
    [[ -z ${CASE_IMAGE:-} ]] || return 0
    # shellcheck source=assets/harness/images.sh
    . "$HARNESS_DIR/images.sh"
    need cargo rustc tar sha256sum
    # shellcheck disable=SC2034  # none but the services' own
    PACKAGED=() STEPS=3
    work=$(mktemp -d "${TMPDIR:-/tmp}/tackroom-cases.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    provide_images >&2
    CASE_IMAGE=$HARNESS_SERVICES_IMAGE
}

need docker flock
case ${1:-} in
    image)
        provide_case_image
        say "$CASE_IMAGE"
        ;;
    make)
        (($# > 1)) || die "which case?"
        provide_case_image
        for name in "${@:2}"; do
            make "$name"
        done
        ;;
    clean)
        provide_case_image
        clean
        ;;
    *) die "image, make CASE…, or clean" ;;
esac
