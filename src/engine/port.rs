//! The trait itself and the shapes of its requests and answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use super::error::{EngineError, ErrorKind};
use crate::domain::container::{Container, Detail};
use crate::domain::event::EngineEvent;
use crate::domain::id::ContainerId;
use crate::domain::label::Labels;
use crate::domain::line::PartBatch;
use crate::domain::link::{EngineHost, EngineInfo};
use crate::domain::selector::Selector;
use crate::domain::stats::Usage;

pub(crate) type Result<T> = std::result::Result<T, EngineError>;
/// A stream of answers. It ends when the engine ends it; an error is its last item.
pub type Stream<T> = BoxStream<'static, Result<T>>;

/// An engine that runs containers.
///
/// Every future resolves in bounded time (an engine that accepts and never answers becomes
/// [`super::ErrorKind::TimedOut`]), and dropping a future or a stream ends its request. Calls may
/// run at the same time.
pub trait Engine: Send + Sync + 'static {
    /// Reaches the engine and says what it is.
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo>>;

    /// The machine that it runs on, and its clock. [`ErrorKind::Unsupported`] where there is none.
    fn host(&self) -> BoxFuture<'_, Result<EngineHost>> {
        let error = EngineError::new(ErrorKind::Unsupported, "it runs on no machine");
        Box::pin(std::future::ready(Err(error)))
    }

    /// The containers in any state whose labels match ALL conditions; without [`Detail`].
    fn list(&self, selector: &Selector) -> BoxFuture<'_, Result<Vec<Container>>>;

    /// One container. [`super::ErrorKind::NotFound`] if it is gone.
    fn inspect(&self, id: &ContainerId) -> BoxFuture<'_, Result<Inspect>>;

    /// Container events from now on. The subscription stands when the future resolves, so what
    /// is listed afterwards misses nothing. Health checks' own processes are not reported.
    fn events(&self) -> BoxFuture<'_, Result<Stream<EngineEvent>>>;

    /// A container's log in the order in which the engine keeps it. What is there already may come
    /// in large batches; a followed one gives each line within a few milliseconds.
    fn logs(&self, id: &ContainerId, request: LogRequest) -> Stream<PartBatch>;

    /// What a container has used by now; `None` if it is not running.
    fn usage(&self, id: &ContainerId) -> BoxFuture<'_, Result<Option<Usage>>>;

    /// The networks that carry ALL these labels, with what is attached to them.
    fn networks(&self, selector: &Selector) -> BoxFuture<'_, Result<Vec<NetworkInfo>>>;

    /// The volumes that carry ALL these labels.
    fn volumes(&self, selector: &Selector) -> BoxFuture<'_, Result<Vec<VolumeInfo>>>;

    /// The id of the image that a name, or the beginning of an id, means now; `None` if it means
    /// none.
    fn image_id(&self, reference: &str) -> BoxFuture<'_, Result<Option<String>>>;

    /// Those of these absolute paths that the engine's host certainly does not have. An engine
    /// whose host cannot be looked at knows of none.
    fn missing(&self, paths: &BTreeSet<String>) -> BoxFuture<'_, BTreeSet<String>>;

    /// Asks the main process to end and kills it after `grace`. Fine if it is not running.
    fn stop(&self, id: &ContainerId, grace: Duration) -> BoxFuture<'_, Result<()>>;

    /// Removes a container in any state, with its anonymous volumes.
    fn remove_container(&self, id: &ContainerId) -> BoxFuture<'_, Result<Removal>>;

    /// Removes a network by id. Refused by the engine while something is attached.
    fn remove_network(&self, id: &str) -> BoxFuture<'_, Result<Removal>>;

    /// Removes a volume by name. Refused by the engine while a container refers to it.
    fn remove_volume(&self, name: &str) -> BoxFuture<'_, Result<Removal>>;
}

/// One container in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspect {
    /// With its [`Detail`] set.
    pub container: Container,
    pub env: Vec<(String, Option<String>)>,
    pub command: Vec<String>,
    pub entrypoint: Vec<String>,
    /// Network name to the container's address there (empty while it does not run).
    pub networks: BTreeMap<String, String>,
    pub restart_policy: String,
    /// The engine's whole answer, for display.
    pub raw: serde_json::Value,
}

impl Inspect {
    /// An answer that has told nothing but the container.
    pub fn of(container: Container, raw: serde_json::Value) -> Self {
        Self {
            container,
            env: Vec::new(),
            command: Vec::new(),
            entrypoint: Vec::new(),
            networks: BTreeMap::new(),
            restart_policy: String::new(),
            raw,
        }
    }

    pub fn detail(&self) -> Detail {
        self.container.detail.clone().unwrap_or_default()
    }
}

/// What part of a log is wanted. Timestamps are always asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRequest {
    pub tail: Tail,
    /// Whole seconds: lines of that second and later. The caller skips what it already has.
    pub since: Option<Timestamp>,
    /// Go on with new lines until the container ends.
    pub follow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    All,
    Last(u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInfo {
    pub id: String,
    pub name: String,
    pub created: Option<Timestamp>,
    pub labels: Labels,
    /// The running containers that are attached.
    pub attached: Vec<ContainerId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    pub name: String,
    pub created: Option<Timestamp>,
    pub labels: Labels,
}

/// How a removal ended. That something is gone already is success: the aim is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// It was not there, or somebody else is removing it.
    Gone,
}
