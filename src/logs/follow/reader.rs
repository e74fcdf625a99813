//! The reader of one source.
//!
//! It goes round: look at the container, mark what happened to it since the last look, read from
//! the cursor, look again. Every step can be cut off between two events without harm, because
//! the cursor moves together with the sending of a line and with nothing else.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::view::{Death, View};
use crate::domain::container::{Detail, State};
use crate::domain::id::ContainerId;
use crate::domain::line::{Line, Mark, Part, SourceId};
use crate::engine::{Backoff, Engine, EngineError, ErrorKind, Inspect, LogRequest, Tail};
use crate::logs::cursor::{Cursor, Resume, Verdict};
use crate::logs::{Assembly, FollowOptions, LogEvent};

/// How long the event with the exit code may come after the end of the log that it explains.
const DEATH_NOTICE: Duration = Duration::from_millis(250);
/// How long the rest of a run that is over may keep us waiting, where its log does not end.
const LAST_SILENCE: Duration = Duration::from_secs(2);
/// Parts at the end of a log among which is the one with the latest timestamp: those of the two
/// channels may be out of order by a few.
const LAST_WORDS: u32 = 16;
/// Parts that are taken at once where they are there already.
const BATCH: usize = 256;

pub(super) struct Reader {
    engine: Arc<dyn Engine>,
    source: SourceId,
    options: FollowOptions,
    view: watch::Receiver<View>,
    told: mpsc::Sender<LogEvent>,
    place: Place,
}

/// Where reading stands. It is kept while the source is not selected.
#[derive(Default)]
struct Place {
    container: Option<ContainerId>,
    cursor: Cursor,
    /// The log was opened before, so that the options' `tail` has been served.
    opened: bool,
    run: Option<Run>,
    /// It was read to its end once.
    once: bool,
    removed: bool,
    unreadable: bool,
    trouble: Option<Trouble>,
}

/// One run of the container, from a start to an end.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Run {
    /// `None` before the first start.
    started: Option<Timestamp>,
    /// Its end was marked.
    ended: bool,
}

/// Why reading is interrupted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The engine could not be used: over when it answers.
    Engine,
    /// This log could not be read: over when it can.
    Log,
}

/// What to do after a round.
enum Next {
    /// Look again: the log came to an end.
    Again { progressed: bool },
    /// Look again, but not at once.
    Pause,
    /// There is nothing to do until the view changes.
    Wait,
}

/// Why reading a window came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Everything there is was read, or the view asks for something else.
    Reached,
    /// The window begins too late.
    TooShort,
}

/// How far to read.
#[derive(Clone, Copy)]
enum Extent {
    /// On and on, until the container ends.
    Follow,
    /// To the present end. What has no newline there is a line.
    Finish,
    /// To the present end. What has no newline there will be read again.
    Open,
    /// To the last line of that time or before.
    Until(Timestamp),
}

