//! Writes down what the engine tells, on a thread of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::sink::Notes;
use crate::domain::event::EngineEvent;
use crate::domain::id::ContainerId;
use crate::domain::line::LineBatch;
use crate::record::{ContainerChange, EngineLog, LogFile, LogState, Seen};

/// One thing to be written.
pub(super) enum Entry {
    Event(EngineEvent),
    Container(ContainerChange),
    Lines {
        id: ContainerId,
        /// The container's name by now.
        name: String,
        batch: LineBatch,
    },
    /// Why a log is not whole.
    Trouble {
        id: ContainerId,
        /// The container's name by now, as far as it is known.
        name: String,
        why: String,
    },
    /// From here on nobody knows what happens.
    Lost {
        at: Timestamp,
        cause: String,
    },
    Back {
        at: Timestamp,
    },
}

/// Where there are more reasons why a log is not whole, the first ones tell enough.
const REASONS: usize = 400;

/// Logs whose files are open at the same time: a run may see any number of containers.
const OPEN: usize = 64;

pub(super) struct Writer {
    pub(super) directory: PathBuf,
    /// Bytes of each log.
    pub(super) cap: u64,
    /// Labels that keep their values.
    pub(super) plain: Arc<BTreeSet<String>>,
    pub(super) notes: Notes,
}

struct Log {
    name: String,
    file: LogFile,
    trouble: Option<String>,
    /// The latest time in it.
    newest: Option<Timestamp>,
    is_named: bool,
    /// What was written down of it as cut.
    cut: u64,
}

impl Writer {
    /// Takes everything until the last sender has gone. A disk that is full is said once, and what
    /// comes then is dropped: the engine is not held up by it.
    pub(super) fn run(self, mut queue: mpsc::Receiver<Entry>) {
        if let Err(error) = self.write(&mut queue) {
            self.notes.tell(format!(
                "what happens on the engine is not recorded from here on: {error}"
            ));
            while queue.blocking_recv().is_some() {}
        }
    }

    fn write(&self, queue: &mut mpsc::Receiver<Entry>) -> io::Result<()> {
        let mut engine = EngineLog::create(&self.directory, Timestamp::now())?;
        let mut logs: BTreeMap<ContainerId, Log> = BTreeMap::new();
        let mut open = Open::default();
        while let Some(entry) = queue.blocking_recv() {
            match entry {
                Entry::Event(event) => engine.event(&event, &|key| self.plain.contains(key))?,
                Entry::Container(change) => engine.container(change)?,
                Entry::Lines { id, name, batch } => {
                    if let Some(longest) = open.take(&id)
                        && let Some(log) = logs.get_mut(&longest)
                    {
                        log.file.close();
                    }
                    let log = logs
                        .entry(id.clone())
                        .or_insert_with(|| self.log(&engine, &id, name));
                    log.newest = log.newest.max(batch.iter().map(|(at, ..)| at).max());
                    log.file.append(&batch)?;
                    if !log.is_named && log.file.name().is_some() {
                        log.is_named = true;
                        engine.container(log.state(&id))?;
                    }
                    let cut = log.file.cut();
                    let before = std::mem::replace(&mut log.cut, cut);
                    if cut != before {
                        engine.container(log.state(&id))?;
                    }
                    if before == 0 && cut > 0 {
                        self.notes.tell(format!(
                            "of the log of {} the beginning and the end are kept, {} MiB in all: \
                             [logs] record_mib",
                            log.name,
                            self.cap >> 20
                        ));
                    }
                }
                Entry::Trouble { id, name, why } => {
                    let log = logs
                        .entry(id.clone())
                        .or_insert_with(|| self.log(&engine, &id, name));
                    if log.is_torn_by(&why) {
                        engine.container(log.state(&id))?;
                    }
                }
                Entry::Lost { at, cause } => engine.lost(at, &cause)?,
                Entry::Back { at } => engine.back(at)?,
            }
        }
        Ok(())
    }

    fn log(&self, engine: &EngineLog, id: &ContainerId, name: String) -> Log {
        Log {
            file: engine.log(&name, id, self.cap),
            name,
            trouble: None,
            newest: None,
            is_named: false,
            cut: 0,
        }
    }
}

/// The logs whose files are open, the one that was written last at the end.
#[derive(Default)]
struct Open(VecDeque<ContainerId>);

