//! What a run ran against, so that two runs can be compared: "what changed since it last passed".
//!
//! Values that may be secret are hashes with a salt of the store: equal values compare equal
//! between the runs of one checkout, and nobody finds a value by hashing guesses. The types are
//! written down as they stand: fields may be added, and none may change its meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::container::short_id;

/// A salted hash: hexadecimal digits that mean nothing by themselves.
pub type Hash = String;

/// Everything is optional: an old recording or a run without an engine knows less.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fingerprint {
    /// When it was taken, by our clock.
    pub at: Option<Timestamp>,
    /// Names the salt. Hashes with different salts cannot be compared.
    pub salt: String,
    pub engine: Option<EnginePrint>,
    pub clock: Option<ClockDifference>,
    /// By `stack/service`, or `stack/name` where a service has several.
    pub containers: BTreeMap<String, ContainerPrint>,
    /// The configuration, compose files and hooks, by their path relative to the configuration.
    pub files: BTreeMap<String, Hash>,
    /// The script of each selected replay, by name.
    pub replays: BTreeMap<String, Hash>,
    /// Of the directory of the configuration.
    pub head: Option<GitHead>,
    pub machine: Machine,
    pub unknown: Unknown,
}

/// What could not be asked, or did not answer in time. It may be there or not, so it is neither new
/// nor gone in comparison with another run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unknown {
    pub containers: Unasked,
    pub files: Unasked,
    pub replays: Unasked,
}

/// The unknown among things of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unasked {
    /// Not even which there are is known.
    pub all: bool,
    pub names: BTreeSet<String>,
}

impl Unasked {
    pub fn all() -> Self {
        Self {
            all: true,
            names: BTreeSet::new(),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }

    /// Nothing is unknown.
    pub fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }
}

impl Unknown {
    /// Compose's files are named by its containers alone.
    fn has_file(&self, name: &str) -> bool {
        self.files.has(name) || !self.containers.is_empty()
    }

    /// All of it in a few words, names as they are; nothing where everything is known.
    pub fn words(&self) -> Vec<String> {
        let kinds = [
            ("the containers", "", &self.containers),
            ("the files", "", &self.files),
            ("the replays", "replay ", &self.replays),
        ];
        let words = kinds.into_iter().flat_map(|(all, one, unasked)| {
            let names = unasked.names.iter().map(move |name| format!("{one}{name}"));
            unasked.all.then(|| all.to_owned()).into_iter().chain(names)
        });
        words.collect()
    }
}

/// The engine and the machine that it runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnginePrint {
    /// `docker` or `podman`.
    pub product: String,
    pub version: String,
    pub api: String,
    /// Its own name, usually that of its host.
    pub name: String,
    pub os: String,
    pub arch: String,
}

/// Where the engine's clock stands, measured as NTP does it: against the middle of a request, with
/// half of the request's time as the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockDifference {
    /// The engine's clock minus ours.
    pub engine_ahead: SignedDuration,
    #[serde(with = "jiff::fmt::serde::unsigned_duration::required")]
    pub within: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerPrint {
    /// As it was named when the container was made.
    pub image: String,
    pub image_id: String,
    /// `org.opencontainers.image.revision`.
    pub revision: Option<String>,
    pub env: BTreeMap<String, Hash>,
    /// Entry point and command.
    pub command: Hash,
    /// Without those of compose, of image builders, and those that name one run.
    pub labels: BTreeMap<String, Hash>,
    /// Such as `bind /srv/x:/x`.
    pub mounts: BTreeSet<String>,
    /// Such as `8080/tcp` or `80:8080/tcp`.
    pub ports: BTreeSet<String>,
    /// Such as `memory` to bytes; none that is not set.
    pub limits: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GitHead {
    pub commit: String,
    /// `None`: detached.
    pub branch: Option<String>,
    /// Files that differ from the commit, untracked ones included.
    pub dirty: u64,
}

/// The machine of the runner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    pub os: String,
    pub arch: String,
    pub kernel: String,
    pub cpus: u64,
}

