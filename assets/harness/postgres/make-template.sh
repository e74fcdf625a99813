#!/bin/sh
# Makes the cluster that every server begins with, while the image is built: it takes seconds, and is always the same.
#   make-template ARCHIVE
set -eu

template=$(mktemp -d)
initdb --pgdata="$template" --username=postgres \
    --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-sync
echo "host all all all scram-sha-256" >> "$template/pg_hba.conf"
cat >> "$template/postgresql.conf" <<'CONF'
listen_addresses = '*'
unix_socket_directories = '/tmp'
jit = off
# What a crash of the whole machine would lose is test data.
fsync = off
CONF
# One file: to read a thousand from an image is slow on some storage drivers.
tar -C "$template" -czf "$1" .
rm -rf "$template"
