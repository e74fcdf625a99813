#!/bin/sh
# Makes the cluster and its databases on the first start, then becomes the server.
#   POSTGRES_USER, POSTGRES_PASSWORD   the role that owns them, a superuser
#   POSTGRES_DATABASES                 their names, between blanks
set -eu

volume=/var/lib/postgresql/data
export PGDATA="$volume/cluster"

quoted() { printf '%s' "$2" | sed "s/$1/$1$1/g"; }

# One statement a line.
statements() {
    role=$(quoted '"' "$POSTGRES_USER")
    printf "CREATE ROLE \"%s\" SUPERUSER LOGIN PASSWORD '%s'\n" "$role" "$(quoted "'" "$POSTGRES_PASSWORD")"
    for database in $POSTGRES_DATABASES; do
        printf 'CREATE DATABASE "%s" OWNER "%s"\n' "$(quoted '"' "$database")" "$role"
    done
}

if [ ! -d "$PGDATA" ]; then
    for name in POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DATABASES; do
        value=
        eval "value=\${$name:-}"
        if [ -z "$(printf '%s' "$value" | tr -d '[:space:]')" ]; then
            echo "entrypoint: $name is not set: there is no database to serve" >&2
            exit 1
        fi
    done
    # Made under another name: a container that is killed half-way leaves nothing that looks finished.
    new="$volume/new"
    rm -rf "$new"
    mkdir -m 0700 "$new"
    tar -C "$new" -xzf "$TEMPLATE"
    statements | postgres --single -D "$new" -c exit_on_error=on postgres > /dev/null
    mv "$new" "$PGDATA"
fi

exec postgres
