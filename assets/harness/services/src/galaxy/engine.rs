//! A game engine: it plays turns by itself and keeps the last one in its state directory.
//!
//! `GET /healthz` is 200 as long as state can be written; `GET /api/v1/status` gives game and turn. Both on port 8080.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::duration::{self, NotADuration};
use crate::http::serve;

const PORT: u16 = 8080;
const STATE_FILE: &str = "state.json";

#[derive(Debug)]
pub struct EngineConfig {
    /// `GAME_ID`
    game: Uuid,
    /// `GAME_STATE_PATH`: a directory of this game alone
    state: PathBuf,
    /// `GAME_TURN_INTERVAL`, ten seconds unless set
    interval: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("GAME_ID is not a UUID")]
    Game,
    #[error("GAME_STATE_PATH is not set")]
    State,
    #[error("GAME_TURN_INTERVAL: {0}")]
    Interval(#[from] NotADuration),
}

impl EngineConfig {
    /// Reads the configuration through `lookup` (a variable's name to its value).
    ///
    /// # Errors
    /// A variable is missing or malformed.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let game = lookup("GAME_ID").and_then(|id| id.parse().ok());
        let interval = lookup("GAME_TURN_INTERVAL").unwrap_or_else(|| "10s".to_owned());
        Ok(Self {
            game: game.ok_or(ConfigError::Game)?,
            state: lookup("GAME_STATE_PATH").ok_or(ConfigError::State)?.into(),
            interval: duration::parse(&interval)?,
        })
    }
}

/// What is on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    turn: u64,
}

impl Saved {
    /// What was saved last; nothing for a new game.
    fn load(directory: &Path) -> io::Result<Self> {
        match std::fs::read(directory.join(STATE_FILE)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Written under another name first: a kill in between leaves the last turn whole.
    fn store(self, directory: &Path) -> io::Result<()> {
        let new = directory.join("state.json.new");
        std::fs::write(&new, serde_json::to_vec(&self)?)?;
        std::fs::rename(new, directory.join(STATE_FILE))
    }
}

#[derive(Debug)]
struct Engine {
    game: Uuid,
    saved: Saved,
    /// Why the last turn could not be saved.
    trouble: Option<String>,
}

type Shared = Arc<Mutex<Engine>>;

/// Plays until told to stop.
///
/// # Errors
/// The saved state cannot be read, or the port cannot be served.
pub async fn run(config: EngineConfig) -> io::Result<()> {
    let engine = Arc::new(Mutex::new(Engine {
        game: config.game,
        saved: Saved::load(&config.state)?,
        trouble: None,
    }));
    let turns = play(Arc::clone(&engine), config);
    let server = serve(PORT, router(engine));
    tokio::select! {
        () = turns => Ok(()),
        result = server => result,
    }
}

async fn play(engine: Shared, config: EngineConfig) {
    let mut ticks = tokio::time::interval(config.interval);
    loop {
        ticks.tick().await;
        take_turn(&engine, &config.state);
    }
}

fn take_turn(engine: &Shared, directory: &Path) {
    let mut engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
    let next = Saved {
        turn: engine.saved.turn + 1,
    };
    match next.store(directory) {
        Ok(()) => {
            tracing::info!(game = %engine.game, "turn {}", next.turn);
            engine.saved = next;
            engine.trouble = None;
        }
        Err(error) => {
            tracing::error!(game = %engine.game, %error, directory = %directory.display(), "turn {} is lost", next.turn);
            engine.trouble = Some(format!("{}: {error}", directory.display()));
        }
    }
}

fn router(engine: Shared) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/api/v1/status", get(status))
        .with_state(engine)
}

async fn health(State(engine): State<Shared>) -> impl IntoResponse {
    let engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
    match &engine.trouble {
        None => (StatusCode::OK, Json(json!({ "status": "ok" }))),
        Some(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "status": "unavailable", "state": why })),
        ),
    }
}

async fn status(State(engine): State<Shared>) -> Json<Value> {
    let engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
    Json(json!({ "game": engine.game, "turn": engine.saved.turn }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_game_goes_on_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Saved::load(directory.path()).unwrap(), Saved::default());
        Saved { turn: 7 }.store(directory.path()).unwrap();
        assert_eq!(Saved::load(directory.path()).unwrap(), Saved { turn: 7 });
        std::fs::write(directory.path().join(STATE_FILE), "half").unwrap();
        assert!(Saved::load(directory.path()).is_err());
    }

    #[test]
    fn state_that_cannot_be_written_is_said_and_costs_the_turn() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Arc::new(Mutex::new(Engine {
            game: Uuid::nil(),
            saved: Saved::default(),
            trouble: None,
        }));
        take_turn(&engine, &directory.path().join("gone"));
        assert!(engine.lock().unwrap().trouble.is_some());
        assert_eq!(engine.lock().unwrap().saved.turn, 0);
        take_turn(&engine, directory.path());
        assert!(engine.lock().unwrap().trouble.is_none());
        assert_eq!(Saved::load(directory.path()).unwrap().turn, 1);
    }
}
