#!/usr/bin/env bash
# Removes one galaxy stack of this checkout with its engines, network and state roots: down.sh STACK
#   GALAXY_CHECKOUT   eight hexadecimal digits, in place of this checkout's own
#   GALAXY_ENV_DIR    where .STACK.env is (beside this file)
# shellcheck source=assets/galaxy/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A spawner that outlived its stop could go on making engines.
ROUNDS=5

need docker
use_stack "${1:-}"

containers() { docker ps -a "${STACK_FILTER[@]}" "$@" --format 'container {{.Names}}'; }
networks() { docker network ls "${STACK_FILTER[@]}" --format 'network {{.Name}}'; }

# remove FILTER…: what is gone already, or going, is as good as removed; the look afterwards decides.
remove() {
    local ids
    mapfile -t ids < <(docker ps -aq --no-trunc "$@")
    ((${#ids[@]} == 0)) || docker rm -fv "${ids[@]}" > /dev/null 2>&1 || true
}

# What the backends say is theirs; a backend that died early has not labelled its root.
state_roots_of_backends() {
    docker ps -a "${STACK_FILTER[@]}" --filter label=galaxy.role=backend --format '{{.Label "galaxy.state-root"}}'
}

mapfile -t roots < <(state_roots_of_backends)
found=$(containers && networks)

# The spawner first, then what it spawned, then what both used.
docker ps -q "${STACK_FILTER[@]}" --filter label=galaxy.role=backend | xargs -r docker stop > /dev/null
remove "${STACK_FILTER[@]}" --filter label=galaxy.role=backend
for ((round = 0; round < ROUNDS; round++)); do
    engines=$(containers --filter label=galaxy.backend=1)
    [[ -n $engines ]] || break
    found=$(printf '%s\n%s' "$found" "$engines")
    remove "${ENGINE_FILTER[@]}"
done
remove "${STACK_FILTER[@]}"
docker network ls -q "${STACK_FILTER[@]}" | xargs -r docker network rm > /dev/null 2>&1 || true
left=$(containers && networks)
if [[ -n $left ]]; then
    # An engine without the stack's labels, say. Its state stays, too.
    # shellcheck disable=SC2016  # a template of the engine's
    {
        say "$left"
        docker network ls -q "${STACK_FILTER[@]}" |
            xargs -r docker network inspect -f '{{$n := .Name}}{{range .Containers}}{{println .Name "uses" $n}}{{end}}' | sed '/^$/d'
    } >&2
    die "still there after taking down $STACK"
fi
found=$(printf '%s\n%s' "$found" "$(remove_state_roots "galaxy.stack=$STACK,galaxy.checkout=$GALAXY_CHECKOUT" "${roots[@]}")" | sed '/^$/d' | sort -u)
rm -f "$STACK_ENV"
if [[ -z $found ]]; then
    say "nothing to remove: $STACK of checkout $GALAXY_CHECKOUT has no containers, networks or state roots"
else
    say "removed $STACK of checkout $GALAXY_CHECKOUT:"
    printf '%s\n' "$found" | sed 's/^/  /'
fi
