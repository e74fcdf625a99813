#!/usr/bin/env bash
# Makes two workspaces, alpha and its child beta, and registers both. Seeding again changes nothing.
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

STEPS=3
need curl jq
[[ -f $UP_ENV ]] || die "the harness is not up: run ./up.sh"
load_env "$UP_ENV"

# expect STATUS WHAT: what the last request must have answered.
expect() {
    [[ $STATUS == "$1" ]] || die "$2: expected $1, got $STATUS $BODY"
}

as_org=(-H "X-Molecule-Org-Id: $ORG_ID")
as_admin=("${as_org[@]}" -H "Authorization: Bearer $ADMIN_TOKEN")
json=(-H "Content-Type: application/json")

# workspace NAME TIER [PARENT]: sets ID to the workspace of that name, and makes it if there is none.
workspace() {
    local body
    request GET "$BASE/workspaces" "${as_admin[@]}"
    expect 200 "listing workspaces"
    ID=$(jq -r --arg name "$1" 'map(select(.name == $name))[0].id // empty' <<< "$BODY")
    if [[ -n $ID ]]; then
        say "$1 exists: $ID"
        return
    fi
    body=$(jq -n --arg name "$1" --argjson tier "$2" --arg parent "${3:-}" \
        '{name: $name, tier: $tier} + if $parent == "" then {} else {parent_id: $parent} end')
    request POST "$BASE/workspaces" "${as_admin[@]}" "${json[@]}" -d "$body"
    expect 201 "making $1"
    ID=$(jq -er .id <<< "$BODY")
    say "made $1: $ID"
}

# register NAME ID TOKEN: sets TOKEN. Only the first registration is answered with a token; a token that was lost since
# is replaced by the admin.
register() {
    local name=$1 id=$2 body
    TOKEN=$3
    body=$(jq -n --arg id "$id" --arg name "$name" \
        '{id: $id, url: "http://\($name).workspace.internal:8000", agent_card: {name: $name, skills: []}}')
    request POST "$BASE/registry/register" "${json[@]}" -H "Authorization: Bearer $TOKEN" -d "$body"
    if [[ $STATUS == 401 ]]; then
        request POST "$BASE/admin/workspaces/$id/tokens" "${as_admin[@]}"
        expect 201 "minting a token for $name"
        TOKEN=$(jq -er .auth_token <<< "$BODY")
        request POST "$BASE/registry/register" "${json[@]}" -H "Authorization: Bearer $TOKEN" -d "$body"
    fi
    expect 200 "registering $name"
    TOKEN=$(jq -er --arg known "$TOKEN" '.auth_token // $known' <<< "$BODY")
    say "registered $name"
}

step 1 "$BASE/health"
request GET "$BASE/health"
expect 200 "health"
request GET "$BASE/buildinfo"
expect 200 "buildinfo"
say "buildinfo: $BODY"

# The tokens of an earlier seed; its ids are asked for, not believed.
load_env "$SEED_ENV"

step 2 "the workspaces"
workspace alpha 0
ALPHA_ID=$ID
workspace beta 1 "$ALPHA_ID"
BETA_ID=$ID

step 3 "their registration"
register alpha "$ALPHA_ID" "${ALPHA_TOKEN:-}"
ALPHA_TOKEN=$TOKEN
register beta "$BETA_ID" "${BETA_TOKEN:-}"
# shellcheck disable=SC2034  # written by name
BETA_TOKEN=$TOKEN

write_env "$SEED_ENV" ALPHA_ID ALPHA_TOKEN BETA_ID BETA_TOKEN
say "seeded: alpha $ALPHA_ID, beta $BETA_ID"
