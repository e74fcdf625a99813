//! The reader of one source.
//!
//! It goes round: look at the container, mark what happened to it since the last look, read from
//! the cursor, look again. Every step can be cut off between two events without harm, because
//! the cursor moves together with the sending of a line and with nothing else.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::history::History;
use super::view::{Death, View};
use crate::domain::container::{Detail, State};
use crate::domain::id::ContainerId;
use crate::domain::line::{Channel, LineBatch, Mark, PartBatch, SourceId};
use crate::engine::{Backoff, Engine, EngineError, ErrorKind, Inspect, LogRequest, Tail};
use crate::logs::cursor::{Cursor, Resume, Verdict};
use crate::logs::page::whole_after;
use crate::logs::{Assembly, FollowEvent, FollowOptions};

/// How long an event may come after what it explains: the end of a log, or that a container is
/// gone.
const DEATH_NOTICE: Duration = Duration::from_millis(250);
/// How long the rest of a run that is over may keep us waiting, where its log does not end.
const LAST_SILENCE: Duration = Duration::from_secs(2);
/// Parts at the end of a log among which is the one with the latest timestamp: those of the two
/// channels may be out of order by a few.
const LAST_WORDS: u32 = 16;
/// A stream that is silent for that long is compared with the log itself, and again after twice
/// that and so on: an engine or what stands before it may have forgotten us.
const SILENCE: Duration = Duration::from_secs(30);
const SILENCE_CAP: Duration = Duration::from_secs(480);
/// An engine that rotates a log while it is followed may leave out a whole file. Then the stream
/// goes on as if nothing had been written for a while, and the log itself is asked. A file has
/// some size, so what comes after less than that is not doubted.
const LEAP: SignedDuration = SignedDuration::from_millis(250);
const FILE: usize = 1 << 20;
/// What the engine writes around each line in its files, at least about.
const AROUND: usize = 80;
/// The largest window that is tried before the whole log is read to find a beginning.
const WHOLE_CAP: u32 = 100_000;
/// How long a line that the log has may take to come by the stream.
const DELIVERY: Duration = Duration::from_secs(2);

pub(super) struct Reader {
    engine: Arc<dyn Engine>,
    source: SourceId,
    options: FollowOptions,
    view: watch::Receiver<View>,
    told: mpsc::Sender<FollowEvent>,
    place: Place,
    /// What is marked later stands behind it. A container that is to take another one's place may
    /// have been made before that one ended.
    floor: Timestamp,
}