impl ClockDifference {
    /// What has to be taken from the engine's times. Nothing where the difference may as well be
    /// none: a correction by a measuring error would only put lines into a wrong order.
    pub fn correction(&self) -> SignedDuration {
        let within = SignedDuration::try_from(self.within).unwrap_or(SignedDuration::MAX);
        if self.engine_ahead.abs() <= within {
            SignedDuration::ZERO
        } else {
            self.engine_ahead
        }
    }

    /// A time of the engine by our clock.
    pub fn to_ours(&self, engine: Timestamp) -> Timestamp {
        engine.checked_sub(self.correction()).unwrap_or(engine)
    }

    /// A time of ours by the engine's clock.
    pub fn to_engines(&self, ours: Timestamp) -> Timestamp {
        ours.checked_add(self.correction()).unwrap_or(ours)
    }
}

/// What a change is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// By the name that the fingerprint has for it.
    Container(String),
    File(String),
    Replay(String),
    Head,
    Engine,
    Machine,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) | Self::File(name) => f.write_str(name),
            Self::Replay(name) => write!(f, "replay {name}"),
            Self::Head => f.write_str("git HEAD"),
            Self::Engine => f.write_str("engine"),
            Self::Machine => f.write_str("machine"),
        }
    }
}

/// One side of a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Absent,
    /// It is there, and what it is was not kept.
    Hashed,
    Text(String),
}

/// One thing that is another in a later run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub subject: Subject,
    /// Such as `image id` or `env LOG_LEVEL`; empty where it is the subject as a whole.
    pub what: String,
    pub before: Value,
    pub after: Value,
}

impl fmt::Display for Change {
    /// One line: `shop/tenant: image id sha256:11… → sha256:22…`. Names are those of somebody else:
    /// sanitise before showing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject)?;
        if !self.what.is_empty() {
            write!(f, ": {}", self.what)?;
        }
        match (&self.before, &self.after) {
            (Value::Text(before), Value::Text(after)) => {
                write!(f, " {} → {}", short_id(before), short_id(after))
            }
            (Value::Absent, Value::Text(after)) => write!(f, " added: {}", short_id(after)),
            (Value::Text(before), Value::Absent) => write!(f, " removed: {}", short_id(before)),
            (Value::Absent, _) => f.write_str(" added"),
            (_, Value::Absent) => f.write_str(" removed"),
            _ => f.write_str(" changed"),
        }
    }
}

/// What is another, the containers first; nothing for equal ones. The clock is no change, nor is
/// the time. Where the salts differ, hashes say nothing, and only what is new or gone is told.
pub fn changes(before: &Fingerprint, after: &Fingerprint) -> Vec<Change> {
    let mut diff = Diff {
        comparable: before.salt == after.salt,
        changes: Vec::new(),
    };
    for name in names(&before.containers, &after.containers) {
        let subject = Subject::Container(name.clone());
        match (before.containers.get(name), after.containers.get(name)) {
            (Some(before), Some(after)) => diff.container(&subject, before, after),
            (Some(_), None) if after.unknown.containers.has(name) => {}
            (Some(_), None) => diff.tell(&subject, "", Value::Hashed, Value::Absent),
            _ if before.unknown.containers.has(name) => {}
            _ => diff.tell(&subject, "", Value::Absent, Value::Hashed),
        }
    }
    diff.subjects(Subject::File, (&before.files, &after.files), |name| {
        before.unknown.has_file(name) || after.unknown.has_file(name)
    });
    diff.subjects(Subject::Replay, (&before.replays, &after.replays), |name| {
        before.unknown.replays.has(name) || after.unknown.replays.has(name)
    });
    diff.head(before.head.as_ref(), after.head.as_ref());
    diff.engine(before.engine.as_ref(), after.engine.as_ref());
    for (what, before, after) in [
        ("os", &before.machine.os, &after.machine.os),
        ("architecture", &before.machine.arch, &after.machine.arch),
        ("kernel", &before.machine.kernel, &after.machine.kernel),
        (
            "processors",
            &count(before.machine.cpus),
            &count(after.machine.cpus),
        ),
    ] {
        diff.text(&Subject::Machine, what, before, after);
    }
    diff.changes
}

