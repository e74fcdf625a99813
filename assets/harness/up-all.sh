#!/usr/bin/env bash
# Boots all that the harness is made of, side by side: the tenant (up.sh) and the galaxy test environment
# (../galaxy/up.sh integration). Fails with the words of the one that failed. Reads what both read.
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=assets/harness/images.sh
. "$HARNESS_DIR/images.sh"

STEPS=7 # those of up.sh, which go on where the images' end
PACKAGED=("${TENANT_PACKAGED[@]}") # among them all that the galaxy stacks need
GALAXY_UP=("$REPO_ROOT/assets/galaxy/up.sh" integration)

# --- Ending: no child and no temporary file stays behind.

work=$(mktemp -d "${TMPDIR:-/tmp}/tackroom-up.XXXXXX")
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

# --- The boot.

need docker cargo rustc curl flock jq sha256sum tar
provide_images
share_images

# The tenant takes longer, so its progress is what is shown.
"$HARNESS_DIR/up.sh" &
tenant=$!
"${GALAXY_UP[@]}" > "$work/galaxy.log" 2>&1 &
galaxy=$!

failed=
for _ in tenant galaxy; do
    wait -n -p ended || failed=$ended
    [[ -z $failed ]] || break
done
case $failed in
    '') tail -n 1 "$work/galaxy.log" ;;
    "$tenant") die "the tenant did not come up" ;;
    "$galaxy")
        say "--- ${GALAXY_UP[*]}" >&2
        cat "$work/galaxy.log" >&2
        die "the galaxy stack integration did not come up"
        ;;
esac
