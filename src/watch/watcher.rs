//! The loop that keeps the table true: events, lists, inspects, and outages that heal.

use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join, try_join_all};
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

use super::reconcile::{Table, Wanted};
use super::{WatchEvent, WatchOptions};
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::link::Link;
use crate::domain::origins::{Findings, Subjects};
use crate::domain::scope::Scope;
use crate::engine::{Backoff, Engine, EngineError, ErrorKind, Inspect, look_up};

/// Watches the containers of a scope until it is dropped. An engine that cannot be reached is no
/// end: it is told as [`Link::Lost`] and tried again.
pub fn watch(
    engine: Arc<dyn Engine>,
    scope: Arc<Scope>,
    options: WatchOptions,
) -> impl Stream<Item = WatchEvent> + Send + 'static {
    let (told, heard) = mpsc::channel(64);
    let watcher = Watcher {
        engine,
        table: Table::new(Arc::clone(&scope)),
        scope,
        options,
        told,
        shown: None,
        inspecting: Vec::new(),
        looked: None,
    };
    // The loop runs inside the stream: it ends with it, and waits when nobody reads.
    let driver = watcher.run().into_stream();
    stream::select(
        ReceiverStream::new(heard).map(Some),
        driver.map(|never| match never {}),
    )
    .filter_map(std::future::ready)
}

struct Watcher {
    engine: Arc<dyn Engine>,
    scope: Arc<Scope>,
    options: WatchOptions,
    table: Table,
    told: mpsc::Sender<WatchEvent>,
    /// The rows as they were last told.
    shown: Option<Arc<[Container]>>,
    inspecting: Vec<ContainerId>,
    /// What origins were looked for last, and when. No event tells that they change.
    looked: Option<(Subjects, Instant)>,
}

type Inspection = BoxFuture<'static, (Wanted, Result<Inspect, EngineError>)>;

impl Watcher {
    async fn run(mut self) -> Infallible {
        let mut backoff = Backoff::default();
        let mut lost_since = None;
        loop {
            let error = match self.session(&mut backoff, &mut lost_since).await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let since = *lost_since.get_or_insert_with(Timestamp::now);
            let retry_in = backoff.step();
            self.tell(WatchEvent::Link(Link::Lost {
                since,
                cause: error.advice().to_string(),
                retry_in,
            }))
            .await;
            sleep(retry_in).await;
        }
    }

    /// From reaching the engine to losing it.
    async fn session(
        &mut self,
        backoff: &mut Backoff,
        lost_since: &mut Option<Timestamp>,
    ) -> Result<Infallible, EngineError> {
        let info = self.engine.info().await?;
        self.table.touch_all();
        self.inspecting.clear();
        // A subscription takes longer than a list. The rows of a first list are shown
        // meanwhile; the one that counts is read when the subscription stands.
        let engine = Arc::clone(&self.engine);
        let (painted, events) = join(self.list(), engine.events()).await;
        painted?;
        let mut events = events?;
        self.tell(WatchEvent::Link(Link::Up(info))).await;
        backoff.reset();
        *lost_since = None;
        self.list().await?;

        let mut inspections: FuturesUnordered<Inspection> = FuturesUnordered::new();
        let mut pending = Pending::new(self.options);
        let mut looking: FuturesUnordered<BoxFuture<'static, Findings>> = FuturesUnordered::new();
        self.looked = None;
        loop {
            self.inspect_more(&mut inspections);
            // With the details come the names of images.
            if looking.is_empty() && inspections.is_empty() {
                looking.extend(self.look());
            }
            tokio::select! {
                event = events.next() => {
                    let event = event.unwrap_or_else(|| Err(stream_ended()))?;
                    if self.table.concerns(&event) {
                        self.table.touch(&event.container);
                        // Perhaps it started because what was gone is there again.
                        if self.table.is_broken(&event.container) {
                            self.looked = None;
                        }
                        pending.event();
                        self.tell(WatchEvent::Engine(event)).await;
                    }
                }
                () = sleep_until(pending.list_at()) => {
                    self.list().await?;
                    pending.listed();
                }
                Some((wanted, answer)) = inspections.next(), if !inspections.is_empty() => {
                    self.inspecting.retain(|id| *id != wanted.id);
                    let detail = match answer {
                        Ok(inspect) => Some(inspect.detail()),
                        // One container that the engine cannot look at, while it answers all
                        // else. Should it hang as a whole, the next list tells.
                        Err(error) if error.kind == ErrorKind::TimedOut => None,
                        Err(error) if error.is_outage() => return Err(error),
                        Err(_) => None,
                    };
                    self.table.inspected(&wanted, detail);
                    pending.inspected();
                }
                Some(findings) = looking.next(), if !looking.is_empty() => {
                    self.table.found(findings);
                    pending.inspected();
                }
                () = sleep_until(pending.show_at()), if pending.is_hidden() => {
                    pending.shown();
                    self.show().await;
                }
            }
            if inspections.is_empty() && pending.is_hidden() {
                pending.shown();
                self.show().await;
            }
        }
    }

