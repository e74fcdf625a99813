#!/bin/sh
# Makes the cluster and its databases on the first start, then becomes the server.
set -eu

volume=/var/lib/postgresql/data
export PGDATA="$volume/cluster"

if [ ! -d "$PGDATA" ]; then
    # Made under another name: a container that is killed half-way leaves nothing that looks finished.
    new="$volume/new"
    rm -rf "$new"
    umask 077
    printf '%s\n' "$POSTGRES_PASSWORD" > "$volume/password"
    initdb --pgdata="$new" --username="$POSTGRES_USER" --pwfile="$volume/password" \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync
    rm "$volume/password"
    echo "host all all all scram-sha-256" >> "$new/pg_hba.conf"
    cat >> "$new/postgresql.conf" <<'CONF'
listen_addresses = '*'
unix_socket_directories = '/tmp'
jit = off
# What a crash of the whole machine would lose is test data.
fsync = off
CONF
    for database in $POSTGRES_DATABASES; do
        echo "CREATE DATABASE \"$database\""
    done | postgres --single -D "$new" postgres > /dev/null
    mv "$new" "$PGDATA"
fi

exec postgres
