//! Compares the games that should run with the containers that exist.
//!
//! A disappeared container is the end of its game: nobody can say what the engine had not yet written. So whoever
//! removes another stack's engines cancels its games.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::docker::Summary;
use super::lobby::{Lobby, LobbyError};
use super::store::Game;

/// The reason that a cancelled game gives.
pub const DISAPPEARED: &str = "container disappeared";
/// No game is starting while the backend boots.
const INTERRUPTED: &str = "backend stopped before the engine ran";

/// How many rounds the reconciler has completed: what tells "still fine" from "not looked at yet".
#[derive(Debug, Clone, Default)]
pub struct Rounds(Arc<AtomicU64>);

impl Rounds {
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Cancels what a backend that died in the middle of a start has left behind.
///
/// # Errors
/// PostgreSQL or the daemon does not answer.
pub async fn boot(lobby: &Lobby) -> Result<(), LobbyError> {
    for game in lobby.store.games_that_are(&["starting"]).await? {
        lobby.cancel(&game, INTERRUPTED).await?;
        lobby.runtime.remove(game.id).await?;
    }
    Ok(())
}

/// Reconciles forever. A round that fails changes nothing: an outage is not a disappearance.
pub async fn run(lobby: Lobby, rounds: Rounds, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match round(&lobby).await {
            Ok(()) => {
                rounds.0.fetch_add(1, Ordering::Release);
            }
            Err(error) => tracing::error!(%error, "reconciler"),
        }
    }
}

async fn round(lobby: &Lobby) -> Result<(), LobbyError> {
    // In this order: a game that is running now had its container before.
    let games = lobby.store.games_that_are(&["running"]).await?;
    let engines = lobby.runtime.engines().await?;
    for game in missing(&games, &engines) {
        lobby.cancel(game, DISAPPEARED).await?;
    }
    Ok(())
}

/// The games whose container does not exist. One that is stopped, paused or dead exists.
fn missing<'a>(games: &'a [Game], engines: &[Summary]) -> Vec<&'a Game> {
    let there: HashSet<&str> = engines.iter().map(|engine| engine.id.as_str()).collect();
    games
        .iter()
        .filter(|game| {
            game.container_id
                .as_deref()
                .is_none_or(|id| !there.contains(id))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn game(container: Option<&str>) -> Game {
        Game {
            id: Uuid::new_v4(),
            name: "g".to_owned(),
            status: "running".to_owned(),
            reason: None,
            container_id: container.map(str::to_owned),
            created_at: String::new(),
            updated_at: String::new(),
        }
    }

    #[test]
    fn only_what_has_no_container_is_missing() {
        let games = [game(Some("a")), game(Some("b")), game(None)];
        let engines = ["a", "stray"].map(|id| Summary { id: id.to_owned() });
        let ids: Vec<_> = missing(&games, &engines)
            .iter()
            .map(|game| game.id)
            .collect();
        assert_eq!(ids, [games[1].id, games[2].id]);
        assert!(missing(&[], &engines).is_empty());
    }
}
