//! Games from their start to their end.

use uuid::Uuid;

use super::push::Hub;
use super::runtime::{Runtime, RuntimeError};
use super::store::{Game, Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum LobbyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

#[derive(Debug, Clone)]
pub struct Lobby {
    pub store: Store,
    pub runtime: Runtime,
    pub hub: Hub,
}

impl Lobby {
    /// Makes a game with an engine of its own. A game whose engine does not start is cancelled, and its container gone.
    ///
    /// # Errors
    /// PostgreSQL or the daemon refuses, or the engine does not become ready.
    pub async fn create(&self, name: &str) -> Result<Option<Game>, LobbyError> {
        let id = self.store.add_game(name).await?;
        if let Err(error) = self.spawn(id).await {
            self.give_up(id, &error).await?;
            return Err(error);
        }
        tracing::info!(game = %id, name, "game running");
        Ok(self.told(id).await?)
    }

    async fn spawn(&self, id: Uuid) -> Result<(), LobbyError> {
        let container = self.runtime.create(id).await?;
        self.store.set_container(id, &container).await?;
        self.runtime.start(id, &container).await?;
        self.store.set_running(id).await?;
        Ok(())
    }

    /// Removes what there is of an engine that did not start. A row that PostgreSQL does not take now stays `starting`,
    /// and the next boot cancels it.
    async fn give_up(&self, id: Uuid, error: &LobbyError) -> Result<(), StoreError> {
        if let Err(error) = self.runtime.remove(id).await {
            tracing::error!(game = %id, %error, "what is left of an engine cannot be removed");
        }
        if let Some(game) = self.store.game(id).await? {
            self.cancel(&game, &format!("engine did not start: {error}"))
                .await?;
        }
        Ok(())
    }

    /// Ends a game and removes its engine. `None`: there is no such game, or it is over.
    ///
    /// # Errors
    /// PostgreSQL or the daemon refuses.
    pub async fn finish(&self, id: Uuid) -> Result<Option<Game>, LobbyError> {
        // First the row: the reconciler must not find a running game without its engine.
        if !self.store.finish(id).await? {
            return Ok(None);
        }
        let game = self.told(id).await?;
        if let Some(game) = &game {
            self.runtime.remove(id).await?;
            tracing::info!(game = %id, name = game.name, "game finished");
        }
        Ok(game)
    }

    /// Cancels a game for good.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn cancel(&self, game: &Game, reason: &str) -> Result<(), StoreError> {
        if self.store.cancel(game, reason).await? {
            tracing::warn!(game = %game.id, name = game.name, "game cancelled: {reason}");
            self.told(game.id).await?;
        }
        Ok(())
    }

    /// Reads a game again and tells the listeners.
    async fn told(&self, id: Uuid) -> Result<Option<Game>, StoreError> {
        let game = self.store.game(id).await?;
        if let Some(game) = &game {
            self.hub.game(game);
        }
        Ok(game)
    }

    /// Makes sure that a game of this name is live.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn ensure(&self, name: &str) -> Result<(), LobbyError> {
        let live = self.store.games_that_are(&["running"]).await?;
        if !live.iter().any(|game| game.name == name) {
            self.create(name).await?;
        }
        Ok(())
    }
}