    async fn list(&mut self) -> Result<(), EngineError> {
        let listed = self.listed().await?;
        self.table.list(listed);
        self.show().await;
        Ok(())
    }

    /// The answers to all queries of the scope.
    async fn listed(&self) -> Result<Vec<Container>, EngineError> {
        let queries = self.scope.queries();
        let answers = try_join_all(queries.iter().map(|query| self.engine.list(query))).await?;
        Ok(answers.into_iter().flatten().collect())
    }

    fn inspect_more(&mut self, inspections: &mut FuturesUnordered<Inspection>) {
        let room = self
            .options
            .inspects
            .max(1)
            .saturating_sub(inspections.len());
        let next: Vec<Wanted> = self
            .table
            .wanted()
            .filter(|wanted| !self.inspecting.contains(&wanted.id))
            .take(room)
            .collect();
        for wanted in next {
            self.inspecting.push(wanted.id.clone());
            let engine = Arc::clone(&self.engine);
            inspections.push(
                async move {
                    let answer = engine.inspect(&wanted.id).await;
                    (wanted, answer)
                }
                .boxed(),
            );
        }
    }

    /// Looks for the origins of the rows where they are not known, or not any more.
    fn look(&mut self) -> Option<BoxFuture<'static, Findings>> {
        let subjects = self.table.subjects();
        let old = self.options.refresh / 2;
        let known = self.looked.as_ref();
        if subjects.is_empty()
            || known.is_some_and(|(looked, at)| *looked == subjects && at.elapsed() < old)
        {
            return None;
        }
        self.looked = Some((subjects.clone(), Instant::now()));
        let engine = Arc::clone(&self.engine);
        Some(async move { look_up(&*engine, &subjects).await }.boxed())
    }

    async fn show(&mut self) {
        if self.shown.as_deref() == Some(self.table.rows()) {
            return;
        }
        let rows: Arc<[Container]> = self.table.rows().into();
        self.shown = Some(Arc::clone(&rows));
        self.tell(WatchEvent::Containers(rows)).await;
    }

    async fn tell(&self, event: WatchEvent) {
        // The other end lives in the same stream as this loop: it cannot be gone.
        let _ = self.told.send(event).await;
    }
}

fn stream_ended() -> EngineError {
    EngineError::new(ErrorKind::Unreachable, "the engine ended its event stream")
        .hinted("it may be restarting")
}

/// When the next list and the next paint are due.
struct Pending {
    options: WatchOptions,
    listed: Instant,
    /// The first and the last event since the last list.
    events: Option<(Instant, Instant)>,
    /// The first inspect that was not shown yet.
    hidden: Option<Instant>,
}

impl Pending {
    fn new(options: WatchOptions) -> Self {
        Self {
            options,
            listed: Instant::now(),
            events: None,
            hidden: None,
        }
    }

    fn event(&mut self) {
        let now = Instant::now();
        let first = self.events.map_or(now, |(first, _)| first);
        self.events = Some((first, now));
    }

    fn listed(&mut self) {
        self.listed = Instant::now();
        self.events = None;
    }

    fn list_at(&self) -> Instant {
        let refresh = self.listed + self.options.refresh;
        match self.events {
            Some((first, last)) => refresh
                .min(last + self.options.debounce)
                .min(first + self.options.patience),
            None => refresh,
        }
    }

    fn inspected(&mut self) {
        self.hidden.get_or_insert_with(Instant::now);
    }

    fn is_hidden(&self) -> bool {
        self.hidden.is_some()
    }

    fn show_at(&self) -> Instant {
        self.hidden.unwrap_or(self.listed) + self.options.debounce
    }

    fn shown(&mut self) {
        self.hidden = None;
    }
}