/// Where reading stands. It is kept while the source is not selected.
#[derive(Default)]
struct Place {
    container: Option<ContainerId>,
    /// It has the name of one before it, and that was not told yet.
    anew: bool,
    cursor: Cursor,
    /// What the cursor passed last, of a log that rotates.
    history: Option<History>,
    /// The log was opened before, so that the options' `tail` has been served.
    opened: bool,
    /// It was told that the log is being read.
    announced: bool,
    run: Option<Run>,
    /// It was read to its end once.
    once: bool,
    /// All that the run wrote has come, as far as anybody can tell.
    complete: bool,
    /// What a stream ended with that has no newline. It counts where there is no second look, which
    /// would tell whether it goes on.
    rest: LineBatch,
    /// What has come, in bytes of the engine's files.
    came: usize,
    /// It removes itself when it ends.
    passing: bool,
    /// How large a file of its log gets.
    file: usize,
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
    /// The stream may have left something out: look from the cursor.
    Doubtful,
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
        told: mpsc::Sender<FollowEvent>,
    ) -> Self {
        Self {
            engine,
            source,
            options,
            view,
            told,
            place: Place::default(),
            floor: Timestamp::MIN,
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
            let newest = self.place.cursor.newest();
            self.floor = newest.map_or(self.floor, |newest| newest.max(self.floor));
            self.place = Place {
                container: Some(new.clone()),
                anew: true,
                opened: true,
                trouble: self.place.trouble,
                ..Place::default()
            };
        }
        let Some(id) = self.place.container.clone().or(wanted) else {
            return Ok(Next::Wait);
        };
        self.place.container = Some(id.clone());
        if self.place.removed {
            return Ok(Next::Wait);
        }
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

        if self.place.anew {
            self.mark(inspect.container.created, Mark::Recreated).await;
            self.place.anew = false;
        }
        let detail = inspect.detail();
        let running = is_running(&inspect);
        self.place.passing = removes_itself(&inspect);
        if detail.log_rotates {
            self.place.history.get_or_insert_default();
            self.place.file = file_size(&inspect).unwrap_or(FILE);
        }
        match self.place.run {
            Some(run) if run.started == detail.started => {}
            Some(run) if run.started.is_some() => self.restarted(&id, run, &detail).await?,
            _ => {
                // Before its first start there was nothing to be read.
                self.place.complete &= detail.started.is_none();
                self.place.run = Some(Run::new(&detail));
            }
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
                self.place.complete = true;
                if !running {
                    self.ended(&id, &inspect).await;
                }
                Ok(Next::Wait)
            }
            Ok(false) => Ok(Next::Again { progressed: true }),
            Err(error) if error.kind == ErrorKind::Unsupported => {
                let cause = error.message;
                self.mark(self.now(), Mark::Unreadable { cause }).await;
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
        let batches: Vec<PartBatch> = self.engine.logs(id, request).try_collect().await?;
        let again = self.engine.inspect(id).await?;
        if is_running(&again) || again.detail().started != detail.started {
            return Ok(false);
        }
        match latest(&batches) {
            Some(last) => self.read(id, Extent::Until(last)).await?,
            // There is nothing in it, and that is known now: what comes is new.
            None => {
                self.announce(id, self.place.cursor.is_empty()).await;
                self.place.opened = true;
            }
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
        let at = detail.started.unwrap_or_else(|| self.now());
        self.mark(at, Mark::Restarted).await;
        self.place.run = Some(Run::new(detail));
        self.place.complete = false;
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

    /// What is known of a container once its removal has been told, which comes behind everything
    /// else that happened to it.
    async fn removal_notice(&self, id: &ContainerId) -> View {
        let mut view = self.view.clone();
        let told = view.wait_for(|view| view.closing || view.removal_of(id).is_some());
        drop(timeout(DEATH_NOTICE, told).await);
        self.view.borrow().clone()
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
            .unwrap_or_else(|| self.now());
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
        self.send_rest().await;
        if let Some(run) = self.place.run
            && run.started.is_some()
            && !run.ended
        {
            let death = self.death_notice(id, run).await;
            self.exited(death, None, None, false).await;
        }
        let view = self.removal_notice(id).await;
        let at = view.removal_of(id).unwrap_or_else(|| self.now());
        let run = self.place.run;
        let ran_unseen = run.is_some_and(|run| view.ran_behind(id, run.started));
        let has_run = ran_unseen || run.is_some_and(|run| run.started.is_some());
        if self.place.complete && !ran_unseen {
            // What could not be read in between was known.
            self.resumed(Trouble::Log).await;
        } else if has_run && !self.place.unreadable {
            let cause = "it was removed before its log had been read to the end".to_owned();
            self.mark(at, Mark::Interrupted { cause }).await;
        }
        self.mark(at, Mark::Removed).await;
        self.place.removed = true;
        self.place.history = None;
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
            self.mark(self.now(), Mark::Interrupted { cause }).await;
        }
        self.place.trouble = Some(trouble);
    }

    async fn resumed(&mut self, over: Trouble) {
        if self.place.trouble == Some(over) {
            self.mark(self.now(), Mark::Resumed).await;
            self.place.trouble = None;
        }
    }

    /// Of what the engine has told no time: it is behind what was read, whatever our clock says.
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        self.place.cursor.newest().map_or(now, |last| last.max(now))
    }

    /// What a mark stands for is to be noted right behind it, with nothing to wait for between.
    async fn mark(&mut self, at: Timestamp, mark: Mark) {
        let source = self.source.clone();
        let at = at.max(self.floor);
        self.floor = at;
        // Where nobody listens any more the reader is about to be dropped.
        let _ = self.told.send(FollowEvent::Mark { source, at, mark }).await;
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
            match (follow, self.options.tail) {
                // All of it is wanted, and a container may live no longer than one request takes.
                (true, Tail::All) => self.announce(id, self.options.since.is_none()).await,
                (true, _) => self.open(id, Extent::Open).await?,
                (false, _) => self.open(id, extent).await?,
            }
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
                End::Doubtful => attempt = 0,
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
        match request.tail {
            Tail::Last(0) => self.open_at_end(id, extent).await,
            Tail::Last(records) if self.options.whole_groups => {
                self.open_whole(id, records, extent).await
            }
            _ => self.read_window(id, request, extent).await.map(drop),
        }
    }

    /// Nothing of the past is wanted: the last line is only where reading begins.
    async fn open_at_end(&mut self, id: &ContainerId, extent: Extent) -> Result<(), EngineError> {
        let window = self.window(id, Tail::Last(1), None, extent).await?;
        for (at, channel, _) in window.lines.iter() {
            self.place.cursor.advance(at, channel);
        }
        self.announce(id, window.reached_start).await;
        Ok(())
    }

    /// Reads a window to its end before anything of it is told: only then is it known whether it
    /// begins with the log.
    async fn open_whole(
        &mut self,
        id: &ContainerId,
        records: u32,
        extent: Extent,
    ) -> Result<(), EngineError> {
        let since = self.options.since;
        let mut tail = Tail::Last(records);
        let (lines, reached_start) = loop {
            let window = self.window(id, tail, since, extent).await?;
            let border = match window.reached_start {
                true => None,
                false => whole_after(window.lines.iter().map(|(at, channel, _)| (at, channel))),
            };
            let mut lines = LineBatch::default();
            lines.extend(window.lines.iter().filter(|(at, ..)| {
                border.is_none_or(|border| *at > border)
                    && since.is_none_or(|since| *at >= since)
                    && extent.includes(*at)
            }));
            // A single line may be longer than the window, or all that has its timestamp.
            if !lines.is_empty() || window.reached_start {
                break (lines, window.reached_start && since.is_none());
            }
            tail = match tail {
                Tail::Last(records) if records < WHOLE_CAP => Tail::Last(records.saturating_mul(4)),
                _ => Tail::All,
            };
        };
        let Ok(mut permits) = self.told.reserve_many(2).await else {
            return Ok(());
        };
        if let Some(permit) = permits.next() {
            self.place.announced = true;
            permit.send(self.opened(id, reached_start));
        }
        if let Some(permit) = permits.next()
            && !lines.is_empty()
        {
            for (at, channel, _) in lines.iter() {
                self.place.cursor.advance(at, channel);
                if let Some(history) = &mut self.place.history {
                    history.push(at, channel);
                }
            }
            let source = self.source.clone();
            permit.send(FollowEvent::Lines {
                source,
                batch: lines,
            });
        }
        Ok(())
    }

    /// A window to its present end, whatever of it is new.
    async fn window(
        &self,
        id: &ContainerId,
        tail: Tail,
        since: Option<Timestamp>,
        extent: Extent,
    ) -> Result<Window, EngineError> {
        let request = LogRequest {
            tail,
            since,
            follow: false,
        };
        let mut batches = self.engine.logs(id, request);
        let mut assembly = Assembly::default();
        let mut lines = LineBatch::default();
        let mut records = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            records += batch.len();
            for (at, channel, bytes) in batch.iter() {
                assembly.push(at, channel, bytes, |at, channel, bytes| {
                    lines.push(at, channel, bytes);
                });
            }
        }
        if extent.ends() {
            lines.extend(assembly.finish().iter());
        }
        let reached_start = match tail {
            Tail::All => true,
            Tail::Last(wanted) => records < wanted as usize,
        };
        Ok(Window {
            lines,
            reached_start,
        })
    }

    fn opened(&self, id: &ContainerId, reached_start: bool) -> FollowEvent {
        FollowEvent::Opened {
            source: self.source.clone(),
            container: id.clone(),
            reached_start,
        }
    }

    async fn announce(&mut self, id: &ContainerId, reached_start: bool) {
        if self.place.announced {
            return;
        }
        let opened = self.opened(id, reached_start);
        let _ = self.told.send(opened).await;
        self.place.announced = true;
    }

    async fn read_window(
        &mut self,
        id: &ContainerId,
        request: LogRequest,
        extent: Extent,
    ) -> Result<End, EngineError> {
        let mut resume = Resume::new(&self.place.cursor, &request);
        let mut assembly = Assembly::default();
        let mut batches = self.engine.logs(id, request);
        let mut view = self.view.clone();
        let started = self.place.run.and_then(|run| run.started);
        let mut silence = Silence::new(self.place.cursor.newest().max(self.options.since));
        let from_start = request.tail == Tail::All && self.options.since.is_none();
        // Of a run that is over: when it ended. The event comes by another way than the log and
        // overtakes it. What is unread goes on being read here and not by another request, since
        // a container that removes itself takes its log along.
        let mut end = None;
        // What is new of this stream, in bytes of the engine's files.
        let mut came = 0;
        let mut leapt = false;
        loop {
            let next = if end.is_some() {
                match timeout(LAST_SILENCE, batches.next()).await {
                    Ok(batch) => Some(batch),
                    Err(_) => {
                        self.place.rest = assembly.finish();
                        return Ok(End::Reached);
                    }
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
                            self.place.rest = assembly.finish();
                            return Ok(End::Reached);
                        }
                        continue;
                    }
                    batch = batches.next() => Some(batch),
                    () = sleep_until(silence.until), if request.follow => None,
                }
            };
            let Some(batch) = next else {
                self.compare(id, &mut silence).await?;
                continue;
            };
            let extent = end.map_or(extent, Extent::Until);
            let Some(batch) = batch else { break };
            let batch = batch?;
            silence.broken(&batch);
            self.announce(id, from_start).await;
            self.resumed(Trouble::Log).await;
            let mut sieve = self.sieve(extent, batch.len(), batch.bytes());
            let rotates = self.place.history.is_some();
            sieve.doubts = rotates && request.follow && came >= FILE;
            // Another request may find it gone, and then all that is unread.
            sieve.goes_on = end.is_some() && self.place.passing;
            for (at, channel, bytes) in batch.iter() {
                assembly.push(at, channel, bytes, |at, channel, bytes| {
                    sieve.take(&mut resume, self.place.history.as_ref(), at, channel, bytes);
                });
                if sieve.end.is_some() {
                    break;
                }
            }
            let new = sieve.batch.bytes() + AROUND * sieve.batch.len();
            came += new;
            self.place.came += new;
            // A stream that brings nothing has not begun: the engine may end one a moment before the
            // container's state says so.
            self.place.complete &= new == 0;
            leapt |= sieve.leapt;
            if let Some(end) = self.send(sieve).await {
                return Ok(end);
            }
        }
        self.announce(id, from_start).await;
        let left = assembly.finish();
        if extent.ends() {
            let mut sieve = self.sieve(extent, left.len(), left.bytes());
            for (at, channel, bytes) in left.iter() {
                sieve.take(&mut resume, self.place.history.as_ref(), at, channel, bytes);
            }
            if let Some(end) = self.send(sieve).await {
                return Ok(end);
            }
        } else {
            self.place.rest = left;
        }
        if request.follow {
            // A log in several files ends for its reader where the next one has been removed. Whether
            // this is the end is known when the log itself has been asked.
            let is_doubtful =
                self.place.history.is_some() && self.place.came >= self.place.file / 2;
            self.place.complete = !leapt && !is_doubtful;
        }
        Ok(End::Reached)
    }

    /// Sends the last line of a log that is gone.
    async fn send_rest(&mut self) {
        let rest = &self.place.rest;
        let mut sieve = self.sieve(Extent::Finish, rest.len(), rest.bytes());
        for (at, channel, bytes) in rest.iter() {
            let is_new = self.place.cursor.reached(channel) < Some(at);
            if is_new && self.options.since <= Some(at) {
                sieve.cursor.advance(at, channel);
                sieve.batch.push(at, channel, bytes);
            }
        }
        self.send(sieve).await;
    }

    /// Looks whether the log has something that a silent stream kept from us, first without and
    /// then with consequences: what was written just now may be on its way.
    async fn compare(&self, id: &ContainerId, silence: &mut Silence) -> Result<(), EngineError> {
        if silence.missing {
            return Err(EngineError::new(
                ErrorKind::Protocol,
                "the engine no longer sent what the container wrote",
            ));
        }
        let request = LogRequest {
            tail: Tail::Last(1),
            since: None,
            follow: false,
        };
        let newest = self.engine.logs(id, request).try_collect::<Vec<_>>();
        match newest.await {
            Ok(newest) => silence.compared(latest(&newest)),
            Err(error) if error.is_outage() => return Err(error),
            // It cannot be told. If it went, the stream ends or the view says so.
            Err(_) => silence.compared(None),
        }
        Ok(())
    }

    fn sieve(&self, extent: Extent, lines: usize, bytes: usize) -> Sieve {
        Sieve {
            since: self.options.since,
            extent,
            cursor: self.place.cursor.clone(),
            batch: LineBatch::with_capacity(lines, bytes),
            gap: None,
            doubts: false,
            goes_on: false,
            leapt: false,
            end: None,
        }
    }

    /// Sends what a sieve let through; tells if that is the end of reading.
    async fn send(&mut self, sieve: Sieve) -> Option<End> {
        let events = usize::from(sieve.gap.is_some()) + usize::from(!sieve.batch.is_empty());
        if events == 0 {
            return sieve.end;
        }
        // Together, so that a line is never counted as read without its gap, or the other way.
        let Ok(mut permits) = self.told.reserve_many(events).await else {
            return Some(End::Reached);
        };
        if let Some((from, to)) = sieve.gap
            && let Some(permit) = permits.next()
        {
            permit.send(FollowEvent::Mark {
                source: self.source.clone(),
                at: from,
                mark: Mark::Gap { from, to },
            });
        }
        if let Some(permit) = permits.next() {
            self.place.cursor = sieve.cursor;
            if let Some(history) = &mut self.place.history {
                for (at, channel, _) in sieve.batch.iter() {
                    history.push(at, channel);
                }
            }
            permit.send(FollowEvent::Lines {
                source: self.source.clone(),
                batch: sieve.batch,
            });
        }
        sieve.end
    }
}

