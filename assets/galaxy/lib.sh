# shellcheck shell=bash
# What the galaxy hooks and replays share. Sourced, never run.
# shellcheck disable=SC2034  # most of these variables are read elsewhere
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../harness/lib.sh"

GALAXY_DIR=$REPO_ROOT/assets/galaxy
STACKS=(integration dev-deploy local-dev)
# Their games are somebody's: they live until they are taken down by name.
SANDBOX_STACKS=(dev-deploy local-dev)

# Two checkouts on one engine are told apart by this label, as by tackroom's {checkout}.
if [[ -z ${GALAXY_CHECKOUT:-} ]]; then
    path_digest=$(printf '%s' "$REPO_ROOT" | sha256sum)
    GALAXY_CHECKOUT=${path_digest:0:8}
fi
[[ $GALAXY_CHECKOUT =~ ^[0-9a-f]{8}$ ]] || die "GALAXY_CHECKOUT is not eight hexadecimal digits: $GALAXY_CHECKOUT"

SERVICES_IMAGE=tackroom-harness/services:$COMPOSE_PROJECT_NAME

# use_stack NAME: sets what follows from a stack's name.
use_stack() {
    [[ " ${STACKS[*]} " == *" ${1:-} "* ]] || die "which stack? One of: ${STACKS[*]}"
    STACK=$1
    STACK_NAME=galaxy-$STACK-$GALAXY_CHECKOUT
    STACK_ENV=${GALAXY_ENV_DIR:-$GALAXY_DIR}/.$STACK.env
    # Repeated filters are ANDed by the engine.
    STACK_FILTER=(--filter "label=galaxy.stack=$STACK" --filter "label=galaxy.checkout=$GALAXY_CHECKOUT")
    ENGINE_FILTER=(--filter label=galaxy.backend=1 "${STACK_FILTER[@]}")
}

# The ids of the stack's containers in one role: postgres, smtp-sink, backend, engine.
in_role() { docker ps -aq --no-trunc "${STACK_FILTER[@]}" --filter "label=galaxy.role=$1"; }

# The host port of a role's container: role_port ROLE CONTAINER_PORT; empty when there is none.
role_port() {
    local id
    id=$(in_role "$1")
    [[ -n $id ]] || return 0
    { docker port "$id" "$2/tcp" 2> /dev/null || true; } | sed -n '1s/.*://p'
}

# as_admin METHOD PATH [CURL-ARGUMENT…]: a request to the admin surface of the backend whose env file is loaded.
as_admin() {
    request "$1" "$BACKEND_HTTP_URL/api/v1/admin$2" -u "$ADMIN_USER:$ADMIN_PASSWORD" "${@:3}"
}

# create_game NAME: sets GAME_ID and CONTAINER_ID. Fails with STATUS and BODY set.
create_game() {
    as_admin POST /games --max-time 30 -H "Content-Type: application/json" -d "$(jq -n --arg name "$1" '{name: $name}')"
    [[ $STATUS == 201 ]] || return 1
    GAME_ID=$(jq -er .id <<< "$BODY")
    CONTAINER_ID=$(jq -er .container_id <<< "$BODY")
}

# remove_state_roots LABELS [DIRECTORY…]: the state roots that carry all of these labels, and those named; prints what it
# removed. They are the daemon's, and root's, so they go from inside a container.
remove_state_roots() {
    if ! image_exists "$SERVICES_IMAGE"; then
        (($# == 1)) || die "the image $SERVICES_IMAGE is gone; these state roots stay: ${*:2}"
        return 0
    fi
    docker run --rm --network none --user 0:0 -v /tmp:/tmp --label "galaxy.checkout=$GALAXY_CHECKOUT" "$SERVICES_IMAGE" \
        galaxy remove-state-roots "$@" || {
        # What it says of a command that it does not know.
        (($? != 2)) || say "the image $SERVICES_IMAGE is of older sources: '$GALAXY_DIR/cases.sh image' builds it anew" >&2
        return 1
    }
}
