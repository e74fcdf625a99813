//! An engine that is a recording: what a run saw of a real one, to be looked at.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use super::{LogLines, RecordedContainer, containers, engine_events, log_gap};
use crate::domain::container::{Container, State};
use crate::domain::event::{Action, EngineEvent};
use crate::domain::id::ContainerId;
use crate::domain::label::{COMPOSE_PROJECT, Condition};
use crate::domain::line::{Channel, PartBatch};
use crate::domain::link::EngineInfo;
use crate::domain::scope::Scope;
use crate::domain::selector::Selector;
use crate::domain::stats::Usage;
use crate::engine::{
    Engine, EngineError, ErrorKind, Inspect, LogRequest, NetworkInfo, Removal, Stream, Tail,
    VolumeInfo,
};
use crate::record::environment::fingerprint;
use crate::record::read::ReadError;

type Result<T> = std::result::Result<T, EngineError>;

/// The containers of one run as it saw them last, with their logs. Nothing happens in it, and nothing
/// can be changed.
#[derive(Clone, Debug)]
pub struct RecordedEngine {
    info: EngineInfo,
    /// In the order in which they were first seen.
    containers: Vec<RecordedContainer>,
}

impl RecordedEngine {
    /// Reads all but the logs.
    ///
    /// # Errors
    ///
    /// Fails where a file is there and cannot be read, or a newer tackroom wrote it.
    pub fn open(directory: &Path) -> std::result::Result<Self, ReadError> {
        let engine = fingerprint(directory)?.and_then(|print| print.engine);
        let engine = engine.unwrap_or_default();
        let mut containers = containers(directory)?;
        let events = engine_events(directory)?;
        for container in &mut containers {
            let id = container.inspect.container.id.clone();
            let own = events.iter().filter(|event| event.container == id);
            let removed = container.removed;
            end(&mut container.inspect.container, own, removed);
        }
        tell_apart(&mut containers);
        Ok(Self {
            info: EngineInfo {
                product: engine.product,
                version: engine.version,
                api_version: engine.api,
                endpoint: format!("recording://{}", directory.display()),
            },
            containers,
        })
    }

    /// What was recorded of each, in the order in which they were first seen.
    pub fn containers(&self) -> &[RecordedContainer] {
        &self.containers
    }

    fn known(&self, id: &ContainerId) -> Result<&RecordedContainer> {
        let known = self.containers.iter();
        known
            .clone()
            .find(|one| one.inspect.container.id == *id)
            .ok_or_else(|| {
                EngineError::new(
                    ErrorKind::NotFound,
                    format!("the recording has no container {}", id.short()),
                )
            })
    }
}

/// A container that was removed is not inspected at its very end. The events tell of that.
fn end<'a>(
    container: &mut Container,
    events: impl Iterator<Item = &'a EngineEvent>,
    removed: Option<Timestamp>,
) {
    let mut detail = container.detail.clone().unwrap_or_default();
    let known = detail.started.unwrap_or(Timestamp::MIN);
    for event in events {
        match &event.action {
            Action::OutOfMemory => detail.oom_killed = true,
            Action::Started if event.at > known && !container.state.is_alive() => {
                container.state = State::Running;
                (detail.started, detail.finished) = (Some(event.at), None);
                detail.exit_code = None;
            }
            Action::Died { exit_code } if event.at >= known && container.state.is_alive() => {
                container.state = State::Exited;
                detail.finished = Some(event.at);
                detail.exit_code = *exit_code;
            }
            _ => {}
        }
    }
    if removed.is_some() && container.state.is_alive() {
        container.state = State::Exited;
        detail.finished = removed;
    }
    if !container.state.is_alive() {
        container.health = None;
    }
    // Nothing of what is in a file will be deleted.
    detail.log_rotates = false;
    container.status = container.state.word().to_owned();
    container.detail = Some(detail);
}

