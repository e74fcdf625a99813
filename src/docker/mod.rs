//! The engine over the Docker API. The only place that knows bollard.

mod connect;
mod containers;
mod convert;
mod endpoint;
mod events;
mod explain;
mod host;
mod logs;
mod objects;
mod socket;
mod transport;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

pub use connect::{connect, connect_with};

use self::explain::{explain, timed_out};
use self::transport::Transport;
use crate::domain::container::Container;
use crate::domain::event::EngineEvent;
use crate::domain::id::ContainerId;
use crate::domain::line::PartBatch;
use crate::domain::link::{EngineHost, EngineInfo};
use crate::domain::selector::Selector;
use crate::domain::stats::Usage;
use crate::engine::{
    Engine, EngineError, Inspect, LogRequest, NetworkInfo, Removal, Stream, VolumeInfo,
};

type Answer<'a, T> = BoxFuture<'a, Result<T, EngineError>>;

/// A Docker or Podman engine. Cheap to clone; every request has a connection of its own.
#[derive(Clone, Debug)]
pub struct DockerEngine {
    transport: Transport,
    docker: Docker,
    host: Arc<host::Host>,
    /// Bytes of memory of the machine that it runs on, once it was asked.
    machine_memory: Arc<OnceCell<Option<u64>>>,
}

impl DockerEngine {
    fn over(transport: Transport) -> Result<Self, EngineError> {
        let docker = transport
            .client()
            .map_err(|error| explain(&transport, error))?;
        Ok(Self {
            transport,
            docker,
            host: Arc::default(),
            machine_memory: Arc::default(),
        })
    }

    /// This engine for requests that may take that much longer than others.
    fn patient(&self, longer: Duration) -> Result<Self, EngineError> {
        let limit = self.transport.limit().saturating_add(longer);
        Self::over(self.transport.with_limit(limit))
    }

    /// A whole request, the body of its answer included, in bounded time.
    async fn bounded<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EngineError> {
        let limit = self.transport.limit();
        match tokio::time::timeout(limit, request).await {
            Ok(answer) => answer.map_err(|error| explain(&self.transport, error)),
            Err(_) => Err(timed_out(self.transport.endpoint(), limit)),
        }
    }
}

impl Engine for DockerEngine {
    fn info(&self) -> Answer<'_, EngineInfo> {
        connect::info(self).boxed()
    }

    fn host(&self) -> Answer<'_, EngineHost> {
        connect::host(self).boxed()
    }

    fn list(&self, selector: &Selector) -> Answer<'_, Vec<Container>> {
        let selector = selector.clone();
        async move { containers::list(self, &selector).await }.boxed()
    }

    fn inspect(&self, id: &ContainerId) -> Answer<'_, Inspect> {
        let id = id.clone();
        async move { containers::inspect(self, &id).await }.boxed()
    }

    fn events(&self) -> Answer<'_, Stream<EngineEvent>> {
        events::subscribe(self).boxed()
    }

    fn logs(&self, id: &ContainerId, request: LogRequest) -> Stream<PartBatch> {
        logs::read(self, id, request)
    }

    fn usage(&self, id: &ContainerId) -> Answer<'_, Option<Usage>> {
        let id = id.clone();
        async move { containers::usage(self, &id).await }.boxed()
    }

    fn networks(&self, selector: &Selector) -> Answer<'_, Vec<NetworkInfo>> {
        let selector = selector.clone();
        async move { objects::networks(self, &selector).await }.boxed()
    }

    fn volumes(&self, selector: &Selector) -> Answer<'_, Vec<VolumeInfo>> {
        let selector = selector.clone();
        async move { objects::volumes(self, &selector).await }.boxed()
    }

    fn image_id(&self, reference: &str) -> Answer<'_, Option<String>> {
        let reference = reference.to_owned();
        async move { objects::image_id(self, &reference).await }.boxed()
    }

    fn missing(&self, paths: &BTreeSet<String>) -> BoxFuture<'_, BTreeSet<String>> {
        let paths = paths.clone();
        async move { host::missing(self, &paths).await }.boxed()
    }

    fn stop(&self, id: &ContainerId, grace: Duration) -> Answer<'_, ()> {
        let id = id.clone();
        async move { containers::stop(self, &id, grace).await }.boxed()
    }

    fn remove_container(&self, id: &ContainerId) -> Answer<'_, Removal> {
        let id = id.clone();
        async move { containers::remove(self, &id).await }.boxed()
    }

    fn remove_network(&self, id: &str) -> Answer<'_, Removal> {
        let id = id.to_owned();
        async move { objects::remove_network(self, &id).await }.boxed()
    }

    fn remove_volume(&self, name: &str) -> Answer<'_, Removal> {
        let name = name.to_owned();
        async move { objects::remove_volume(self, &name).await }.boxed()
    }
}