/// Lets the new lines of a window through.
struct Sieve {
    since: Option<Timestamp>,
    extent: Extent,
    /// Where reading stands behind what was let through.
    cursor: Cursor,
    batch: LineBatch,
    gap: Option<(Timestamp, Timestamp)>,
    /// Whether a leap in time may hide that something was left out.
    doubts: bool,
    /// Whether a leap is only noted: there may be no second look.
    goes_on: bool,
    leapt: bool,
    end: Option<End>,
}

impl Sieve {
    fn take(
        &mut self,
        resume: &mut Resume,
        history: Option<&History>,
        at: Timestamp,
        channel: Channel,
        bytes: &[u8],
    ) {
        if self.end.is_some() {
            return;
        }
        let mut verdict = resume.judge(at, channel);
        if verdict == Verdict::New
            && history.is_some_and(|history| self.was_read(history, at, channel))
        {
            *resume = Resume::repeated(&self.cursor);
            verdict = resume.judge(at, channel);
        }
        let gap = match verdict {
            Verdict::Known => return,
            Verdict::TooShort => {
                self.end = Some(End::TooShort);
                return;
            }
            Verdict::New => None,
            Verdict::NewBehindGap { last } => Some((last, at)),
        };
        if self.since.is_some_and(|since| at < since) {
            return;
        }
        if !self.extent.includes(at) {
            self.end = Some(End::Reached);
            return;
        }
        let leapt = |last: Timestamp| at.duration_since(last) > LEAP;
        if self.doubts && self.cursor.newest().is_some_and(leapt) {
            if !self.goes_on {
                self.end = Some(End::Doubtful);
                return;
            }
            self.leapt = true;
        }
        self.gap = self.gap.or(gap);
        self.cursor.advance(at, channel);
        self.batch.push(at, channel, bytes);
    }
}

