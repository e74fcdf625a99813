//! The workspace runtime's `tool_list_peers`: asks the platform for a workspace's peers and puts the answer, or what
//! is wrong, into words that an agent can act on.
//!
//! #2397: every failure used to become an empty list, and an empty list "may be isolated". A workspace with a revoked
//! token so looked like one without colleagues.

use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use crate::bugs::{Bug, Bugs};
use crate::guard::ORG_HEADER;
use crate::http::fetch;

const TIMEOUT: Duration = Duration::from_secs(10);
/// What does not stay as it is in a path segment: all but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Whose peers to ask for, and where.
#[derive(Debug, Default)]
pub struct Query {
    /// The platform's base address, `http://…`
    pub platform: String,
    pub workspace: String,
    pub token: Option<String>,
    /// The organisation that the platform belongs to, if it has a guard.
    pub org_id: Option<String>,
}

/// What an agent learns of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Peer {
    pub id: String,
    pub name: String,
    pub role: Option<String>,
    pub status: String,
}

/// Why there is no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Diagnostic {
    Unreachable { platform: String, cause: String },
    NotJson,
    NotAList,
    Unauthorized { status: u16 },
    NotRegistered { workspace: String },
    PlatformError { status: u16 },
    Unexpected { status: u16 },
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { platform, cause } => write!(f, "Cannot reach the platform at {platform}: {cause}."),
            Self::NotJson => f.write_str(
                "The platform answered HTTP 200, but not with JSON: something else may be listening at its address.",
            ),
            Self::NotAList => f.write_str("The platform answered HTTP 200, but not with a list of peers."),
            Self::Unauthorized { status } => write!(
                f,
                "The platform refused this workspace's credentials (HTTP {status}): \
                 restart the workspace, that re-mints its token."
            ),
            Self::NotRegistered { workspace } => write!(
                f,
                "Workspace {workspace} is not registered with the platform (HTTP 404): \
                 re-register it via POST /registry/register."
            ),
            Self::PlatformError { status } => {
                write!(f, "The platform failed (HTTP {status}): try again later, and look at its logs.")
            }
            Self::Unexpected { status } => write!(f, "The platform gave an unexpected answer (HTTP {status})."),
        }
    }
}

/// The peers, and why there are none if that is not simply so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub peers: Vec<Peer>,
    pub diagnostic: Option<Diagnostic>,
}

impl From<Diagnostic> for Listing {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            peers: Vec::new(),
            diagnostic: Some(diagnostic),
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.diagnostic, self.peers.as_slice()) {
            (Some(diagnostic), _) => write!(f, "No peers found. {diagnostic}"),
            (None, []) => {
                f.write_str("No peers in the registry (no parent, children or siblings).")
            }
            (None, peers) => write_peers(f, peers),
        }
    }
}

fn write_peers(f: &mut impl fmt::Write, peers: &[Peer]) -> fmt::Result {
    write!(f, "Peers: {}", peers.len())?;
    for Peer {
        id,
        name,
        role,
        status,
    } in peers
    {
        write!(f, "\n- {name} ({id}) {status}")?;
        if let Some(role) = role {
            write!(f, ", {role}")?;
        }
    }
    Ok(())
}

/// Asks the platform.
pub async fn list_peers(query: &Query) -> Listing {
    let unreachable = |cause: String| {
        Listing::from(Diagnostic::Unreachable {
            platform: query.platform.clone(),
            cause,
        })
    };
    let request = match request(query) {
        Ok(request) => request,
        Err(error) => return unreachable(error.to_string()),
    };
    match fetch(request, TIMEOUT).await {
        Ok((status, body)) => classify(&query.workspace, status, &body),
        Err(error) => unreachable(error.to_string()),
    }
}

/// The peers alone, for callers that have no use for a reason.
pub async fn get_peers(query: &Query) -> Vec<Peer> {
    list_peers(query).await.peers
}

/// The tool's whole answer.
pub async fn answer(query: &Query, bugs: &Bugs) -> String {
    if !bugs.has(Bug::PeerDiscovery404) {
        return list_peers(query).await.to_string();
    }
    match get_peers(query).await {
        peers if peers.is_empty() => {
            "No peers available (this workspace may be isolated)".to_owned()
        }
        peers => Listing {
            peers,
            diagnostic: None,
        }
        .to_string(),
    }
}

fn request(query: &Query) -> Result<Request<Body>, axum::http::Error> {
    let platform = query.platform.trim_end_matches('/');
    let workspace = utf8_percent_encode(&query.workspace, ESCAPED);
    let mut request = Request::get(format!("{platform}/registry/{workspace}/peers"));
    if let Some(token) = &query.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if let Some(org_id) = &query.org_id {
        request = request.header(ORG_HEADER, org_id);
    }
    request.body(Body::empty())
}