/// Those of both sides.
fn names<'a, T>(
    before: &'a BTreeMap<String, T>,
    after: &'a BTreeMap<String, T>,
) -> BTreeSet<&'a String> {
    before.keys().chain(after.keys()).collect()
}

fn both<T>(before: Option<&T>, after: Option<&T>) -> bool {
    before.is_some() && after.is_some()
}

/// Nothing for none: it was not known.
fn count(number: u64) -> String {
    match number {
        0 => String::new(),
        number => number.to_string(),
    }
}

struct Diff {
    comparable: bool,
    changes: Vec<Change>,
}

impl Diff {
    fn tell(&mut self, subject: &Subject, what: &str, before: Value, after: Value) {
        self.changes.push(Change {
            subject: subject.clone(),
            what: what.to_owned(),
            before,
            after,
        });
    }

    /// What is empty on one side is not known there, which is no change.
    fn text(&mut self, subject: &Subject, what: &str, before: &str, after: &str) {
        if before != after && !before.is_empty() && !after.is_empty() {
            let value = |text: &str| Value::Text(text.to_owned());
            self.tell(subject, what, value(before), value(after));
        }
    }

    fn hash(&mut self, subject: &Subject, what: &str, before: Option<&Hash>, after: Option<&Hash>) {
        let value = |hash: Option<&Hash>| match hash {
            Some(_) => Value::Hashed,
            None => Value::Absent,
        };
        if before != after && (self.comparable || !both(before, after)) {
            self.tell(subject, what, value(before), value(after));
        }
    }

    /// What has a hash and nothing else. One side alone says nothing of what the other could not know.
    fn subjects(
        &mut self,
        subject: fn(String) -> Subject,
        (before, after): (&BTreeMap<String, Hash>, &BTreeMap<String, Hash>),
        is_unknown: impl Fn(&str) -> bool,
    ) {
        for name in names(before, after) {
            let (before, after) = (before.get(name), after.get(name));
            if both(before, after) || !is_unknown(name) {
                self.hash(&subject(name.clone()), "", before, after);
            }
        }
    }

    fn hashes(
        &mut self,
        subject: &Subject,
        what: &str,
        before: &BTreeMap<String, Hash>,
        after: &BTreeMap<String, Hash>,
    ) {
        for name in names(before, after) {
            let what = format!("{what} {name}");
            self.hash(subject, &what, before.get(name), after.get(name));
        }
    }

    fn set(
        &mut self,
        subject: &Subject,
        what: &str,
        before: &BTreeSet<String>,
        after: &BTreeSet<String>,
    ) {
        for gone in before.difference(after) {
            let gone = Value::Text(gone.clone());
            self.tell(subject, what, gone, Value::Absent);
        }
        for new in after.difference(before) {
            self.tell(subject, what, Value::Absent, Value::Text(new.clone()));
        }
    }

    fn container(&mut self, subject: &Subject, before: &ContainerPrint, after: &ContainerPrint) {
        self.text(subject, "image", &before.image, &after.image);
        self.text(subject, "image id", &before.image_id, &after.image_id);
        let revision = |print: &ContainerPrint| match &print.revision {
            Some(revision) => Value::Text(revision.clone()),
            None => Value::Absent,
        };
        if before.revision != after.revision {
            self.tell(subject, "revision", revision(before), revision(after));
        }
        self.hashes(subject, "env", &before.env, &after.env);
        let command = (Some(&before.command), Some(&after.command));
        self.hash(subject, "command", command.0, command.1);
        self.hashes(subject, "label", &before.labels, &after.labels);
        self.set(subject, "mount", &before.mounts, &after.mounts);
        self.set(subject, "port", &before.ports, &after.ports);
        for name in names(&before.limits, &after.limits) {
            let value = |print: &ContainerPrint| match print.limits.get(name) {
                Some(limit) => Value::Text(limit.clone()),
                None => Value::Absent,
            };
            let (before, after) = (value(before), value(after));
            if before != after {
                self.tell(subject, &format!("limit {name}"), before, after);
            }
        }
    }

