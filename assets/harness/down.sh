#!/usr/bin/env bash
# Removes this checkout's containers, network and volumes. Images stay: they are a cache.
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need docker
find_compose
refuse_foreign_project

# Whatever of the project exists, one a line.
remains() {
    docker ps -a "${PROJECT_FILTER[@]}" --format 'container {{.Names}}'
    docker network ls "${PROJECT_FILTER[@]}" --format 'network {{.Name}}'
    docker volume ls "${PROJECT_FILTER[@]}" --format 'volume {{.Name}}'
}

found=$(remains)
if [[ -z $found ]]; then
    rm -f "$UP_ENV" "$SEED_ENV"
    say "nothing to remove: project $COMPOSE_PROJECT_NAME has no containers, networks or volumes"
    exit 0
fi

# What a replay runs beside the services, if it was killed: compose would leave it, and so keep the network.
beside=$(docker ps -aq "${CHECKOUT_FILTER[@]}" --filter label=com.docker.compose.oneoff=True)
# shellcheck disable=SC2086  # a list of ids
[[ -z $beside ]] || docker rm -f $beside > /dev/null

"${compose_command[@]}" down -v

left=$(remains)
if [[ -n $left ]]; then
    printf '%s\n' "$left" >&2
    die "still there after 'down' of project $COMPOSE_PROJECT_NAME"
fi
rm -f "$UP_ENV" "$SEED_ENV"
say "removed project $COMPOSE_PROJECT_NAME:"
printf '%s\n' "$found" | sed 's/^/  /'