fn classify(workspace: &str, status: StatusCode, body: &[u8]) -> Listing {
    let status = status.as_u16();
    match status {
        200 => match serde_json::from_slice::<Value>(body) {
            Err(_) => Diagnostic::NotJson.into(),
            Ok(value) => match Vec::<Peer>::deserialize(value) {
                Ok(peers) => Listing {
                    peers,
                    diagnostic: None,
                },
                Err(_) => Diagnostic::NotAList.into(),
            },
        },
        401 | 403 => Diagnostic::Unauthorized { status }.into(),
        404 => Diagnostic::NotRegistered {
            workspace: workspace.to_owned(),
        }
        .into(),
        500..=599 => Diagnostic::PlatformError { status }.into(),
        _ => Diagnostic::Unexpected { status }.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const ONE_PEER: &str = r#"[{"id":"b","name":"beta","role":null,"tier":1,"status":"online"}]"#;

    fn words(status: u16, body: &str) -> String {
        classify(
            "w-1",
            StatusCode::from_u16(status).unwrap(),
            body.as_bytes(),
        )
        .to_string()
    }

    #[test]
    fn diagnostics_table() {
        let cases: &[(u16, &str, &[&str])] = &[
            (200, ONE_PEER, &["Peers: 1", "- beta (b) online"]),
            (
                200,
                "[]",
                &[
                    "No peers in the registry",
                    "no parent, children or siblings",
                ],
            ),
            (
                200,
                "<html>hello</html>",
                &["No peers found.", "HTTP 200", "not with JSON"],
            ),
            (
                200,
                r#"{"peers":[]}"#,
                &["No peers found.", "HTTP 200", "not with a list"],
            ),
            (200, r#"["beta"]"#, &["No peers found.", "not with a list"]),
            (
                401,
                "",
                &["No peers found.", "HTTP 401", "re-mints its token"],
            ),
            (
                403,
                "",
                &["No peers found.", "HTTP 403", "re-mints its token"],
            ),
            (
                404,
                "",
                &[
                    "No peers found.",
                    "HTTP 404",
                    "w-1 is not registered",
                    "/registry/register",
                ],
            ),
            (
                500,
                "",
                &["No peers found.", "The platform failed", "HTTP 500"],
            ),
            (
                503,
                ONE_PEER,
                &["No peers found.", "The platform failed", "HTTP 503"],
            ),
            (302, "", &["No peers found.", "unexpected", "HTTP 302"]),
        ];
        let mut distinct = BTreeSet::new();
        for (status, body, expected) in cases {
            let text = words(*status, body);
            for part in *expected {
                assert!(
                    text.contains(part),
                    "{status} {body}: {part:?} is not in {text:?}"
                );
            }
            assert!(!text.contains("isolated"), "{text}");
            distinct.insert(text);
        }
        assert_eq!(
            distinct.len(),
            cases.len() - 1,
            "only the two that are no list may read alike"
        );
    }

    #[test]
    fn a_listing_has_peers_or_a_diagnostic() {
        let listing = classify("w-1", StatusCode::OK, ONE_PEER.as_bytes());
        assert_eq!((listing.peers.len(), listing.diagnostic), (1, None));
        let listing = classify("w-1", StatusCode::NOT_FOUND, ONE_PEER.as_bytes());
        assert_eq!(
            listing,
            Diagnostic::NotRegistered {
                workspace: "w-1".to_owned()
            }
            .into()
        );
    }

    #[tokio::test]
    async fn a_platform_that_nobody_answers_at_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let platform = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let text = answer(
            &Query {
                platform: platform.clone(),
                ..Query::default()
            },
            &Bugs::default(),
        )
        .await;
        assert!(
            text.contains("Cannot reach the platform") && text.contains(&platform),
            "{text}"
        );
        assert!(text.contains("refused"), "the cause must be there: {text}");

        for platform in ["not a url", "", "https://127.0.0.1:1"] {
            let query = Query {
                platform: platform.to_owned(),
                ..Query::default()
            };
            let listing = list_peers(&query).await;
            assert!(
                matches!(listing.diagnostic, Some(Diagnostic::Unreachable { .. })),
                "{platform}: {listing}"
            );
        }
    }

    /// Answers one request, and returns what it was.
    async fn platform(response: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let request = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(response.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, request)
    }

    const NOT_FOUND: &str =
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn the_request_carries_token_and_organisation() {
        let (platform, request) = platform(NOT_FOUND).await;
        let query = Query {
            platform: format!("{platform}/"),
            workspace: "../admin".to_owned(),
            token: Some("t".to_owned()),
            org_id: Some("org".to_owned()),
        };
        assert_eq!(
            list_peers(&query).await.diagnostic,
            Some(Diagnostic::NotRegistered {
                workspace: query.workspace
            })
        );
        let request = request.await.unwrap();
        assert!(
            request.starts_with("GET /registry/..%2Fadmin/peers HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("authorization: Bearer t\r\n"), "{request}");
        assert!(request.contains("x-molecule-org-id: org\r\n"), "{request}");
    }

    #[tokio::test]
    async fn the_bug_swallows_the_reason() {
        let (platform, _request) = platform(NOT_FOUND).await;
        let query = Query {
            platform,
            ..Query::default()
        };
        let text = answer(&query, &Bugs::of([Bug::PeerDiscovery404])).await;
        assert!(text.contains("isolated") && !text.contains("404"), "{text}");
    }
}