/// A container that was made anew has the name of the one before it. The last keeps it.
fn tell_apart(containers: &mut [RecordedContainer]) {
    let mut taken = BTreeSet::new();
    for recorded in containers.iter_mut().rev() {
        let container = &mut recorded.inspect.container;
        if !taken.insert(container.name.clone()) {
            container.name = format!("{} ({})", container.name, container.id.short());
            // Compose's own title would be that of the last one.
            container.labels.insert(
                "com.docker.compose.container-number".to_owned(),
                container.id.short().to_owned(),
            );
        }
    }
}

/// The refusal of everything that would change something.
fn unchangeable<T: Send + 'static>() -> BoxFuture<'static, Result<T>> {
    let error = EngineError::new(ErrorKind::Unsupported, "a recording cannot be changed");
    ready(Err(error)).boxed()
}

impl Engine for RecordedEngine {
    fn info(&self) -> BoxFuture<'_, Result<EngineInfo>> {
        ready(Ok(self.info.clone())).boxed()
    }

    fn list(&self, selector: &Selector) -> BoxFuture<'_, Result<Vec<Container>>> {
        let all = self.containers.iter().map(|one| &one.inspect.container);
        let listed = all
            .filter(|container| selector.matches(&container.labels))
            .map(|container| Container {
                detail: None,
                ..container.clone()
            });
        ready(Ok(listed.collect())).boxed()
    }

    fn inspect(&self, id: &ContainerId) -> BoxFuture<'_, Result<Inspect>> {
        ready(self.known(id).map(|known| known.inspect.clone())).boxed()
    }

    fn events(&self) -> BoxFuture<'_, Result<Stream<EngineEvent>>> {
        ready(Ok(stream::pending().boxed())).boxed()
    }

    fn logs(&self, id: &ContainerId, request: LogRequest) -> Stream<PartBatch> {
        let known = match self.known(id) {
            Ok(known) => known.clone(),
            Err(error) => return stream::once(ready(Err(error))).boxed(),
        };
        let reading = move || Reading::open(&known, request);
        stream::once(blocking(reading))
            .map_ok(|reading| {
                stream::try_unfold(reading, |reading| async move {
                    let Some(mut reading) = reading else {
                        return Ok(None);
                    };
                    blocking(move || {
                        let batch = reading.next()?;
                        Ok((!batch.is_empty()).then_some((batch, Some(reading))))
                    })
                    .await
                })
            })
            .try_flatten()
            .boxed()
    }

    fn usage(&self, id: &ContainerId) -> BoxFuture<'_, Result<Option<Usage>>> {
        ready(self.known(id).map(|_| None)).boxed()
    }

    fn networks(&self, _: &Selector) -> BoxFuture<'_, Result<Vec<NetworkInfo>>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn volumes(&self, _: &Selector) -> BoxFuture<'_, Result<Vec<VolumeInfo>>> {
        ready(Ok(Vec::new())).boxed()
    }

    /// The image that the last container of that name was made from.
    fn image_id(&self, reference: &str) -> BoxFuture<'_, Result<Option<String>>> {
        let all = self
            .containers
            .iter()
            .rev()
            .map(|one| &one.inspect.container);
        let named = |container: &&Container| {
            let detail = container.detail.as_ref();
            let name = detail.and_then(|detail| detail.image_name.as_deref());
            name == Some(reference) || container.image_id == reference
        };
        let found = all.clone().find(named);
        ready(Ok(found.map(|container| container.image_id.clone()))).boxed()
    }

    fn missing(&self, _: &BTreeSet<String>) -> BoxFuture<'_, BTreeSet<String>> {
        ready(BTreeSet::new()).boxed()
    }

    fn stop(&self, _: &ContainerId, _: Duration) -> BoxFuture<'_, Result<()>> {
        unchangeable()
    }

    fn remove_container(&self, _: &ContainerId) -> BoxFuture<'_, Result<Removal>> {
        unchangeable()
    }

    fn remove_network(&self, _: &str) -> BoxFuture<'_, Result<Removal>> {
        unchangeable()
    }

    fn remove_volume(&self, _: &str) -> BoxFuture<'_, Result<Removal>> {
        unchangeable()
    }
}

/// File systems answer when they like.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(EngineError::new(ErrorKind::Engine, error.to_string())))
}