impl Reader {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        source: SourceId,
        options: FollowOptions,
        view: watch::Receiver<View>,
        told: mpsc::Sender<LogEvent>,
    ) -> Self {
        Self {
            engine,
            source,
            options,
            view,
            told,
            place: Place::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let mut selection = self.view.clone();
        loop {
            let active = selection.wait_for(|view| view.selected || view.closing);
            match active.await.map(|view| view.selected) {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
            tokio::select! {
                () = self.work() => return,
                deselected = selection.wait_for(|view| !view.selected) => {
                    if deselected.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Reads until the inputs are closed.
    async fn work(&mut self) {
        let mut backoff = Backoff::default();
        let mut fruitless = false;
        loop {
            let closing = self.view.borrow_and_update().closing;
            let next = match self.round(closing).await {
                Ok(next) => next,
                Err(error) => {
                    self.interrupted(&error).await;
                    Next::Pause
                }
            };
            // What the last round found is all there is, or all that can be had.
            if closing {
                return;
            }
            let pause = match next {
                Next::Again { progressed } => {
                    let again = fruitless && !progressed;
                    fruitless = !progressed;
                    again
                }
                Next::Pause => true,
                Next::Wait => {
                    backoff.reset();
                    if self.view.changed().await.is_err() {
                        return;
                    }
                    false
                }
            };
            if pause {
                tokio::select! {
                    () = sleep(backoff.step()) => {}
                    changed = self.view.changed() => if changed.is_err() { return },
                }
            } else {
                backoff.reset();
            }
        }
    }

    async fn round(&mut self, closing: bool) -> Result<Next, EngineError> {
        let wanted = self.view.borrow().container.clone();
        if let (Some(old), Some(new)) = (self.place.container.clone(), &wanted)
            && old != *new
        {
            self.leave(&old).await?;
            self.mark(Timestamp::now(), Mark::Recreated).await;
            self.place = Place {
                container: Some(new.clone()),
                opened: true,
                trouble: self.place.trouble,
                ..Place::default()
            };
        }
        let Some(id) = self.place.container.clone().or(wanted) else {
            return Ok(Next::Wait);
        };
        self.place.container = Some(id.clone());
        let inspect = match self.engine.inspect(&id).await {
            Ok(inspect) => inspect,
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.resumed(Trouble::Engine).await;
                // An engine lists a new container a moment before it can be inspected.
                let listed = self.view.borrow().container.as_ref() == Some(&id);
                if listed && self.place.run.is_none() {
                    return Ok(Next::Pause);
                }
                self.removed(&id).await;
                return Ok(Next::Wait);
            }
            Err(error) => return Err(error),
        };
        self.resumed(Trouble::Engine).await;

        let detail = inspect.detail();
        let running = is_running(&inspect);
        match self.place.run {
            Some(run) if run.started == detail.started => {}
            Some(run) if run.started.is_some() => self.restarted(&id, run, &detail).await?,
            _ => self.place.run = Some(Run::new(&detail)),
        }
        if self.is_read_out() {
            if !running {
                self.ended(&id, &inspect).await;
            }
            return Ok(Next::Wait);
        }

        let follow = running && self.options.follow && !closing;
        let before = self.place.cursor.clone();
        let read = match running {
            true if follow => self.read(&id, Extent::Follow).await.map(|()| true),
            true => self.read(&id, Extent::Finish).await.map(|()| true),
            false => self.read_ended(&id, &detail).await,
        };
        match read {
            Ok(true) => {
                self.resumed(Trouble::Log).await;
                if follow {
                    let progressed = self.place.cursor != before;
                    return Ok(Next::Again { progressed });
                }
                self.place.once = true;
                if !running {
                    self.ended(&id, &inspect).await;
                }
                Ok(Next::Wait)
            }
            Ok(false) => Ok(Next::Again { progressed: true }),
            Err(error) if error.kind == ErrorKind::Unsupported => {
                let cause = error.message;
                self.mark(Timestamp::now(), Mark::Unreadable { cause })
                    .await;
                self.place.unreadable = true;
                Ok(Next::Again { progressed: true })
            }
            // It went while we looked: the next look tells.
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Conflict) => {
                Ok(Next::Pause)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the rest of a run that is over; `false` if the next one has begun meanwhile, whose
    /// lines have to wait for the marks between them. So what the log holds is looked at first,
    /// then whether the container still stands still, and only what was there before is read.
    async fn read_ended(&mut self, id: &ContainerId, detail: &Detail) -> Result<bool, EngineError> {
        let request = LogRequest {
            tail: Tail::Last(LAST_WORDS),
            since: None,
            follow: false,
        };
        let parts: Vec<Part> = self.engine.logs(id, request).try_collect().await?;
        let again = self.engine.inspect(id).await?;
        if is_running(&again) || again.detail().started != detail.started {
            return Ok(false);
        }
        if let Some(last) = parts.iter().map(|part| part.at).max() {
            self.read(id, Extent::Until(last)).await?;
        }
        Ok(true)
    }

    /// Nothing can be read now that was not read before.
    fn is_read_out(&self) -> bool {
        self.place.unreadable
            || (self.place.once && !self.options.follow)
            || self.place.run.is_some_and(|run| run.ended)
    }

    /// The container has been started again since the last look: what it wrote before belongs
    /// before the marks.
    async fn restarted(
        &mut self,
        id: &ContainerId,
        run: Run,
        detail: &Detail,
    ) -> Result<(), EngineError> {
        let death = match run.ended {
            true => None,
            false => self.death_notice(id, run).await,
        };
        let boundary = death.as_ref().map(|death| death.at).or(detail.started);
        if let Some(boundary) = boundary
            && !self.is_read_out()
        {
            self.read_rest(id, Extent::Until(boundary)).await?;
        }
        if !run.ended {
            self.exited(death, detail.started, None, false).await;
        }
        let at = detail.started.unwrap_or_else(Timestamp::now);
        self.mark(at, Mark::Restarted).await;
        self.place.run = Some(Run::new(detail));
        Ok(())
    }

    /// The event that ended the run. It may come a moment after the end of the log, since it
    /// comes by another way.
    async fn death_notice(&self, id: &ContainerId, run: Run) -> Option<Death> {
        // A copy: what is seen while waiting here still has to wake the loop.
        let mut view = self.view.clone();
        let told =
            view.wait_for(|view| view.closing || view.death_since(id, run.started).is_some());
        let view = timeout(DEATH_NOTICE, told).await.ok()?.ok()?;
        view.death_since(id, run.started).cloned()
    }

    /// The container does not run: mark that once per run.
    async fn ended(&mut self, id: &ContainerId, inspect: &Inspect) {
        let Some(run) = self.place.run else { return };
        if run.started.is_none() || run.ended {
            return;
        }
        let detail = inspect.detail();
        let death = self.view.borrow().death_since(id, run.started).cloned();
        let code = detail.exit_code;
        self.exited(death, detail.finished, code, detail.oom_killed)
            .await;
    }

    async fn exited(
        &mut self,
        death: Option<Death>,
        at: Option<Timestamp>,
        code: Option<i64>,
        oom: bool,
    ) {
        let mark = Mark::Exited {
            code: death.as_ref().and_then(|death| death.code).or(code),
            oom: oom || death.as_ref().is_some_and(|death| death.oom),
        };
        let at = death
            .map(|death| death.at)
            .or(at)
            .unwrap_or_else(Timestamp::now);
        self.mark(at, mark).await;
        if let Some(run) = &mut self.place.run {
            run.ended = true;
        }
    }

    /// The container is gone from the engine, and its log with it.
    async fn removed(&mut self, id: &ContainerId) {
        if self.place.removed {
            return;
        }
        if let Some(run) = self.place.run
            && run.started.is_some()
            && !run.ended
        {
            let death = self.death_notice(id, run).await;
            self.exited(death, None, None, false).await;
        }
        self.mark(Timestamp::now(), Mark::Removed).await;
        self.place.removed = true;
    }

    /// The name has gone to another container: what the old one wrote last, and how it ended.
    async fn leave(&mut self, id: &ContainerId) -> Result<(), EngineError> {
        if self.place.removed {
            return Ok(());
        }
        let inspect = match self.engine.inspect(id).await {
            Ok(inspect) => inspect,
            Err(error) if error.kind == ErrorKind::NotFound => {
                self.removed(id).await;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !self.is_read_out() {
            self.read_rest(id, Extent::Finish).await?;
        }
        if !is_running(&inspect) {
            self.ended(id, &inspect).await;
        }
        Ok(())
    }

    async fn interrupted(&mut self, error: &EngineError) {
        let trouble = if error.is_outage() {
            Trouble::Engine
        } else {
            Trouble::Log
        };
        if self.place.trouble.is_none() {
            let cause = error.message.clone();
            self.mark(Timestamp::now(), Mark::Interrupted { cause })
                .await;
        }
        self.place.trouble = Some(trouble);
    }

    async fn resumed(&mut self, over: Trouble) {
        if self.place.trouble == Some(over) {
            self.mark(Timestamp::now(), Mark::Resumed).await;
            self.place.trouble = None;
        }
    }

    /// What a mark stands for is to be noted right behind it, with nothing to wait for between.
    async fn mark(&self, at: Timestamp, mark: Mark) {
        let source = self.source.clone();
        // Where nobody listens any more the reader is about to be dropped.
        let _ = self.told.send(LogEvent::Mark { source, at, mark }).await;
    }

    /// Reads what is left of a run that is over. Where that cannot be had, the next read meets
    /// the same obstacle, or the log is gone; only an outage is worth another try.
    async fn read_rest(&mut self, id: &ContainerId, extent: Extent) -> Result<(), EngineError> {
        match self.read(id, extent).await {
            Err(error) if error.is_outage() => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads on from the cursor.
    async fn read(&mut self, id: &ContainerId, extent: Extent) -> Result<(), EngineError> {
        if self.place.cursor.is_empty() && !self.place.opened {
            let follow = matches!(extent, Extent::Follow);
            let first = if follow { Extent::Open } else { extent };
            self.open(id, first).await?;
            self.place.opened = true;
            if !follow {
                return Ok(());
            }
        }
        let mut attempt = 0;
        loop {
            let follow = matches!(extent, Extent::Follow);
            let request = self.place.cursor.window(attempt, follow);
            let request = request.unwrap_or(LogRequest {
                tail: Tail::All,
                since: self.options.since,
                follow,
            });
            match self.read_window(id, request, extent).await? {
                End::Reached => return Ok(()),
                End::TooShort => attempt += 1,
            }
        }
    }

    /// The first read. It does not follow, so that its end is known: where it finds nothing, all
    /// that is there later is new.
    async fn open(&mut self, id: &ContainerId, extent: Extent) -> Result<(), EngineError> {
        let request = LogRequest {
            tail: self.options.tail,
            since: self.options.since,
            follow: false,
        };
        if request.tail != Tail::Last(0) {
            self.read_window(id, request, extent).await?;
            return Ok(());
        }
        // Nothing of the past is wanted: the last line is only where reading begins.
        let request = LogRequest {
            tail: Tail::Last(1),
            since: None,
            ..request
        };
        let mut parts = self.engine.logs(id, request);
        let mut assembly = Assembly::default();
        let mut last = Vec::new();
        while let Some(part) = parts.next().await {
            assembly.push(&part?, |line| last.push(line));
        }
        if !matches!(extent, Extent::Open) {
            last.append(&mut assembly.finish());
        }
        for line in &last {
            self.place.cursor.advance(line);
        }
        Ok(())
    }

    async fn read_window(
        &mut self,
        id: &ContainerId,
        request: LogRequest,
        extent: Extent,
    ) -> Result<End, EngineError> {
        let mut resume = Resume::new(&self.place.cursor, &request);
        let mut assembly = Assembly::default();
        let mut parts = self.engine.logs(id, request).ready_chunks(BATCH);
        let mut view = self.view.clone();
        let started = self.place.run.and_then(|run| run.started);
        let mut lines = Vec::new();
        // Of a run that is over: when it ended. The event comes by another way than the log and
        // overtakes it. What is unread goes on being read here and not by another request, since
        // a container that removes itself takes its log along.
        let mut end = None;
        loop {
            let chunk = if end.is_some() {
                match timeout(LAST_SILENCE, parts.next()).await {
                    Ok(chunk) => chunk,
                    Err(_) => return Ok(End::Reached),
                }
            } else {
                let past = view.wait_for(|view| view.is_past(id, started));
                tokio::select! {
                    biased;
                    past = past, if request.follow => {
                        end = past.ok().and_then(|view| {
                            view.death_since(id, started).map(|death| death.at)
                        });
                        if end.is_none() {
                            return Ok(End::Reached);
                        }
                        continue;
                    }
                    chunk = parts.next() => chunk,
                }
            };
            let extent = end.map_or(extent, Extent::Until);
            let Some(chunk) = chunk else { break };
            for part in chunk {
                let part = part?;
                self.resumed(Trouble::Log).await;
                assembly.push(&part, |line| lines.push(line));
                for line in lines.drain(..) {
                    if let Some(end) = self.take(&mut resume, line, extent).await {
                        return Ok(end);
                    }
                }
            }
        }
        if matches!(extent, Extent::Finish | Extent::Until(_)) {
            for line in assembly.finish() {
                if let Some(end) = self.take(&mut resume, line, extent).await {
                    return Ok(end);
                }
            }
        }
        Ok(End::Reached)
    }

    /// Sends a line if it is new; tells if that is the end of reading.
    async fn take(&mut self, resume: &mut Resume, line: Line, extent: Extent) -> Option<End> {
        match resume.judge(&line) {
            Verdict::Known => return None,
            Verdict::TooShort => return Some(End::TooShort),
            Verdict::New => {}
        }
        if self.options.since.is_some_and(|since| line.at < since) {
            return None;
        }
        if let Extent::Until(last) = extent
            && line.at > last
        {
            return Some(End::Reached);
        }
        let Ok(permit) = self.told.reserve().await else {
            return Some(End::Reached);
        };
        self.place.cursor.advance(&line);
        let source = self.source.clone();
        permit.send(LogEvent::Line { source, line });
        None
    }
}

impl Run {
    fn new(detail: &Detail) -> Self {
        Self {
            started: detail.started,
            ended: false,
        }
    }
}

/// Whether there is a process to wait for. A container that waits for its restart has none.
fn is_running(inspect: &Inspect) -> bool {
    matches!(inspect.container.state, State::Running | State::Paused)
}
