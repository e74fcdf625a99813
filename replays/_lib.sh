# shellcheck shell=bash
# What replays share. Sourced first, never run: the runner leaves out what begins with "_".
#
#   fail WORDS        count a failed assertion and go on: the list of what fails is the point
#   pass WORDS        say that an assertion holds
#   expect_…          the assertions, see below
#   finish WORDS      the verdict: exit 0 if nothing failed, else 1
#   skip WORDS        exit 77
#   unusable WORDS    exit 99: the harness is at fault, not the product; 1 if an assertion failed before
#
# A replay may define on_exit; it runs at the end, whatever the end is.
# shellcheck source=assets/harness/lib.sh
# shellcheck disable=SC2034  # many of these variables are read elsewhere
. "$(dirname "${BASH_SOURCE[0]}")/../assets/harness/lib.sh"

load_env "$UP_ENV"
load_env "$SEED_ENV"

# What addresses each tenant, and who its admin is: curl arguments. A scratch directory, gone at the end.
alpha_org=(-H "X-Molecule-Org-Id: ${ALPHA_ORG_ID:-}")
beta_org=(-H "X-Molecule-Org-Id: ${BETA_ORG_ID:-}")
alpha_admin=("${alpha_org[@]}" -H "Authorization: Bearer ${ALPHA_ADMIN_TOKEN:-}")
beta_admin=("${beta_org[@]}" -H "Authorization: Bearer ${BETA_ADMIN_TOKEN:-}")
json=(-H "Content-Type: application/json")
scratch=$(mktemp -d "${TMPDIR:-/tmp}/tackroom-replay.XXXXXX")

failures=0

note() { printf '[replay] %s\n' "$*"; }
pass() { printf 'PASS: %s\n' "$*"; }
fail() {
    failures=$((failures + 1))
    printf 'FAIL: %s\n' "$*"
}
finish() {
    if ((failures > 0)); then
        note "$failures failed: $*"
        exit 1
    fi
    note "holds: $*"
    exit 0
}
skip() {
    note "skipped: $*"
    exit 77
}
unusable() {
    note "ERROR: $*"
    ((failures == 0)) || exit 1
    exit 99
}

spares=()

# Under "set -e" a tool's own exit code would become the replay's, and be taken for something else.
end() {
    local status=$?
    trap - EXIT
    if declare -F on_exit > /dev/null; then
        on_exit || true
    fi
    ((${#spares[@]} == 0)) || docker rm -f -v "${spares[@]}" > /dev/null || true
    rm -rf "$scratch"
    case $status in
        0 | 1 | 77 | 99 | 129 | 130 | 143) exit "$status" ;;
        *)
            printf 'FAIL: the replay broke off with exit code %s\n' "$status"
            exit 1
            ;;
    esac
}
trap end EXIT

# require NAME…: variables that up and seed provide.
require() {
    local name
    for name in "$@"; do
        [[ -n ${!name:-} ]] || unusable "$name is not set: run assets/harness/up.sh and seed.sh first"
    done
}

# expect_text WHAT GOT PART…: every part must be in the text.
expect_text() {
    local what=$1 got=$2 part
    shift 2
    for part in "$@"; do
        if [[ $got != *"$part"* ]]; then
            fail "$what"
            printf '      expected: …%s…\n      got:      %s\n' "$part" "$got"
            return
        fi
    done
    pass "$what"
}

# expect_without WHAT GOT PART: the part must not be in the text.
expect_without() {
    if [[ $2 == *"$3"* ]]; then
        fail "$1"
        printf '      not expected: …%s…\n' "$3"
    else
        pass "$1"
    fi
}

# expect_more WHAT BEFORE NOW: a counter that others count up too has gone up.
expect_more() {
    if ((${3:-0} > ${2:-0})); then
        pass "$1"
    else
        fail "$1"
        printf '      before: %s\n      now:    %s\n' "${2:-nothing}" "${3:-nothing}"
    fi
}

# expect_equal WHAT GOT EXPECTED
expect_equal() {
    if [[ $2 == "$3" ]]; then
        pass "$1"
    else
        fail "$1"
        printf '      expected: %s\n      got:      %s\n' "$3" "$2"
    fi
}

# field FILTER: of the last answer, by jq; empty if there is no such thing, or no JSON at all.
field() { jq -r "$1 // empty" <<< "$BODY" 2> /dev/null || true; }

# header NAME: of the last answer that was asked for with -D "$scratch/headers"; empty if there is none.
header() { tr -d '\r' < "$scratch/headers" | sed -n "s/^$1: //Ip"; }

# expect_answer WHAT STATUS BODY: the whole of what was last answered.
expect_answer() {
    expect_equal "$1: status" "$STATUS" "$2"
    expect_equal "$1: body" "$BODY" "$3"
}

# expect_error WHAT STATUS ERROR: a JSON answer with that error.
expect_error() {
    expect_equal "$1: status" "$STATUS" "$2"
    expect_equal "$1: error" "$(field .error)" "$3"
}

# make_workspace JSON: in the first tenant; sets ID.
make_workspace() {
    request POST "$ALPHA_BASE/workspaces" "${alpha_admin[@]}" "${json[@]}" -d "$1"
    [[ $STATUS == 201 ]] || unusable "no workspace can be made: $STATUS $BODY"
    ID=$(field .id)
}

# spare_tenant DOCKER-RUN-ARGUMENT…: another tenant beside those of the harness, for what would disturb them; it is like
# the first one but for the arguments, and gone at the end. Sets SPARE_BASE. It is labelled as this checkout's, as what
# compose itself runs once is: `down` finds it.
spare_tenant() {
    local tenant id network variable environment=()
    tenant=$(service_containers tenant)
    [[ -n $tenant ]] || unusable "there is no container of tenant"
    network=$(docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}' "$tenant")
    while read -r variable; do
        environment+=(-e "$variable")
    done < <(docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}' "$tenant" | grep '=')
    id=$(docker run -d --rm --network "$network" --volumes-from "$tenant" -p 127.0.0.1::8080 \
        "${spare_labels[@]}" "${environment[@]}" "$@" "$(docker inspect -f '{{.Image}}' "$tenant")" tenant)
    spares+=("$id")
    SPARE_BASE=http://127.0.0.1:$(docker port "$id" 8080/tcp | sed -n '1s/.*://p')
    for ((i = 0; i < 100; i++)); do
        if [[ $(docker logs "$id" 2>&1) == *"listening port=8080"* ]]; then
            return
        fi
        sleep 0.1
    done
    docker logs "$id" >&2
    unusable "the spare tenant does not come up"
}

spare_labels=(
    --label "com.docker.compose.project=$COMPOSE_PROJECT_NAME"
    --label "com.docker.compose.project.working_dir=$HARNESS_DIR"
    --label com.docker.compose.oneoff=True
    --label com.docker.compose.service=spare
)

# in_service SERVICE COMMAND…: runs it in that container of this checkout's harness.
in_service() {
    local id
    id=$(service_containers "$1")
    [[ -n $id ]] || unusable "there is no container of $1"
    docker exec "$id" "${@:2}"
}
