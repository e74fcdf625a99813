#!/usr/bin/env bash
# Makes two workspaces in each tenant, a parent and its child, and registers them. Seeding again changes nothing.
# shellcheck source=assets/harness/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

STEPS=5
need curl jq
[[ -f $UP_ENV ]] || die "the harness is not up: run ./up.sh"
load_env "$UP_ENV"

# expect STATUS WHAT: what the last request must have answered.
expect() {
    [[ $STATUS == "$1" ]] || die "$2: expected $1, got $STATUS $BODY"
}

json=(-H "Content-Type: application/json")

# tenant NAME: whom the functions below speak to.
tenant() {
    local base=${1}_BASE org=${1}_ORG_ID token=${1}_ADMIN_TOKEN
    base_url=${!base}
    as_admin=(-H "X-Molecule-Org-Id: ${!org}" -H "Authorization: Bearer ${!token}")
}

# workspace NAME TIER [PARENT]: sets ID to the workspace of that name, and makes it if there is none.
workspace() {
    local body
    request GET "$base_url/workspaces" "${as_admin[@]}"
    expect 200 "listing workspaces"
    ID=$(jq -r --arg name "$1" 'map(select(.name == $name))[0].id // empty' <<< "$BODY")
    if [[ -n $ID ]]; then
        say "$1 exists: $ID"
        return
    fi
    body=$(jq -n --arg name "$1" --argjson tier "$2" --arg parent "${3:-}" \
        '{name: $name, tier: $tier} + if $parent == "" then {} else {parent_id: $parent} end')
    request POST "$base_url/workspaces" "${as_admin[@]}" "${json[@]}" -d "$body"
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
    request POST "$base_url/registry/register" "${json[@]}" -H "Authorization: Bearer $TOKEN" -d "$body"
    if [[ $STATUS == 401 ]]; then
        request POST "$base_url/admin/workspaces/$id/tokens" "${as_admin[@]}"
        expect 201 "minting a token for $name"
        TOKEN=$(jq -er .auth_token <<< "$BODY")
        request POST "$base_url/registry/register" "${json[@]}" -H "Authorization: Bearer $TOKEN" -d "$body"
    fi
    expect 200 "registering $name"
    TOKEN=$(jq -er --arg known "$TOKEN" '.auth_token // $known' <<< "$BODY")
    say "registered $name"
}

# greet NUMBER: whether the tenant is there, and which commit it is of.
greet() {
    step "$1" "$base_url/health"
    request GET "$base_url/health"
    expect 200 "health"
    request GET "$base_url/buildinfo"
    expect 200 "buildinfo"
    say "buildinfo: $BODY"
}

# The tokens of an earlier seed; its ids are asked for, not believed.
load_env "$SEED_ENV"

# shellcheck disable=SC2034  # written by name
{
    tenant ALPHA
    greet 1
    step 2 "the workspaces of alpha"
    workspace alpha 0
    ALPHA_ID=$ID
    workspace beta 1 "$ALPHA_ID"
    BETA_ID=$ID
    register alpha "$ALPHA_ID" "${ALPHA_TOKEN:-}"
    ALPHA_TOKEN=$TOKEN
    register beta "$BETA_ID" "${BETA_TOKEN:-}"
    BETA_TOKEN=$TOKEN

    tenant BETA
    greet 3
    step 4 "the workspaces of beta"
    workspace parent 0
    BETA_PARENT_ID=$ID
    workspace child 1 "$BETA_PARENT_ID"
    BETA_CHILD_ID=$ID
    register parent "$BETA_PARENT_ID" "${BETA_PARENT_TOKEN:-}"
    BETA_PARENT_TOKEN=$TOKEN
    register child "$BETA_CHILD_ID" "${BETA_CHILD_TOKEN:-}"
    BETA_CHILD_TOKEN=$TOKEN

    # As scripts that know of two tenants call the same workspaces.
    ALPHA_PARENT_ID=$ALPHA_ID ALPHA_CHILD_ID=$BETA_ID
    ALPHA_WORKSPACE_ID=$ALPHA_ID BETA_WORKSPACE_ID=$BETA_PARENT_ID
}

step 5 "$SEED_ENV"
write_env "$SEED_ENV" ALPHA_ID ALPHA_TOKEN BETA_ID BETA_TOKEN \
    ALPHA_PARENT_ID ALPHA_CHILD_ID ALPHA_WORKSPACE_ID \
    BETA_PARENT_ID BETA_PARENT_TOKEN BETA_CHILD_ID BETA_CHILD_TOKEN BETA_WORKSPACE_ID \
    CP_STUB_BASE
say "seeded: alpha $ALPHA_ID with $BETA_ID, beta $BETA_PARENT_ID with $BETA_CHILD_ID"
