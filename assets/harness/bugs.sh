#!/usr/bin/env bash
# Switches production bugs on in the running harness: exactly those named, none without an argument.
#   ./bugs.sh [NAME,…]
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need docker
[[ -n $(service_containers tenant) ]] || die "the harness is not up: run ./up.sh"
switch_bugs "${1:-}"
say "switched on: ${1:-none}"