    fn head(&mut self, before: Option<&GitHead>, after: Option<&GitHead>) {
        let (Some(before), Some(after)) = (before, after) else {
            return;
        };
        self.text(&Subject::Head, "commit", &before.commit, &after.commit);
        let branch = |head: &GitHead| head.branch.clone().unwrap_or_else(|| "none".to_owned());
        let branches = (branch(before), branch(after));
        self.text(&Subject::Head, "branch", &branches.0, &branches.1);
        let dirty = (before.dirty.to_string(), after.dirty.to_string());
        self.text(&Subject::Head, "changed files", &dirty.0, &dirty.1);
    }

    fn engine(&mut self, before: Option<&EnginePrint>, after: Option<&EnginePrint>) {
        let (Some(before), Some(after)) = (before, after) else {
            return;
        };
        for (what, before, after) in [
            ("name", &before.name, &after.name),
            ("product", &before.product, &after.product),
            ("version", &before.version, &after.version),
            ("API", &before.api, &after.api),
            ("os", &before.os, &after.os),
            ("architecture", &before.arch, &after.arch),
        ] {
            self.text(&Subject::Engine, what, before, after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print() -> Fingerprint {
        let map = |pairs: &[(&str, &str)]| {
            let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
            pairs.iter().map(owned).collect::<BTreeMap<_, _>>()
        };
        Fingerprint {
            salt: "s".to_owned(),
            containers: [(
                "shop/tenant".to_owned(),
                ContainerPrint {
                    image: "tenant:dev".to_owned(),
                    image_id: "sha256:1111111111111111".to_owned(),
                    env: map(&[("A", "1"), ("B", "2")]),
                    command: "c".to_owned(),
                    mounts: ["bind /a:/a".to_owned()].into(),
                    limits: map(&[("memory", "1")]),
                    ..ContainerPrint::default()
                },
            )]
            .into(),
            files: map(&[("tackroom.toml", "x")]),
            replays: map(&[("one", "1"), ("two", "2")]),
            head: Some(GitHead {
                commit: "abc".to_owned(),
                branch: Some("main".to_owned()),
                dirty: 0,
            }),
            ..Fingerprint::default()
        }
    }

    fn told(before: &Fingerprint, after: &Fingerprint) -> Vec<String> {
        let changes = changes(before, after);
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn equal_ones_have_no_changes_whenever_they_were_taken() {
        let mut later = print();
        later.at = Some(Timestamp::UNIX_EPOCH);
        later.clock = Some(ClockDifference {
            engine_ahead: SignedDuration::from_secs(9),
            within: Duration::ZERO,
        });
        assert_eq!(changes(&print(), &later), []);
        assert_eq!(
            changes(&Fingerprint::default(), &Fingerprint::default()),
            []
        );
    }

    #[test]
    fn what_is_another_is_told_in_order() {
        let mut after = print();
        let tenant = after.containers.get_mut("shop/tenant").unwrap();
        tenant.image_id = "sha256:2222222222222222".to_owned();
        tenant.revision = Some("def".to_owned());
        tenant.env.insert("A".to_owned(), "other".to_owned());
        tenant.env.remove("B");
        tenant.env.insert("C".to_owned(), "3".to_owned());
        tenant.command = "d".to_owned();
        tenant.mounts = ["bind /b:/a".to_owned()].into();
        tenant.limits.insert("memory".to_owned(), "2".to_owned());
        let new = ContainerPrint::default();
        after.containers.insert("shop/redis".to_owned(), new);
        after
            .files
            .insert("tackroom.toml".to_owned(), "y".to_owned());
        after.replays.remove("two");
        let head = after.head.as_mut().unwrap();
        (head.commit, head.branch, head.dirty) = ("def".to_owned(), None, 2);
        assert_eq!(
            told(&print(), &after),
            [
                "shop/redis added",
                "shop/tenant: image id sha256:111111111111 → sha256:222222222222",
                "shop/tenant: revision added: def",
                "shop/tenant: env A changed",
                "shop/tenant: env B removed",
                "shop/tenant: env C added",
                "shop/tenant: command changed",
                "shop/tenant: mount removed: bind /a:/a",
                "shop/tenant: mount added: bind /b:/a",
                "shop/tenant: limit memory 1 → 2",
                "tackroom.toml changed",
                "replay two removed",
                "git HEAD: commit abc → def",
                "git HEAD: branch main → none",
                "git HEAD: changed files 0 → 2",
            ]
        );
        assert_eq!(told(&after, &print()).len(), 15);
    }

    #[test]
    fn hashes_of_another_salt_are_not_compared() {
        let mut after = print();
        after.salt = "t".to_owned();
        let tenant = after.containers.get_mut("shop/tenant").unwrap();
        tenant.env.insert("A".to_owned(), "other".to_owned());
        tenant.env.remove("B");
        after
            .files
            .insert("tackroom.toml".to_owned(), "y".to_owned());
        assert_eq!(told(&print(), &after), ["shop/tenant: env B removed"]);
    }

    #[test]
    fn what_was_not_known_is_no_change() {
        let mut after = print();
        after.head = None;
        after.machine.kernel = "6.1".to_owned();
        after.machine.cpus = 2;
        after.engine = Some(EnginePrint::default());
        assert_eq!(changes(&print(), &after), []);
    }

    #[test]
    fn what_could_not_be_asked_is_neither_new_nor_gone() {
        let mut after = print();
        after.containers.clear();
        after.files.clear();
        after.replays.clear();
        let gone = [
            "shop/tenant removed",
            "tackroom.toml removed",
            "replay one removed",
        ];
        assert_eq!(told(&print(), &after)[..3], gone);
        let named = |name: &str| Unasked {
            names: [name.to_owned()].into(),
            ..Unasked::default()
        };
        after.unknown = Unknown {
            containers: named("shop/tenant"),
            files: Unasked::default(),
            replays: named("one"),
        };
        assert_eq!(told(&print(), &after), ["replay two removed"]);
        assert_eq!(told(&after, &print()), ["replay two added"]);
        assert_eq!(after.unknown.words(), ["shop/tenant", "replay one"]);
        after.unknown = Unknown {
            containers: Unasked::all(),
            files: Unasked::default(),
            replays: Unasked::all(),
        };
        assert_eq!(changes(&print(), &after), []);
        assert_eq!(changes(&after, &print()), []);
        assert_eq!(after.unknown.words(), ["the containers", "the replays"]);
        // What is known on both sides is still compared.
        let mut other = print();
        other.unknown = after.unknown.clone();
        other.replays.insert("one".to_owned(), "x".to_owned());
        assert_eq!(told(&print(), &other), ["replay one changed"]);
    }

    #[test]
    fn a_difference_that_may_be_none_corrects_nothing() {
        let at = Timestamp::from_second(100).unwrap();
        let mut clock = ClockDifference {
            engine_ahead: SignedDuration::from_millis(-40),
            within: Duration::from_millis(40),
        };
        assert_eq!(clock.to_ours(at), at);
        clock.engine_ahead = SignedDuration::from_secs(-40);
        assert_eq!(clock.to_ours(at), Timestamp::from_second(140).unwrap());
        assert_eq!(clock.to_engines(clock.to_ours(at)), at);
    }
}
