#!/usr/bin/env bash
# Switches production bugs on in the running harness: exactly those named, none without an argument.
#   ./bugs.sh [NAME,…]
#   ./bugs.sh --known    names them all, one a line
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need docker
[[ -n $(service_containers tenant) ]] || die "the harness is not up: run ./up.sh"
if [[ ${1:-} == --known ]]; then
    docker exec "$(service_containers tenant)" /harness-services bugs known
    exit
fi
switch_bugs "${1:-}"
say "switched on: ${1:-none}"
