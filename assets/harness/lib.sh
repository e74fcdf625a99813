# shellcheck shell=bash
# What the hooks and the replays share. Sourced, never run.
# shellcheck disable=SC2034  # most of these variables are read elsewhere
set -euo pipefail
shopt -s inherit_errexit

HARNESS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
REPO_ROOT=$(cd "$HARNESS_DIR/../.." && pwd -P)
# Where the hooks leave their files: elsewhere for a second harness of the same checkout.
UP_ENV=${HARNESS_ENV_DIR:-$HARNESS_DIR}/.up.env
SEED_ENV=${HARNESS_ENV_DIR:-$HARNESS_DIR}/.seed.env

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" > /dev/null || die "$tool is needed and not installed"
    done
}

# step NUMBER WORDS: a line that tackroom reads as progress. The caller sets STEPS.
step() {
    local number=$1
    shift
    say "[step $number/$STEPS] waiting for $*"
}

# --- The project: one per checkout, by the same rule as tackroom's.

if [[ -z ${COMPOSE_PROJECT_NAME:-} ]]; then
    path_digest=$(printf '%s' "$REPO_ROOT" | sha256sum)
    COMPOSE_PROJECT_NAME=tackroom-${path_digest:0:8}
fi
export COMPOSE_PROJECT_NAME

# The plugin where there is one, else docker-compose 1.29. Sets the array compose_command.
find_compose() {
    if docker compose version > /dev/null 2>&1; then
        compose_command=(docker compose)
    elif command -v docker-compose > /dev/null; then
        compose_command=(docker-compose)
    else
        die "neither 'docker compose' nor docker-compose is installed"
    fi
    compose_command+=(--project-directory "$HARNESS_DIR" -f "$HARNESS_DIR/compose.yaml")
}

PROJECT_FILTER=(--filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")
CHECKOUT_FILTER=("${PROJECT_FILTER[@]}" --filter "label=com.docker.compose.project.working_dir=$HARNESS_DIR")

# The ids of this checkout's containers: service_containers [SERVICE]
service_containers() {
    docker ps -aq "${CHECKOUT_FILTER[@]}" ${1:+--filter "label=com.docker.compose.service=$1"}
}

# Switches exactly the named bugs on, in the running harness: switch_bugs LIST
switch_bugs() {
    docker exec "$(service_containers tenant)" /harness-services bugs set "$1"
}

# A project name that somebody else's containers carry would make compose replace or remove them.
refuse_foreign_project() {
    local foreign
    foreign=$(docker ps -a "${PROJECT_FILTER[@]}" \
        --format '{{.Names}}{{"\t"}}{{.Label "com.docker.compose.project.working_dir"}}' |
        awk -F '\t' -v ours="$HARNESS_DIR" '$2 != ours')
    if [[ -n $foreign ]]; then
        printf '%s\n' "$foreign" >&2
        die "the project name $COMPOSE_PROJECT_NAME is in use by the containers above, which are of another directory"
    fi
}

image_exists() { docker image inspect "$1" > /dev/null 2>&1; }

# The host port of a service: published_port SERVICE CONTAINER_PORT; empty when there is none.
published_port() {
    local id
    id=$(service_containers "$1")
    [[ -n $id ]] || return 0
    { docker port "$id" "$2/tcp" 2> /dev/null || true; } | sed -n '1s/.*://p'
}

# --- Files of KEY=VALUE lines.

# write_env FILE KEY…: the named variables, all or nothing.
write_env() {
    local file=$1 key new
    shift
    new=$(mktemp "$file.XXXXXX")
    for key in "$@"; do
        printf '%s=%s\n' "$key" "${!key}"
    done > "$new"
    mv "$new" "$file"
}

# load_env FILE: what is not in the environment yet. Nothing in the file is executed.
load_env() {
    local key value
    [[ -f $1 ]] || return 0
    while IFS='=' read -r key value; do
        if [[ $key =~ ^[A-Z_][A-Z0-9_]*$ && -z ${!key:-} ]]; then
            export "$key=$value"
        fi
    done < "$1"
}

# --- HTTP.

# request METHOD URL [CURL-ARGUMENT…]: sets STATUS (000: no answer), CONTENT_TYPE and BODY (without trailing newlines;
# then curl's words). It never fails: a status is for the caller to judge, and a body is wanted most when it is bad.
request() {
    local method=$1 url=$2 authority reply
    shift 2
    # The C library does not resolve *.localhost on Linux, and not every curl does.
    authority=${url#*://}
    authority=${authority%%/*}
    local resolve=()
    if [[ $authority == *.localhost:* ]]; then
        resolve=(--resolve "$authority:127.0.0.1")
    fi
    reply=$(curl -sS --max-time 10 -X "$method" "${resolve[@]}" -w '\n%{http_code} %{content_type}' "$@" "$url" 2>&1) || true
    BODY=${reply%$'\n'*}
    read -r STATUS CONTENT_TYPE <<< "${reply##*$'\n'}"
}
