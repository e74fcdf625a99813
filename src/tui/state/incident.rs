//! One attempt at a replay as one timeline, on a screen of its own.
//!
//! Its lines are in a store of their own, so the pane is a [`Pager`] like those of logs and
//! outputs: what these can do, it can do.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::pager::{Offsets, Pager, Stamps};
use super::{Pane, Screen};
use crate::domain::incident::{Entry, Head, Mark, Offset, What, clock_words};
use crate::domain::line::{Channel, SourceId};
use crate::domain::replay::ReplayName;
use crate::logs::store::{LineId, LogStore};
use crate::text::sanitize::sanitize_plain;
use crate::text::width::width;

/// What a timeline may take in memory. The reader shows fewer lines of a flood before it is full.
const BUDGET: usize = 128 << 20;

/// Entries that are taken before it is asked whether somebody still waits.
const STEP: usize = 4096;

#[derive(Debug)]
pub struct Incident {
    pub replay: Option<ReplayName>,
    /// Tells the answers to several questions apart.
    pub ticket: u64,
    pub stage: Stage,
    pub store: LogStore,
    pub pane: Pager,
    /// As those of the head, in the same order; what is switched off is not shown.
    pub shown: Vec<bool>,
    /// Where it was opened from.
    pub from: (Screen, Pane),
}

#[derive(Clone, Debug)]
pub enum Stage {
    Closed,
    Reading,
    Failed(String),
    Open(Arc<Head>),
}

/// A timeline as it was read, ready to be shown.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub head: Arc<Head>,
    pub store: LogStore,
    pub marks: BTreeMap<LineId, Mark>,
}

impl Loaded {
    /// Takes all entries of a timeline. This takes as long as it takes: it is not for the task that
    /// draws. `None` where it is not wanted any more, which is asked from time to time.
    pub fn new(
        head: Head,
        entries: impl Iterator<Item = Entry>,
        is_wanted: &dyn Fn() -> bool,
    ) -> Option<Self> {
        let mut store = LogStore::new(BUDGET);
        let mut marks = BTreeMap::new();
        let ids: Vec<SourceId> = (0..head.sources.len()).map(source_id).collect();
        // In the order of the head, which is that of entries of the same time.
        for id in &ids {
            store.opened(id, true, false);
        }
        for (number, entry) in entries.enumerate() {
            if number % STEP == 0 && !is_wanted() {
                return None;
            }
            let Some(id) = ids.get(entry.source) else {
                continue;
            };
            let channel = match &entry.what {
                What::Line { channel, .. } => *channel,
                What::Event(_) | What::Left(_) | What::Unreadable(_) => Channel::Out,
            };
            let line = store.push(id, entry.at, channel, &entry.what.text());
            if let (Some(line), Some(mark)) = (line, entry.mark) {
                marks.insert(line, mark);
            }
        }
        let _ = store.take_dropped();
        Some(Self {
            head: Arc::new(head),
            store,
            marks,
        })
    }
}

/// Of the head's source of that number. Two containers may have one name.
fn source_id(number: usize) -> SourceId {
    SourceId(format!("incident/{number}").into())
}

impl Default for Incident {
    fn default() -> Self {
        Self {
            replay: None,
            ticket: 0,
            stage: Stage::Closed,
            store: LogStore::new(BUDGET),
            pane: Pager::new(Stamps::Time, false),
            shown: Vec::new(),
            from: (Screen::Cockpit, Pane::Replays),
        }
    }
}

impl Incident {
    /// Waits for another timeline. How lines are shown stays as it was.
    pub fn begin(&mut self, replay: ReplayName, ticket: u64, from: (Screen, Pane)) {
        let pane = Pager::new(self.pane.stamps, self.pane.wrap);
        *self = Self {
            replay: Some(replay),
            ticket,
            stage: Stage::Reading,
            from,
            pane,
            ..Self::default()
        };
    }

    /// Lets go of what was read. How lines are shown stays as it was.
    pub fn close(&mut self) {
        *self = Self {
            pane: Pager::new(self.pane.stamps, self.pane.wrap),
            ticket: self.ticket,
            from: self.from,
            ..Self::default()
        };
    }

    pub fn head(&self) -> Option<&Head> {
        match &self.stage {
            Stage::Open(head) => Some(head),
            Stage::Closed | Stage::Reading | Stage::Failed(_) => None,
        }
    }

    /// Takes what was read. A timeline that is there already keeps nothing of it.
    pub fn open(&mut self, loaded: Loaded) {
        let Loaded { head, store, marks } = loaded;
        self.store = store;
        self.pane.marks = marks;
        self.pane.offsets = Some(offsets(&head));
        self.shown = vec![true; head.sources.len()];
        self.stage = Stage::Open(head);
        self.show();
    }

    /// Brings the pane in line with what is switched on; says whether that has changed.
    pub fn show(&mut self) -> bool {
        let Stage::Open(head) = &self.stage else {
            return false;
        };
        let named = head.sources.iter().enumerate();
        let named = named.filter(|(number, _)| self.shown.get(*number) == Some(&true));
        let named = named.map(|(number, source)| {
            let name = sanitize_plain(&source.name).into_owned();
            (source_id(number), name)
        });
        let named: Vec<(SourceId, String)> = named.collect();
        self.pane.show(named)
    }

    /// The lines above the timeline: what has changed, and what is not known.
    pub fn notes(&self, zone: &TimeZone) -> Vec<Note> {
        let Some(head) = self.head() else {
            return Vec::new();
        };
        let mut notes = vec![Note::Headline(head.since.headline(zone))];
        let safe = |text: &str| sanitize_plain(text).into_owned();
        notes.extend(head.since.changes().iter().map(|change| {
            let (subject, whole) = (change.subject.to_string(), change.to_string());
            let detail = whole.strip_prefix(&subject).unwrap_or(&whole);
            let detail = detail.trim_start_matches([':', ' ']);
            Note::Changed {
                subject: safe(&subject),
                detail: safe(detail),
            }
        }));
        notes.extend(
            head.clock
                .iter()
                .map(|clock| Note::Plain(clock_words(clock))),
        );
        notes.extend(head.missing.iter().map(|text| Note::Plain(safe(text))));
        notes
    }

    /// Rows that the notes take of so many: they leave the most to the timeline.
    pub fn note_rows(&self, zone: &TimeZone, height: u16) -> u16 {
        let wanted = u16::try_from(self.notes(zone).len()).unwrap_or(u16::MAX);
        wanted
            .min((height / 4).max(1))
            .min(height.saturating_sub(3))
    }
}

/// One row above a timeline, safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    Headline(String),
    Changed { subject: String, detail: String },
    Plain(String),
}

fn offsets(head: &Head) -> Offsets {
    let zero = head.attempt.started;
    let columns = |at: Timestamp| width(&Offset::between(zero, at).to_string());
    Offsets {
        zero,
        columns: columns(head.window.from).max(columns(head.window.to)) + 1,
    }
}
