#!/usr/bin/env bash
# Boots the harness and waits until it is healthy. Safe to run again: what is up and unchanged stays.
#   REBUILD=1          build every image but the base again
#   HARNESS_PORT=N     host port; else 8080 if it is free, else another
#   HARNESS_TIMEOUT=N  seconds that the containers have to become healthy (120)
#   HARNESS_BUG=a,b    put production bugs back; bugs.sh names them, and switches them while the harness is up
#   HARNESS_RATE_LIMIT=N  requests a minute that each tenant admits from the proxy (1000)
#   ALPHA_ORG_ID, ALPHA_ADMIN_TOKEN (or ORG_ID, ADMIN_TOKEN), BETA_ORG_ID, BETA_ADMIN_TOKEN: the tenants'
#   PULL_TIMEOUT, DEBIAN_MIRROR: see base-image.sh
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=assets/harness/images.sh
. "$HARNESS_DIR/images.sh"

STEPS=7
SERVICES=(postgres redis cp-stub tenant tenant-beta cf-proxy)
PACKAGED=("${TENANT_PACKAGED[@]}")
PORT_ATTEMPTS=3

export ALPHA_ORG_ID=${ALPHA_ORG_ID:-${ORG_ID:-harness-org-alpha}}
export ALPHA_ADMIN_TOKEN=${ALPHA_ADMIN_TOKEN:-${ADMIN_TOKEN:-harness-admin-token-alpha}}
export BETA_ORG_ID=${BETA_ORG_ID:-harness-org-beta}
export BETA_ADMIN_TOKEN=${BETA_ADMIN_TOKEN:-harness-admin-token-beta}

# --- Ending: no child and no temporary file stays behind.