/// A log that is being read.
struct Reading {
    lines: Option<LogLines>,
    /// Whole seconds, as the engine has it.
    since: Option<Timestamp>,
    /// What is said in the gap.
    gap: Option<String>,
    /// What is said behind the last line, with the time of that.
    end: Option<String>,
    last: Timestamp,
}

impl Reading {
    /// `None`: there is nothing to read.
    fn open(known: &RecordedContainer, request: LogRequest) -> Result<Option<Self>> {
        let Some(log) = &known.log else {
            return match &known.trouble {
                Some(why) => Err(EngineError::new(ErrorKind::Unsupported, why.clone())),
                None => Ok(None),
            };
        };
        let since = request
            .since
            .map(|since| Timestamp::from_second(since.as_second()).unwrap_or(since));
        let more = known.cut.div_ceil(1024);
        let has_gap = known.cut > 0 && log_gap(log).is_some();
        let gap =
            has_gap.then(|| format!("[{more} KiB that stood here are not in the recording]\n"));
        let end = match &known.trouble {
            Some(why) => Some(format!("[the recording of this log is not whole: {why}]\n")),
            None if known.cut > 0 && !has_gap => Some(format!(
                "[{more} KiB that followed are not in the recording]\n"
            )),
            None => None,
        };
        let last = |wanted: u32| {
            let wanted = wanted.saturating_sub(u32::from(end.is_some()));
            LogLines::open_last(log, wanted, has_gap)
        };
        let lines = match (request.tail, since) {
            (Tail::Last(0), _) => return Ok(None),
            (Tail::Last(wanted), _) => last(wanted),
            (Tail::All, since) => LogLines::open(log, since),
        };
        Ok(Some(Self {
            lines: Some(lines.map_err(|error| unreadable(&error))?),
            since,
            gap,
            end,
            last: known.first_seen,
        }))
    }

    /// Empty at the end.
    fn next(&mut self) -> Result<PartBatch> {
        while let Some(lines) = &mut self.lines {
            let failed = |error| unreadable(&error);
            if let Some(behind) = lines.pass_gap().map_err(failed)? {
                let before = behind.checked_sub(SignedDuration::from_nanos(1));
                let note = self.gap.take();
                let batch = self.said(note, before.unwrap_or(behind));
                if !batch.is_empty() {
                    return Ok(batch);
                }
                continue;
            }
            match lines.next_parts(self.since).map_err(failed)? {
                Some((batch, last)) => {
                    self.last = last.unwrap_or(self.last);
                    if !batch.is_empty() {
                        return Ok(batch);
                    }
                }
                None => self.lines = None,
            }
        }
        // A line of its own time: readers go on behind the time of the last one.
        let at = self.last.checked_add(SignedDuration::from_nanos(1));
        let note = self
            .end
            .take_if(|_| self.since.is_none_or(|since| self.last >= since));
        Ok(self.said(note, at.unwrap_or(self.last)))
    }

    /// A note as a line, unless it is too old.
    fn said(&self, note: Option<String>, at: Timestamp) -> PartBatch {
        let mut batch = PartBatch::default();
        if let Some(note) = note
            && self.since.is_none_or(|since| at >= since)
        {
            batch.push(at, Channel::Err, note.as_bytes());
        }
        batch
    }
}

fn unreadable(error: &std::io::Error) -> EngineError {
    EngineError::new(
        ErrorKind::Engine,
        format!("the recorded log cannot be read: {error}"),
    )
}

/// A scope for a run that did not write down its own: by compose project, and without one in no
/// stack. What a run has recorded was in its family, so everything is in this one.
pub fn scope_of(containers: &[RecordedContainer]) -> Scope {
    let mut scope = Scope::compose_projects();
    let labels = containers
        .iter()
        .map(|recorded| &recorded.inspect.container.labels);
    let others: BTreeSet<&String> = labels
        .filter(|labels| !labels.contains_key(COMPOSE_PROJECT))
        .filter_map(|labels| labels.keys().next())
        .collect();
    let families = others
        .into_iter()
        .map(|key| Selector::new(Condition::present(key), []));
    scope.families.extend(families);
    scope
}

#[cfg(test)]
mod tests;
