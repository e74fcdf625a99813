#!/usr/bin/env bash
# Pages of activity follow each other: newest first, nothing twice and nothing left out.
# A page once began with the entry that the one before had ended with, so a history of equal times never ended.
# @timeout 30s
# @tags activity paging
# @needs curl jq
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require ALPHA_BASE ALPHA_ORG_ID ALPHA_ADMIN_TOKEN ALPHA_ID BETA_ID BETA_TOKEN

made=
# shellcheck disable=SC2317  # called at the end
on_exit() {
    [[ -z $made ]] || request DELETE "$ALPHA_BASE/workspaces/$made" "${alpha_admin[@]}"
}

make_workspace '{"name": "historian"}'
made=$ID
activity=$ALPHA_BASE/workspaces/$made/activity

# add SUMMARY TYPE SOURCE TARGET
add() {
    request POST "$activity" "${alpha_admin[@]}" "${json[@]}" \
        -d "$(jq -n --arg summary "$1" --arg type "$2" --arg source "$3" --arg target "$4" \
            '{activity_type: $type, summary: $summary, source_id: $source, target_id: $target}')"
    expect_equal "adding $1: status" "$STATUS" 201
    expect_equal "adding $1: body" "$(field .summary)" "$1"
}

# page [PARAMETER…]: sets SUMMARIES, in the order of the answer, and LAST, the time of its end.
page() {
    local parameter arguments=()
    for parameter in "$@"; do
        arguments+=(--data-urlencode "$parameter")
    done
    request GET "$activity" -G "${alpha_admin[@]}" "${arguments[@]}"
    SUMMARIES=$(field 'map(.summary) | join(" ")')
    LAST=$(field '.[-1].created_at')
}

add one a2a_send "$made" "$ALPHA_ID"
add two a2a_receive "$ALPHA_ID" "$made"
add three task "$made" "$BETA_ID"
add four a2a_send "$made" "$BETA_ID"
add five a2a_receive "$ALPHA_ID" "$made"

note "page after page"
page
expect_equal "all: status" "$STATUS" 200
expect_equal "all: newest first" "$SUMMARIES" "five four three two one"
page limit=2
expect_equal "the first page" "$SUMMARIES" "five four"
page limit=2 "before_ts=$LAST"
expect_equal "the second page" "$SUMMARIES" "three two"
page limit=2 "before_ts=$LAST"
expect_equal "the third page" "$SUMMARIES" "one"
page limit=2 "before_ts=$LAST"
expect_answer "behind the end" 200 "[]"

note "a page of what was asked for"
page type=a2a_send
expect_equal "of a type" "$SUMMARIES" "four one"
page "peer_id=$ALPHA_ID"
expect_equal "with a peer, as the source or the target" "$SUMMARIES" "five two one"
page "peer_id=$ALPHA_ID" type=a2a_receive limit=1
expect_equal "all of it" "$SUMMARIES" "five"

note "a mistake is named"
page peer_id=beta
expect_error "no UUID" 400 "peer_id must be a UUID"
page before_ts=yesterday
expect_error "no time" 400 "before_ts must be an RFC 3339 time"
page limit=0
expect_error "no limit" 400 "limit must be a positive number"

note "activity belongs to its workspace"
request GET "$activity" "${alpha_org[@]}" -H "Authorization: Bearer wrong"
expect_error "a wrong token" 401 "invalid workspace auth token"
request GET "$ALPHA_BASE/workspaces/00000000-0000-4000-8000-000000000404/activity" "${alpha_admin[@]}"
expect_error "an unknown workspace" 404 "workspace not found"

finish "pages follow each other"
