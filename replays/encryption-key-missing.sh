#!/usr/bin/env bash
# A tenant in production refuses to boot without the key that encrypts secrets, and says so.
# It was once found after a hundred seconds of an unhealthy container that gave no reason.
# @timeout 30s
# @tags boot secrets
# @needs docker
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

tenant=$(service_containers tenant)
[[ -n $tenant ]] || unusable "there is no container of tenant"
image=$(docker inspect -f '{{.Image}}' "$tenant")

# boot [DOCKER-RUN-ARGUMENT…]: the tenant's image alone; sets CODE and LOG. With a key it gets as far as to its database,
# which it has none of: it ends by itself in any case.
boot() {
    CODE=0
    LOG=$(docker run --rm "${spare_labels[@]}" --network none --volumes-from "$tenant:ro" \
        -e MOLECULE_ENV=production "$@" "$image" entrypoint 2>&1) || CODE=$?
}

key_error="MOLECULE_ENV=production needs a SECRETS_ENCRYPTION_KEY of 32 bytes"

note "no boot without the key"
boot
expect_equal "without a key: exit code" "$CODE" 1
expect_text "without a key: reason" "$LOG" "ERROR" "$key_error, it has 0"
boot -e SECRETS_ENCRYPTION_KEY=short
expect_equal "with a short key: exit code" "$CODE" 1
expect_text "with a short key: reason" "$LOG" "ERROR" "$key_error, it has 5"

note "with the key it goes on, and the whole container ends when the API does"
boot -e SECRETS_ENCRYPTION_KEY=0123456789abcdef0123456789abcdef
expect_equal "with a key: exit code" "$CODE" 1
expect_text "with a key: the next thing that is missing" "$LOG" "DATABASE_URL is not set" "the API ended: exit status: 1"
expect_without "with a key: no word of it" "$LOG" SECRETS_ENCRYPTION_KEY

finish "production has its key or does not run"
