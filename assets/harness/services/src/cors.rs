//! Which pages of other origins may call this tenant from a browser.
//!
//! An origin that is not configured is answered as if it had not been named: without the headers the browser keeps the
//! answer from the page, and a refusal of its own would tell that there is a tenant.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const METHODS: &str = "GET, POST, PUT, PATCH, DELETE, OPTIONS";
const HEADERS: &str = "Authorization, Content-Type, X-Molecule-Org-Id, X-Workspace-ID";
/// Seconds that a browser may remember the answer to a preflight.
const MAX_AGE: &str = "600";

/// The origins that may call, such as `http://localhost:3000`. None by default.
#[derive(Debug, Clone, Default)]
pub struct Cors(Arc<[HeaderValue]>);

impl Cors {
    /// Reads origins between commas.
    ///
    /// # Errors
    /// One is not a scheme, a host and at most a port: its text. `*` is none either, because cookies come along.
    pub fn parse(list: &str) -> Result<Self, String> {
        list.split(',')
            .map(str::trim)
            .filter(|origin| !origin.is_empty())
            .map(|origin| parse_origin(origin).ok_or_else(|| origin.to_owned()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The origin of a request, if it may call.
    fn admitted(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.0.contains(origin).then(|| origin.clone())
    }
}

/// As browsers write it: in lower case and without a slash at its end.
fn parse_origin(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
    let whole = format!("{scheme}://{authority}");
    let plain = matches!(scheme, "http" | "https") && !authority.contains('@') && whole == text;
    (plain && !text.contains(char::is_uppercase))
        .then(|| HeaderValue::from_str(text).ok())
        .flatten()
}

/// What a browser asks before it sends what a form could not.
fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The outermost middleware: a preflight carries no credentials, so nothing behind could let it pass.
pub async fn enforce(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    let origin = cors.admitted(request.headers());
    let mut response = match origin {
        Some(_) if is_preflight(&request) => preflight().into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if !cors.0.is_empty() {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let yes = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    }
    response
}

fn preflight() -> (StatusCode, [(HeaderName, &'static str); 3]) {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
    ];
    (StatusCode::NO_CONTENT, headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        let read = |list: &str| Cors::parse(list).map(|cors| cors.0.len());
        assert_eq!(read(""), Ok(0));
        assert_eq!(read(" http://localhost:3000, https://app.example ,"), Ok(2));
        for wrong in [
            "*",
            "null",
            "localhost:3000",
            "ftp://app.example",
            "https://app.example/",
            "https://app.example/page",
            "https://App.example",
            "https://user@app.example",
        ] {
            assert_eq!(read(wrong), Err(wrong.to_owned()));
        }
    }
}
