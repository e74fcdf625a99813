//! The backend: its boot, and what runs in it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use maxminddb::MaxMindDbError;
use tokio::task::JoinSet;

use super::api::{self, App};
use super::config::BackendConfig;
use super::docker::{Docker, SOCKET};
use super::geoip::GeoIp;
use super::lobby::{Lobby, LobbyError};
use super::push::{self, Hub};
use super::reconciler::{self, Rounds};
use super::runtime::{Runtime, RuntimeError};
use super::store::{Store, StoreError};
use super::workers;
use crate::http::{serve, terminated};

#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    #[error("BACKEND_GEOIP_DB_PATH: {0}")]
    GeoIp(#[from] MaxMindDbError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lobby(#[from] LobbyError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Boots the backend and serves until it is told to stop. Its engines go on without it.
///
/// # Errors
/// Something that the backend relies on is not there, or a port cannot be served.
pub async fn run(config: BackendConfig) -> Result<(), BackendError> {
    let (http_port, push_port) = (config.http_port, config.push_port);
    let mut tasks = JoinSet::new();
    let (api, push) = tokio::select! {
        routers = boot(config, &mut tasks) => routers?,
        stopped = terminated() => return Ok(stopped?),
    };
    tokio::try_join!(serve(http_port, api), serve(push_port, push))?;
    Ok(())
}

/// Gives the routers of both ports; what runs beside them is spawned into `tasks`, and ends with it.
async fn boot(
    config: BackendConfig,
    tasks: &mut JoinSet<()>,
) -> Result<(Router, Router), BackendError> {
    let geoip = Arc::new(GeoIp::open(&config.geoip)?);
    let runtime = Runtime::new(Docker::new(Path::new(SOCKET)), &config);
    runtime.boot().await?;
    let store = Store::boot(&config.postgres_dsn, &config.admin).await?;
    let hub = Hub::default();
    let lobby = Lobby {
        store: store.clone(),
        runtime,
        hub: hub.clone(),
    };
    reconciler::boot(&lobby).await?;

    let rounds = Rounds::default();
    tasks.spawn(reconciler::run(
        lobby.clone(),
        rounds.clone(),
        config.reconcile_interval,
    ));
    tasks.spawn(workers::deliver_mail(
        store.clone(),
        config.smtp,
        config.mail_interval,
    ));
    let route = workers::route_notifications(
        store,
        hub.clone(),
        config.admin_email,
        config.notification_interval,
    );
    tasks.spawn(route);
    if let Some(name) = config.sandbox {
        let lobby = lobby.clone();
        // The backend is up without it: an engine that does not start must not keep the API away.
        tasks.spawn(async move {
            if let Err(error) = lobby.ensure(&name).await {
                tracing::error!(%error, name, "the sandbox is not up");
            }
        });
    }
    let app = App {
        lobby,
        geoip,
        throttle: config.throttle,
        rounds,
    };
    Ok((api::router(app), push::router(hub)))
}