impl Sieve {
    /// Whether a line that is older than the last one came before.
    fn was_read(&self, history: &History, at: Timestamp, channel: Channel) -> bool {
        self.cursor.reached(channel).is_some_and(|last| at < last)
            && (history.contains(at, channel)
                || self
                    .batch
                    .iter()
                    .any(|(other, of, _)| other == at && of == channel))
    }
}

/// How long a followed log has said nothing.
struct Silence {
    /// When to compare it with the log itself.
    until: Instant,
    wait: Duration,
    /// The latest timestamp that came.
    heard: Option<Timestamp>,
    /// The log has a later one.
    missing: bool,
}

impl Silence {
    fn new(heard: Option<Timestamp>) -> Self {
        Self {
            until: Instant::now() + SILENCE,
            wait: SILENCE,
            heard,
            missing: false,
        }
    }

    fn broken(&mut self, batch: &PartBatch) {
        let heard = self.heard.max(latest([batch]));
        *self = Self::new(heard);
    }

    /// `newest` is the log's last timestamp.
    fn compared(&mut self, newest: Option<Timestamp>) {
        self.missing = newest > self.heard;
        if self.missing {
            self.until = Instant::now() + DELIVERY;
        } else {
            self.wait = self.wait.saturating_mul(2).min(SILENCE_CAP);
            self.until = Instant::now() + self.wait;
        }
    }
}

