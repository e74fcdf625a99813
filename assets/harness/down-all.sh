#!/usr/bin/env bash
# Removes what up-all.sh boots: the tenant (down.sh) and the galaxy test environment (../galaxy/down.sh integration).
# Each is taken down also where the other cannot be.
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

work=$(mktemp -d "${TMPDIR:-/tmp}/tackroom-down.XXXXXX")
trap 'wait; rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

"$REPO_ROOT/assets/galaxy/down.sh" integration > "$work/galaxy.log" 2>&1 &
galaxy=$!
"$HARNESS_DIR/down.sh" &
tenant=$!

failed=()
wait "$tenant" || failed+=("the tenant")
wait "$galaxy" || failed+=("the galaxy stack integration")
cat "$work/galaxy.log"
((${#failed[@]} == 0)) || die "not taken down: ${failed[*]}"
