//! What happened between workspaces, page by page: the history that the user interface scrolls through.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::auth;
use crate::error::ApiError;
use crate::tenant::App;
use crate::workspaces::{NOT_FOUND, parse_id};

const DEFAULT_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 500;

/// The workspace's routes.
pub fn routes(app: App) -> Router<App> {
    Router::new()
        .route("/workspaces/{id}/activity", get(list).post(add))
        .route_layer(middleware::from_fn_with_state(app, auth::require_workspace))
}

#[derive(Debug, Clone)]
pub struct NewEntry {
    pub workspace_id: Uuid,
    pub activity_type: String,
    pub source_id: Option<Uuid>,
    pub target_id: Option<Uuid>,
    pub method: Option<String>,
    pub summary: Option<String>,
    pub status: String,
}

/// An entry as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub id: Uuid,
    pub workspace_id: Uuid,
    pub activity_type: String,
    pub source_id: Option<Uuid>,
    pub target_id: Option<Uuid>,
    pub method: Option<String>,
    pub summary: Option<String>,
    pub status: String,
    /// RFC 3339 in UTC, to the microsecond: what `before_ts` takes.
    pub created_at: String,
}

impl TryFrom<&Row> for Entry {
    type Error = tokio_postgres::Error;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            workspace_id: row.try_get("workspace_id")?,
            activity_type: row.try_get("activity_type")?,
            source_id: row.try_get("source_id")?,
            target_id: row.try_get("target_id")?,
            method: row.try_get("method")?,
            summary: row.try_get("summary")?,
            status: row.try_get("status")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// Which entries to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub activity_type: Option<String>,
    /// Who sent or received.
    pub peer: Option<Uuid>,
    /// Only what is older, never what is of that very moment: it was the end of the page before.
    pub before: Option<Timestamp>,
    pub limit: i64,
}

/// The query as it came: everything is text, so that a mistake can be named.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    #[serde(rename = "type")]
    activity_type: Option<String>,
    peer_id: Option<String>,
    limit: Option<String>,
    before_ts: Option<String>,
}

impl TryFrom<Parameters> for Page {
    type Error = ApiError;

    fn try_from(query: Parameters) -> Result<Self, ApiError> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let wrong = |words: &str| ApiError::BadRequest(words.to_owned());
        let peer = given(query.peer_id)
            .map(|id| Uuid::try_parse(&id))
            .transpose();
        let before = given(query.before_ts).map(|time| time.parse()).transpose();
        let limit = given(query.limit).map_or(Ok(DEFAULT_LIMIT), |limit| limit.parse());
        Ok(Self {
            activity_type: given(query.activity_type),
            peer: peer.map_err(|_| wrong("peer_id must be a UUID"))?,
            before: before.map_err(|_| wrong("before_ts must be an RFC 3339 time"))?,
            limit: limit
                .ok()
                .filter(|limit| *limit > 0)
                .ok_or_else(|| wrong("limit must be a positive number"))?
                .min(MAX_LIMIT),
        })
    }
}

async fn list(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<Parameters>,
) -> Result<Json<Vec<Entry>>, ApiError> {
    let (id, page) = (parse_id(&id)?, Page::try_from(query)?);
    app.store.find(id).await?.ok_or(NOT_FOUND)?;
    Ok(Json(app.store.activity(id, &page).await?))
}

#[derive(Debug, Deserialize)]
struct Add {
    activity_type: String,
    source_id: Option<Uuid>,
    target_id: Option<Uuid>,
    method: Option<String>,
    summary: Option<String>,
    status: Option<String>,
}

async fn add(
    State(app): State<App>,
    Path(id): Path<String>,
    body: Result<Json<Add>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(body) = body?;
    if body.activity_type.trim().is_empty() {
        return Err(ApiError::BadRequest(
            "activity_type must not be empty".to_owned(),
        ));
    }
    let entry = NewEntry {
        workspace_id: parse_id(&id)?,
        activity_type: body.activity_type,
        source_id: body.source_id,
        target_id: body.target_id,
        method: body.method,
        summary: body.summary,
        status: body.status.unwrap_or_else(|| "ok".to_owned()),
    };
    let entry = app.store.add_activity(&entry).await?.ok_or(NOT_FOUND)?;
    Ok((StatusCode::CREATED, Json(entry)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "0b1e9f5e-3c1d-4c55-9a35-6f0b8b6f7a10";

    fn page(query: &str) -> Result<Page, ApiError> {
        let uri = format!("/?{query}").parse().unwrap();
        Query::<Parameters>::try_from_uri(&uri)
            .unwrap()
            .0
            .try_into()
    }

    #[test]
    fn what_is_left_out_does_not_filter() {
        let expected = Page {
            activity_type: None,
            peer: None,
            before: None,
            limit: DEFAULT_LIMIT,
        };
        assert_eq!(page("").unwrap(), expected);
        assert_eq!(page("type=&peer_id=&limit=&before_ts=").unwrap(), expected);
    }

    #[test]
    fn a_page_is_what_was_asked_for_up_to_a_limit() {
        let got = page(&format!(
            "type=a2a&peer_id={PEER}&limit=9999&before_ts=2026-01-02T03:04:05.000006Z"
        ));
        let expected = Page {
            activity_type: Some("a2a".to_owned()),
            peer: Some(PEER.parse().unwrap()),
            before: Some("2026-01-02T03:04:05.000006Z".parse().unwrap()),
            limit: MAX_LIMIT,
        };
        assert_eq!(got.unwrap(), expected);
        assert_eq!(
            page("before_ts=2026-01-02T05:04:05.000006%2B02:00")
                .unwrap()
                .before,
            expected.before
        );
    }

    #[test]
    fn a_mistake_is_named() {
        for (query, name) in [
            ("peer_id=beta", "peer_id"),
            ("before_ts=yesterday", "before_ts"),
            ("before_ts=2026-01-02", "before_ts"),
            ("before_ts=1767322800", "before_ts"),
            // A plus that is not escaped is a blank.
            ("before_ts=2026-01-02T05:04:05+02:00", "before_ts"),
            ("limit=0", "limit"),
            ("limit=-1", "limit"),
            ("limit=all", "limit"),
        ] {
            match page(query) {
                Err(ApiError::BadRequest(words)) => {
                    assert!(words.starts_with(name), "{query}: {words}");
                }
                other => panic!("{query}: {other:?}"),
            }
        }
    }
}