impl Open {
    /// Takes in a log that is about to be written; tells which one is to be closed for it.
    fn take(&mut self, id: &ContainerId) -> Option<ContainerId> {
        if let Some(place) = self.0.iter().rposition(|open| open == id) {
            self.0.remove(place);
        }
        self.0.push_back(id.clone());
        if self.0.len() > OPEN {
            self.0.pop_front()
        } else {
            None
        }
    }
}

impl Log {
    /// Whether that is news.
    fn is_torn_by(&mut self, why: &str) -> bool {
        match &mut self.trouble {
            None => self.trouble = Some(why.to_owned()),
            Some(known) if known.len() > REASONS || known.contains(why) => return false,
            Some(known) => {
                known.push_str("; ");
                known.push_str(why);
            }
        }
        true
    }

    fn state(&self, id: &ContainerId) -> ContainerChange {
        ContainerChange {
            at: self.newest.unwrap_or_else(Timestamp::now),
            id: id.clone(),
            what: Seen::Log(LogState {
                file: self.file.name().map(str::to_owned),
                cut: self.file.cut(),
                trouble: self.trouble.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::Channel;
    use crate::harness::sink;

    fn line(id: &str, second: i64) -> Entry {
        let mut batch = LineBatch::default();
        let at = Timestamp::from_second(second).unwrap();
        batch.push(at, Channel::Out, b"something to be said");
        Entry::Lines {
            id: ContainerId::new(id),
            name: id.to_owned(),
            batch,
        }
    }

    #[test]
    fn the_log_that_was_not_written_for_the_longest_time_is_closed() {
        let mut open = Open::default();
        let id = |number: usize| ContainerId::new(number.to_string());
        let closed: Vec<_> = (0..OPEN)
            .filter_map(|number| open.take(&id(number)))
            .collect();
        assert_eq!(closed, []);
        assert_eq!(open.take(&id(0)), None);
        assert_eq!(open.take(&id(OPEN)), Some(id(1)));
        assert_eq!(open.take(&id(1)), Some(id(2)));
        assert_eq!(open.0.len(), OPEN);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn no_more_than_some_files_are_open_at_the_same_time() {
        let place = tempfile::tempdir().unwrap();
        let logs = place.path().canonicalize().unwrap().join("engine/logs");
        let (sink, _events) = sink::channel();
        let writer = Writer {
            directory: place.path().to_owned(),
            cap: 1 << 20,
            plain: Arc::default(),
            notes: sink.notes(),
        };
        let (entries, queue) = mpsc::channel(1);
        let writing = std::thread::spawn(move || writer.run(queue));
        for number in 0..OPEN + 10 {
            let entry = line(&number.to_string(), 0);
            assert!(entries.blocking_send(entry).is_ok());
        }
        // There is room for the second one when all before the first is written.
        for at in [Timestamp::MIN; 2] {
            assert!(entries.blocking_send(Entry::Back { at }).is_ok());
        }
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let open = open.filter_map(|file| std::fs::read_link(file.path()).ok());
        assert_eq!(open.filter(|file| file.starts_with(&logs)).count(), OPEN);
        assert_eq!(std::fs::read_dir(&logs).unwrap().count(), OPEN + 10);
        drop(entries);
        writing.join().unwrap();
    }

    #[test]
    fn what_is_cut_is_written_down_whenever_more_is() {
        let place = tempfile::tempdir().unwrap();
        let (sink, _events) = sink::channel();
        let writer = Writer {
            directory: place.path().to_owned(),
            cap: 300,
            plain: Arc::default(),
            notes: sink.notes(),
        };
        let (entries, queue) = mpsc::channel(100);
        for second in 0..30 {
            assert!(entries.try_send(line("loud", second)).is_ok());
        }
        drop(entries);
        writer.run(queue);
        let written = std::fs::read_to_string(place.path().join("engine/containers.jsonl"));
        let cuts: Vec<u64> = written
            .unwrap()
            .lines()
            .filter_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line.get("cut")?.as_u64()
            })
            .filter(|cut| *cut > 0)
            .collect();
        assert!(cuts.len() > 3, "{cuts:?}");
        assert!(cuts.is_sorted_by(|one, next| one < next), "{cuts:?}");
    }
}
