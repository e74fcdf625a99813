//! `GET /buildinfo`: which commit the running binary is of.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::bugs::{Bug, Bugs};
use crate::tenant::App;

/// What a binary built without a commit reports. It equals no commit, so a deploy check cannot take it for one.
pub const UNKNOWN: &str = "dev";

/// The commit of the image that [`Bug::BuildinfoStaleImage`] left running.
const STALE: &str = "8f3d1c0b7a5e49268d4f0e1b2c3a5968774f6e1d";

/// The commit to report: the one that was linked in, unless the stale image is put back.
fn reported(linked: &'static str, bugs: &Bugs) -> &'static str {
    if bugs.has(Bug::BuildinfoStaleImage) {
        STALE
    } else {
        linked
    }
}

/// `{"git_sha": "…"}`
pub async fn show(State(app): State<App>) -> Json<Value> {
    Json(json!({ "git_sha": reported(app.git_sha, &app.bugs) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linked_commit_is_reported_unless_the_stale_image_is_back() {
        assert_eq!(reported("abc", &Bugs::default()), "abc");
        assert_eq!(reported("abc", &Bugs::of([Bug::PeerDiscovery404])), "abc");
        let stale = reported("abc", &Bugs::of([Bug::BuildinfoStaleImage]));
        assert_ne!(stale, "abc");
        assert!(stale.len() == 40 && stale.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