work=$(mktemp -d "${TMPDIR:-/tmp}/tackroom-up.XXXXXX")
clean_up() {
    local pids
    pids=$(jobs -p)
    # shellcheck disable=SC2086  # a list of numbers
    [[ -z $pids ]] || kill $pids 2> /dev/null || true
    # Compose may be in the middle of making something: `down` must find all of it.
    wait
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- Containers.

port_is_taken() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# Sets HARNESS_PORT: the one asked for, the one we have, 8080, or one below the range that the kernel gives to clients.
choose_port() {
    HARNESS_PORT=${requested_port:-$(published_port cf-proxy 8080)}
    if [[ -z $HARNESS_PORT ]]; then
        HARNESS_PORT=8080
        while port_is_taken "$HARNESS_PORT"; do
            HARNESS_PORT=$((20000 + RANDOM % 10000))
        done
    fi
    export HARNESS_PORT
}

# The services among the arguments that are not healthy, one a line with their state.
not_healthy() {
    local service status states
    states=$(docker ps -a "${CHECKOUT_FILTER[@]}" --format '{{.Label "com.docker.compose.service"}} {{.Status}}')
    for service in "$@"; do
        status=$(sed -n "s/^$service //p" <<< "$states")
        [[ $status == *"(healthy)"* ]] || printf '%s: %s\n' "$service" "${status:-no container yet}"
    done
}

# await_healthy SERVICE…: fails when time is up, or when nothing can make it healthy any more.
await_healthy() {
    local waiting
    while waiting=$(not_healthy "$@") && [[ -n $waiting ]]; do
        if [[ -n $compose_pid ]] && ! kill -0 "$compose_pid" 2> /dev/null; then
            wait "$compose_pid" || return 1
            compose_pid=
        fi
        if [[ -z $compose_pid && $waiting == *": "@(Exited|Dead)* ]] || ((SECONDS >= deadline)); then
            return 1
        fi
        sleep 0.3
    done
}

start_and_await() {
    (exec "${compose_command[@]}" up -d) > "$work/compose.log" 2>&1 &
    compose_pid=$!
    step 4 "postgres, redis and cp-stub"
    await_healthy postgres redis cp-stub || return 1
    step 5 "tenant and tenant-beta"
    await_healthy tenant tenant-beta || return 1
    step 6 "cf-proxy"
    await_healthy cf-proxy || return 1
    # Compose may still be about to recreate what was healthy: only after it do the answers count.
    [[ -z $compose_pid ]] || wait "$compose_pid" || return 1
    compose_pid=
    await_healthy "${SERVICES[@]}"
}

# Why it is not up, in the words of compose, the health checks and the containers.
explain_failure() {
    local service states id health
    {
        say "--- compose"
        tail -n 20 "$work/compose.log"
        states=$(not_healthy "${SERVICES[@]}")
        say "--- not healthy"
        say "$states"
        for service in "${SERVICES[@]}"; do
            id=$(service_containers "$service")
            if [[ -n $id && $'\n'$states == *$'\n'"$service: "* ]]; then
                health=$(docker inspect -f '{{with .State.Health}}{{range .Log}}{{.ExitCode}}{{"\t"}}{{.Output}}{{end}}{{end}}' "$id" | tail -n 3)
                [[ -z $health ]] || say "--- $service: its last health check"$'\n'"$health"
                say "--- $service: its last lines"
                docker logs --tail 20 "$id" 2>&1
            fi
        done
    } >&2
}

# --- The boot.

need docker cargo rustc curl flock sha256sum tar
find_compose
refuse_foreign_project

requested_port=${HARNESS_PORT:-}

# What an earlier harness was seeded with says nothing about a new one.
if [[ -z $(service_containers postgres) ]]; then
    rm -f "$SEED_ENV"
fi

provide_images
answer=$("$HARNESS_BINARY" bugs check "${HARNESS_BUG:-}" 2>&1) || die "HARNESS_BUG names ${answer#harness-services: }"

deadline=$((SECONDS + ${HARNESS_TIMEOUT:-120}))
for ((attempt = 1; ; attempt++)); do
    choose_port
    if start_and_await; then
        break
    fi
    # Somebody may take the port between our look and the engine's.
    if [[ -z $requested_port ]] && ((attempt < PORT_ATTEMPTS)) &&
        grep -qE 'port is already allocated|address already in use' "$work/compose.log"; then
        say "port $HARNESS_PORT was taken meanwhile; trying another"
        continue
    fi
    explain_failure
    die "the harness did not come up"
done
docker image prune -f --filter "label=tackroom.harness=$COMPOSE_PROJECT_NAME" > /dev/null

# The first tenant has two names: scripts that know of one tenant use it without naming it.
# shellcheck disable=SC2034  # written by name
{
    ALPHA_HOST=harness-tenant.localhost
    BETA_HOST=harness-tenant-beta.localhost
    ALPHA_BASE=http://$ALPHA_HOST:$HARNESS_PORT
    BETA_BASE=http://$BETA_HOST:$HARNESS_PORT
    TENANT_HOST=$ALPHA_HOST BASE=$ALPHA_BASE BASE_URL=$ALPHA_BASE
    ORG_ID=$ALPHA_ORG_ID ADMIN_TOKEN=$ALPHA_ADMIN_TOKEN
    CP_STUB_BASE=http://127.0.0.1:$(published_port cp-stub 9090)
}
step 7 "$ALPHA_BASE/health and $BETA_BASE/health"
for base in "$ALPHA_BASE" "$BETA_BASE"; do
    while request GET "$base/health" && [[ $STATUS != 200 ]]; do
        ((SECONDS < deadline)) || die "$base/health: $STATUS $BODY"
        sleep 0.3
    done
done
switch_bugs "${HARNESS_BUG:-}"

write_env "$UP_ENV" BASE BASE_URL TENANT_HOST ORG_ID ADMIN_TOKEN \
    ALPHA_BASE ALPHA_HOST ALPHA_ORG_ID ALPHA_ADMIN_TOKEN \
    BETA_BASE BETA_HOST BETA_ORG_ID BETA_ADMIN_TOKEN \
    CP_STUB_BASE HARNESS_GIT_SHA COMPOSE_PROJECT_NAME
say "up: $BASE (project $COMPOSE_PROJECT_NAME, commit $HARNESS_GIT_SHA${HARNESS_BUG:+, bugs: $HARNESS_BUG})"
