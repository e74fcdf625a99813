#!/usr/bin/env bash
# Boots one galaxy stack and waits until its backend answers: up.sh STACK [KEY=VALUE…]
# Safe to run again: what is up and unchanged stays. Settings override the fixed ones, any key: BACKEND_STACK_LABEL=
# (blank) spawns engines without a stack label, for example.
#   REBUILD=1         build every image but the base again
#   GALAXY_TIMEOUT=N  seconds that the backend has to answer (60)
#   GALAXY_CHECKOUT   eight hexadecimal digits, in place of this checkout's own
#   GALAXY_ENV_DIR    where .STACK.env is written (beside this file)
# shellcheck source=assets/galaxy/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=assets/harness/images.sh
. "$HARNESS_DIR/images.sh"

STEPS=6
PACKAGED=(postgres)
GEOIP=var/lib/galaxy/geoip.mmdb
ADMIN_USER=bootstrap
ADMIN_PASSWORD=bootstrap-secret

# --- Ending: no child and no temporary file stays behind.

work=$(mktemp -d "${TMPDIR:-/tmp}/tackroom-galaxy.XXXXXX")
clean_up() {
    local pids
    pids=$(jobs -p)
    # shellcheck disable=SC2086  # a list of numbers
    [[ -z $pids ]] || kill $pids 2> /dev/null || true
    wait
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- Containers.

# On every container and network. The services of the test environment look like what testcontainers leaves behind;
# engines do not: the backend labels those, and nobody else knows of them.
labels() {
    printf '%s\n' --label "galaxy.stack=$STACK" --label "galaxy.checkout=$GALAXY_CHECKOUT"
    [[ $STACK != integration ]] || printf '%s\n' --label org.testcontainers=true
}

ensure_network() {
    if [[ -z $(docker network ls -q "${STACK_FILTER[@]}") ]]; then
        docker network create "${LABELS[@]}" "$STACK_NAME" > /dev/null
    fi
}

# wanted ROLE IMAGE ARGUMENT…: sets CONFIG, which changes with whatever the container is made of. True if no container
# like that runs; then what there is of the role is removed.
wanted() {
    local role=$1 image digest id
    image=$(docker image inspect -f '{{.Id}}' "$2")
    digest=$(printf '%s\0' "$image" "${@:3}" | sha256sum)
    CONFIG=${digest:0:12}
    id=$(in_role "$role")
    if [[ -n $id && $(docker inspect -f '{{.State.Running}} {{index .Config.Labels "galaxy.config"}}' "$id") == "true $CONFIG" ]]; then
        return 1
    fi
    [[ -z $id ]] || docker rm -fv "$id" > /dev/null
}

# create ROLE IMAGE DOCKER-ARGUMENT… [-- COMMAND…]: prints the id.
create() {
    local role=$1 image=$2 arguments=()
    shift 2
    while (($#)) && [[ $1 != -- ]]; do
        arguments+=("$1")
        shift
    done
    docker create "${LABELS[@]}" --label "galaxy.role=$role" --label "galaxy.config=$CONFIG" --stop-timeout 3 \
        --name "$STACK_NAME-$role" --network "$STACK_NAME" --network-alias "$role" "${arguments[@]}" "$image" "${@:2}"
}

ensure_postgres() {
    local arguments=(-e POSTGRES_USER=galaxy -e POSTGRES_PASSWORD=galaxy -e POSTGRES_DATABASES=galaxy
        --health-cmd "pg_isready -h 127.0.0.1 -U galaxy -d galaxy" --health-interval 2s)
    if [[ -n $(in_role postgres) ]] && wanted postgres "$HARNESS_POSTGRES_IMAGE" "${arguments[@]}"; then
        # With the data its games are gone, and engines without a game would play for nobody.
        say "PostgreSQL is not what it was: starting afresh"
        "$GALAXY_DIR/down.sh" "$STACK"
        ensure_network
    fi
    if wanted postgres "$HARNESS_POSTGRES_IMAGE" "${arguments[@]}"; then
        docker start "$(create postgres "$HARNESS_POSTGRES_IMAGE" "${arguments[@]}")" > /dev/null
    fi
}

ensure_smtp_sink() {
    local arguments=(-p 127.0.0.1::8025)
    if wanted smtp-sink "$HARNESS_SERVICES_IMAGE" "${arguments[@]}"; then
        docker start "$(create smtp-sink "$HARNESS_SERVICES_IMAGE" "${arguments[@]}" -- galaxy smtp-sink)" > /dev/null
    fi
}

docker_socket() {
    local host
    host=$(docker context inspect -f '{{.Endpoints.docker.Host}}')
    [[ $host == unix://* ]] || die "the backend mounts the engine's socket, and $host is not on this machine"
    printf '%s' "${host#unix://}"
}

# The state root of the backend that is there, or was: its engines' state is in it. Else one of its own.
state_root() {
    local id
    id=$(in_role backend)
    if [[ -n $id ]]; then
        docker inspect -f '{{index .Config.Labels "galaxy.state-root"}}' "$id"
    else
        printf '/tmp/galaxy-state-%s\n' "$(< /proc/sys/kernel/random/uuid)"
    fi
}

# The settings of the test environment, then the caller's.
declare -A settings
read_settings() {
    local pair
    settings=(
        [BACKEND_HTTP_LISTEN_ADDR]=:8080
        [BACKEND_GRPC_PUSH_LISTEN_ADDR]=:8081
        [BACKEND_LOGGING_LEVEL]=info
        [BACKEND_POSTGRES_DSN]=postgres://galaxy:galaxy@postgres:5432/galaxy
        [BACKEND_SMTP_HOST]=smtp-sink
        [BACKEND_SMTP_PORT]=1025
        [BACKEND_SMTP_FROM]=galaxy-backend@galaxy.test
        [BACKEND_SMTP_TLS_MODE]=none
        [BACKEND_DOCKER_NETWORK]=$STACK_NAME
        [BACKEND_GAME_STATE_ROOT]=$STATE_ROOT
        [BACKEND_ADMIN_BOOTSTRAP_USER]=$ADMIN_USER
        [BACKEND_ADMIN_BOOTSTRAP_PASSWORD]=$ADMIN_PASSWORD
        [BACKEND_GEOIP_DB_PATH]=/$GEOIP
        [BACKEND_OTEL_TRACES_EXPORTER]=none
        [BACKEND_OTEL_METRICS_EXPORTER]=none
        [BACKEND_NOTIFICATION_ADMIN_EMAIL]=admin@galaxy.test
        [BACKEND_AUTH_CHALLENGE_THROTTLE_MAX]=100
        [BACKEND_MAIL_WORKER_INTERVAL]=500ms
        [BACKEND_NOTIFICATION_WORKER_INTERVAL]=500ms
        [BACKEND_RUNTIME_RECONCILE_INTERVAL]=1s
        [BACKEND_STACK_LABEL]=$STACK
        [BACKEND_ENGINE_LABELS]=galaxy.checkout=$GALAXY_CHECKOUT
        [BACKEND_ENGINE_IMAGE]=$HARNESS_SERVICES_IMAGE
    )
    if [[ " ${SANDBOX_STACKS[*]} " == *" $STACK "* ]]; then
        settings[BACKEND_DEV_SANDBOX_NAME]="Dev Sandbox"
    fi
    for pair in "$@"; do
        [[ $pair =~ ^[A-Z][A-Z0-9_]*= ]] || die "not a setting: $pair; they look like KEY=VALUE"
        settings[${pair%%=*}]=${pair#*=}
    done
    STATE_ROOT=${settings[BACKEND_GAME_STATE_ROOT]}
    ADMIN_USER=${settings[BACKEND_ADMIN_BOOTSTRAP_USER]}
    ADMIN_PASSWORD=${settings[BACKEND_ADMIN_BOOTSTRAP_PASSWORD]}
}

# The fixture is copied into the container before it starts: a bind from a checkout breaks when the checkout goes.
copy_geoip() {
    mkdir -p "$work/root/$(dirname "$GEOIP")"
    "$HARNESS_BINARY" galaxy geoip-fixture "$work/root/$GEOIP"
    chmod 0644 "$work/root/$GEOIP"
    tar -C "$work/root" --owner=0 --group=0 -c . | docker cp -q - "$1:/"
}

ensure_backend() {
    local arguments keys key id
    mapfile -t keys < <(printf '%s\n' "${!settings[@]}" | sort)
    arguments=(-p 127.0.0.1::8080 -p 127.0.0.1::8081
        # The socket belongs to root, and so do state roots: the daemon makes them.
        --user 0:0 -v "$SOCKET:/var/run/docker.sock" -v "$STATE_ROOT:$STATE_ROOT"
        --label "galaxy.state-root=$STATE_ROOT")
    for key in "${keys[@]}"; do
        arguments+=(-e "$key=${settings[$key]}")
    done
    if wanted backend "$HARNESS_SERVICES_IMAGE" "${arguments[@]}"; then
        id=$(create backend "$HARNESS_SERVICES_IMAGE" "${arguments[@]}" -- galaxy backend)
        copy_geoip "$id"
        docker start "$id" > /dev/null
    fi
}

# --- Waiting.

give_up() {
    {
        say "--- the backend's last lines"
        docker logs --tail 20 "$STACK_NAME-backend" 2>&1 || true
    } >&2
    die "$*"
}

await_backend() {
    BACKEND_HTTP_PORT=$(role_port backend 8080)
    BACKEND_HTTP_URL=http://127.0.0.1:$BACKEND_HTTP_PORT
    while request GET "$BACKEND_HTTP_URL/healthz" && [[ $STATUS != 200 ]]; do
        [[ $(docker inspect -f '{{.State.Running}}' "$STACK_NAME-backend") == true ]] || give_up "the backend stopped"
        ((SECONDS < deadline)) || give_up "$BACKEND_HTTP_URL/healthz: $STATUS $BODY"
        sleep 0.1
    done
}

await_sandbox() {
    local name=${settings[BACKEND_DEV_SANDBOX_NAME]:-}
    [[ -n $name ]] || return 0
    step 6 "$name"
    while as_admin GET /games &&
        ! jq -e --arg name "$name" 'any(.[]; .name == $name and .status == "running")' <<< "$BODY" > /dev/null 2>&1; do
        ((SECONDS < deadline)) || give_up "$name is not running: $STATUS $BODY"
        sleep 0.1
    done
}

# --- The boot.

need docker cargo rustc curl flock jq sha256sum tar
use_stack "${1:-}"
SOCKET=$(docker_socket)
mapfile -t LABELS < <(labels)

provide_images
STATE_ROOT=$(state_root)
read_settings "${@:2}"

deadline=$((SECONDS + ${GALAXY_TIMEOUT:-60}))
step 4 "the containers of $STACK"
ensure_network
ensure_postgres
ensure_smtp_sink
ensure_backend
step 5 "the backend"
await_backend
await_sandbox

docker image prune -f --filter "label=tackroom.harness=$COMPOSE_PROJECT_NAME" > /dev/null

# shellcheck disable=SC2034  # written by name
{
    BACKEND_PUSH_URL=http://127.0.0.1:$(role_port backend 8081)/events
    MAIL_URL=http://127.0.0.1:$(role_port smtp-sink 8025)
    BACKEND_STACK_LABEL=${settings[BACKEND_STACK_LABEL]}
    GALAXY_NETWORK=$STACK_NAME
}
write_env "$STACK_ENV" BACKEND_HTTP_URL BACKEND_PUSH_URL MAIL_URL ADMIN_USER ADMIN_PASSWORD STATE_ROOT GALAXY_NETWORK \
    GALAXY_CHECKOUT BACKEND_STACK_LABEL
say "up: $STACK at $BACKEND_HTTP_URL (checkout $GALAXY_CHECKOUT, state in $STATE_ROOT)"
