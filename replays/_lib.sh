# shellcheck shell=bash
# What replays share. Sourced first, never run: the runner leaves out what begins with "_".
#
#   fail WORDS        count a failed assertion and go on: the list of what fails is the point
#   pass WORDS        say that an assertion holds
#   finish WORDS      the verdict: exit 0 if nothing failed, else 1
#   skip WORDS        exit 77
#   unusable WORDS    exit 99: the harness is at fault, not the product; 1 if an assertion failed before
#
# A replay may define on_exit; it runs at the end, whatever the end is.
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../assets/harness/lib.sh"

load_env "$UP_ENV"
load_env "$SEED_ENV"

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

# Under "set -e" a tool's own exit code would become the replay's, and be taken for something else.
end() {
    local status=$?
    trap - EXIT
    if declare -F on_exit > /dev/null; then
        on_exit || true
    fi
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

# expect_equal WHAT GOT EXPECTED
expect_equal() {
    if [[ $2 == "$3" ]]; then
        pass "$1"
    else
        fail "$1"
        printf '      expected: %s\n      got:      %s\n' "$3" "$2"
    fi
}

# in_service SERVICE COMMAND…: runs it in that container of this checkout's harness.
in_service() {
    local id
    id=$(service_containers "$1")
    [[ -n $id ]] || unusable "there is no container of $1"
    docker exec "$id" "${@:2}"
}
