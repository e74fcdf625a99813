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

STEPS=7
SERVICES=(postgres redis cp-stub tenant tenant-beta cf-proxy)
PACKAGED=(postgres redis cf-proxy) # the services whose image is Debian's package
PORT_ATTEMPTS=3
TARGET_DIR=$REPO_ROOT/target/harness

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

# --- Images.

# The content of a directory, short: a tag that changes with it, so that what is unchanged is not built again.
content_tag() {
    local digest
    digest=$(tar -C "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c . | sha256sum)
    printf '%s' "${digest:0:12}"
}

# The variable that compose.yaml takes a service's image from.
image_variable() {
    local name=${1^^}
    printf 'HARNESS_%s_IMAGE' "${name//-/_}"
}

# build NAME DOCKER-BUILD-ARGUMENT…: quiet unless it fails. Where the engine's network does not reach the package
# mirror, the host's may.
build() {
    local log=$work/$1.log start=$SECONDS name=$1
    shift
    if ! docker build "$@" > "$log" 2>&1; then
        say "building the image of $name failed; trying again with the host's network"
        if ! docker build --network host "$@" > "$log" 2>&1; then
            tail -n 40 "$log" >&2
            die "the image of $name cannot be built"
        fi
    fi
    say "built the image of $name in $((SECONDS - start)) s"
}

# The packaged images are the same for all checkouts on this engine: whoever comes second waits and finds them built.
provide_packaged_images() {
    local name image variable pid builds=()
    exec 9> "${XDG_RUNTIME_DIR:-/tmp}/tackroom-harness-images.lock"
    if ! flock -n 9; then
        say "another checkout is building the images"
        flock 9
    fi
    step 1 "the base image"
    "$HARNESS_DIR/base-image.sh"
    step 2 "the images of ${PACKAGED[*]}"
    for name in "${PACKAGED[@]}"; do
        image=tackroom-harness/$name:$(content_tag "$HARNESS_DIR/$name")
        variable=$(image_variable "$name")
        export "$variable=$image"
        if [[ -n ${REBUILD:-} ]] || ! image_exists "$image"; then
            build "$name" ${REBUILD:+--no-cache} --label tackroom.harness=packaged -t "$image" "$HARNESS_DIR/$name" &
            builds+=($!)
        fi
    done
    for pid in ${builds[@]+"${builds[@]}"}; do
        wait "$pid"
    done
    docker image prune -f --filter label=tackroom.harness=packaged > /dev/null
    exec 9>&-
}

# The commit of this checkout; `dev` where it has none, also when it lies inside a repository of something else.
git_sha() {
    local top
    if top=$(git -C "$REPO_ROOT" rev-parse --show-toplevel 2> /dev/null) && [[ $(cd "$top" && pwd -P) == "$REPO_ROOT" ]]; then
        git -C "$REPO_ROOT" rev-parse --verify --quiet HEAD && return
    fi
    printf 'dev\n'
}

# Links statically, for an image without a system. The profile comes by variables and the target directory is its own:
# the user's builds are not touched. Only main.rs sees GIT_SHA, so another commit recompiles no more than that.
compile_services() {
    local cargo_arguments=(-p harness-services --release --target "$TRIPLE" --target-dir "$TARGET_DIR"
        --manifest-path "$REPO_ROOT/Cargo.toml")
    [[ -z ${REBUILD:-} ]] || cargo clean "${cargo_arguments[@]}"
    unset CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR
    export RUSTFLAGS="-C target-feature=+crt-static" GIT_SHA=$HARNESS_GIT_SHA
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off
    export CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_STRIP=symbols
    exec cargo build "${cargo_arguments[@]}"
}

# The services' image belongs to this checkout alone. Its label says what is in it.
provide_services_image() {
    local context=$TARGET_DIR/image image=tackroom-harness/services:$COMPOSE_PROJECT_NAME content
    mkdir -p "$context/bugs"
    cp "$binary" "$HARNESS_DIR/services/Dockerfile" "$context"
    content=$(content_tag "$context")
    export HARNESS_SERVICES_IMAGE=$image
    if [[ -z ${REBUILD:-} ]] && [[ $(docker image inspect -f '{{index .Config.Labels "tackroom.harness.content"}}' "$image" 2> /dev/null) == "$content" ]]; then
        return
    fi
    build services -t "$image" \
        --label "tackroom.harness=$COMPOSE_PROJECT_NAME" \
        --label "tackroom.harness.content=$content" \
        --label "org.opencontainers.image.revision=$HARNESS_GIT_SHA" "$context"
}

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

TRIPLE=$(rustc -vV | sed -n 's/^host: //p')
[[ $TRIPLE == *-linux-* ]] || die "the services are linked for Linux, and this host is $TRIPLE"
HARNESS_GIT_SHA=$(git_sha)
requested_port=${HARNESS_PORT:-}

# What an earlier harness was seeded with says nothing about a new one.
if [[ -z $(service_containers postgres) ]]; then
    rm -f "$SEED_ENV"
fi

(compile_services) &
compilation=$!
provide_packaged_images
step 3 "the build of the services"
wait "$compilation" || die "the services cannot be built (linking statically takes the C library's archives: libc6-dev or glibc-static)"
binary=$TARGET_DIR/$TRIPLE/release/harness-services
answer=$("$binary" bugs check "${HARNESS_BUG:-}" 2>&1) || die "HARNESS_BUG names ${answer#harness-services: }"
provide_services_image

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
