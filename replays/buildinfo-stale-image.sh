#!/usr/bin/env bash
# The tenant that runs after a redeploy is of the commit that was deployed.
# The redeploy said Success while the engine went on with the cached image, and the check behind it took an answer
# without a commit for a network problem.
# @closes #2395
# @timeout 30s
# @tags deploy buildinfo
# @needs curl jq
# shellcheck source=replays/_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/_lib.sh"

require BASE CP_STUB_BASE HARNESS_GIT_SHA

# compare DEPLOYED REPORTED: the rule of the deploy's verification step. No commit is not the same as another one.
compare() {
    case $2 in
        "") printf 'UNREACHABLE' ;;
        "$1") printf 'OK' ;;
        *) printf 'STALE' ;;
    esac
}

note "the comparison tells the three cases apart"
one=1111111111111111111111111111111111111111
other=1111111222222222222222222222222222222222
expect_equal "the same commit" "$(compare $one $one)" OK
expect_equal "another commit with the same short form" "$(compare $one $other)" STALE
expect_equal "a binary without a commit" "$(compare $one dev)" STALE
expect_equal "no answer" "$(compare $one "")" UNREACHABLE

note "/buildinfo is open though the guard is on"
request GET "$BASE/workspaces"
expect_equal "the guard: status without the organisation" "$STATUS" 404
expect_equal "the guard: body" "$BODY" ""
request GET "$BASE/buildinfo"
expect_equal "/buildinfo: status" "$STATUS" 200
expect_text "/buildinfo: content type" "$CONTENT_TYPE" application/json

note "every tenant that the redeploy calls healthy reports the deployed commit"
request POST "$CP_STUB_BASE/cp/admin/tenants/redeploy-fleet" -H "Content-Type: application/json" \
    -d "$(jq -n --arg tag "$HARNESS_GIT_SHA" '{target_tag: $tag, soak_seconds: 0, batch_size: 1, dry_run: false}')"
expect_equal "redeploy-fleet: status" "$STATUS" 200
slugs=$(jq -r '.results[]? | select(.healthz_ok == true) | .slug' <<< "$BODY" 2> /dev/null || true)
[[ -n $slugs ]] || fail "redeploy-fleet: no healthy tenant in $BODY"

for slug in $slugs; do
    request GET "http://$slug.localhost:${BASE##*:}/buildinfo"
    sha=$(jq -r '.git_sha? // ""' <<< "$BODY" 2> /dev/null || true)
    note "$slug reports ${sha:-nothing}, deployed is $HARNESS_GIT_SHA"
    expect_equal "$slug: verdict" "$(compare "$HARNESS_GIT_SHA" "$sha")" OK
done

if [[ $HARNESS_GIT_SHA == dev ]] && ((failures == 0)); then
    skip "this checkout has no commit to tell a stale image by"
fi
finish "the deployed commit is the one that runs"