/// Lines that were read at once.
struct Window {
    lines: LineBatch,
    reached_start: bool,
}

impl Extent {
    /// Whether a line of that time is still to be read.
    fn includes(self, at: Timestamp) -> bool {
        match self {
            Self::Until(last) => at <= last,
            Self::Follow | Self::Finish | Self::Open => true,
        }
    }

    /// Whether what has no newline at the present end is a line.
    fn ends(self) -> bool {
        matches!(self, Self::Finish | Self::Until(_))
    }
}

fn latest<'a>(batches: impl IntoIterator<Item = &'a PartBatch>) -> Option<Timestamp> {
    let parts = batches.into_iter().flat_map(PartBatch::iter);
    parts.map(|(at, ..)| at).max()
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

fn removes_itself(inspect: &Inspect) -> bool {
    let flag = inspect.raw.pointer("/HostConfig/AutoRemove");
    flag.and_then(serde_json::Value::as_bool) == Some(true)
}

/// How large a file of a container's log gets before the engine begins the next one.
fn file_size(inspect: &Inspect) -> Option<usize> {
    let config = inspect.raw.pointer("/HostConfig/LogConfig/Config/max-size");
    let text = config?.as_str()?.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (number, unit) = match text.strip_suffix(['k', 'm', 'g']) {
        Some(number) => (number, text.get(number.len()..)?),
        None => (text, ""),
    };
    let unit: f64 = match unit {
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "" => 1.0,
        _ => return None,
    };
    let size = number.trim().parse::<f64>().ok()? * unit;
    (size >= 1.0).then_some(size as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::container::Container;

    #[test]
    fn the_size_of_a_file_is_what_the_engine_was_told() {
        let size = |text: &str| {
            let inspect = Inspect::of(
                Container::bare("c"),
                serde_json::json!({
                    "HostConfig": { "LogConfig": { "Config": { "max-size": text } } }
                }),
            );
            file_size(&inspect)
        };
        assert_eq!(size("10m"), Some(10 << 20));
        assert_eq!(size("1.5 MB"), Some(3 << 19));
        assert_eq!((size("100k"), size("4096")), (Some(102_400), Some(4096)));
        assert_eq!((size("-1"), size("many")), (None, None));
        assert_eq!(size("1g"), Some(1 << 30));
    }
}
