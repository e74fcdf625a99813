#!/usr/bin/env bash
# A tenant shows nothing of another one: neither its workspaces, nor whether they exist.
# A connection string without a database fell back to the role's own, and two organisations shared their data.
# @timeout 30s
# @tags isolation
# @needs curl jq
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require ALPHA_BASE ALPHA_ORG_ID ALPHA_ADMIN_TOKEN ALPHA_ID ALPHA_TOKEN
require BETA_BASE BETA_ORG_ID BETA_ADMIN_TOKEN BETA_PARENT_ID BETA_PARENT_TOKEN

# apart WHAT BASE ORG ADMIN-TOKEN OWN-ID OTHER-ID OTHER-TOKEN OTHER-ADMIN-TOKEN OTHER-ORG
apart() {
    local what=$1 base=$2 own=$5 other=$6
    local org=(-H "X-Molecule-Org-Id: $3")
    local admin=("${org[@]}" -H "Authorization: Bearer $4")

    request GET "$base/workspaces" "${admin[@]}"
    expect_equal "$what lists: status" "$STATUS" 200
    expect_equal "$what lists its own" "$(field "[.[] | select(.id == \"$own\")] | length")" 1
    expect_equal "$what lists none of the other's" "$(field "[.[] | select(.id == \"$other\")] | length")" 0

    request GET "$base/workspaces/$other" "${org[@]}"
    expect_error "$what: the other's workspace" 404 "workspace not found"
    request GET "$base/registry/$other/peers" "${org[@]}" -H "Authorization: Bearer $7"
    expect_error "$what: the other's peers" 404 "workspace not found"
    request GET "$base/workspaces/$other/activity" "${org[@]}" -H "Authorization: Bearer $7"
    expect_error "$what: the other's activity" 401 "invalid workspace auth token"
    request GET "$base/workspaces" "${org[@]}" -H "Authorization: Bearer $8"
    expect_error "$what: the other's admin" 401 "invalid admin auth token"
    request GET "$base/workspaces" -H "X-Molecule-Org-Id: $9" -H "Authorization: Bearer $8"
    expect_answer "$what: the other's organisation" 404 ""
}

note "alpha"
apart alpha "$ALPHA_BASE" "$ALPHA_ORG_ID" "$ALPHA_ADMIN_TOKEN" "$ALPHA_ID" \
    "$BETA_PARENT_ID" "$BETA_PARENT_TOKEN" "$BETA_ADMIN_TOKEN" "$BETA_ORG_ID"
note "beta"
apart beta "$BETA_BASE" "$BETA_ORG_ID" "$BETA_ADMIN_TOKEN" "$BETA_PARENT_ID" \
    "$ALPHA_ID" "$ALPHA_TOKEN" "$ALPHA_ADMIN_TOKEN" "$ALPHA_ORG_ID"

finish "two tenants have nothing in common"
