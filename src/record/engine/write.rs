//! Writing the engine's part of a recording. All of it blocks: it is for a thread of its own.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::cri::Printer;
use super::shape::{Change, Event, Header, Turn};
use super::{BACK, CONTAINERS, ContainerChange, DIRECTORY, EVENTS, LOGS, LOST, VERSION};
use crate::domain::event::EngineEvent;
use crate::domain::id::ContainerId;
use crate::domain::line::LineBatch;
use crate::domain::replay::path_component;
use crate::record::files::Whole;

/// The longest part of a container's name in a file's name. File systems allow 255 bytes.
const LONGEST_NAME: usize = 160;

/// The name of a container's log in `engine/logs`.
pub(super) fn log_name(name: &str, id: &ContainerId) -> String {
    let mut name = path_component(name);
    name.truncate(LONGEST_NAME);
    format!("{name}-{}.log", path_component(id.short()))
}

/// Writes what the engine tells, each line when it comes.
#[derive(Debug)]
pub struct EngineLog {
    logs: PathBuf,
    events: Whole,
    containers: Whole,
}

impl EngineLog {
    /// Makes the files, or goes on with those that are there.
    ///
    /// # Errors
    ///
    /// Fails where they cannot be written.
    pub fn create(run: &Path, at: Timestamp) -> io::Result<Self> {
        let directory = run.join(DIRECTORY);
        let logs = directory.join(LOGS);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&logs)?;
        let open = |name: &str| -> io::Result<Whole> {
            let mut file = Whole::open(&directory.join(name), |_| Ok(()))?;
            if file.length == 0 {
                file.json(&Header {
                    v: u64::from(VERSION),
                    event: "recording".to_owned(),
                    at,
                    tackroom: env!("CARGO_PKG_VERSION").to_owned(),
                })?;
            }
            Ok(file)
        };
        Ok(Self {
            events: open(EVENTS)?,
            containers: open(CONTAINERS)?,
            logs,
        })
    }

    /// Labels that `is_plain` knows keep their values, whatever they look like.
    ///
    /// # Errors
    ///
    /// Fails where the disk is full, for instance; the file then ends with its last whole line.
    pub fn event(
        &mut self,
        event: &EngineEvent,
        is_plain: &dyn Fn(&str) -> bool,
    ) -> io::Result<()> {
        self.events.json(&Event::of(event, is_plain))
    }

    /// The engine cannot be reached: what happens from here on is not recorded.
    ///
    /// # Errors
    ///
    /// As [`Self::event`].
    pub fn lost(&mut self, at: Timestamp, cause: &str) -> io::Result<()> {
        let cause = Some(cause.to_owned());
        self.events.json(&Turn {
            at,
            engine: LOST.to_owned(),
            cause,
        })
    }

    /// The engine can be reached again.
    ///
    /// # Errors
    ///
    /// As [`Self::event`].
    pub fn back(&mut self, at: Timestamp) -> io::Result<()> {
        self.events.json(&Turn {
            at,
            engine: BACK.to_owned(),
            cause: None,
        })
    }

    /// An inspect in it must have been [`super::masked`].
    ///
    /// # Errors
    ///
    /// As [`Self::event`].
    pub fn container(&mut self, change: ContainerChange) -> io::Result<()> {
        self.containers.json(&Change::of(change))
    }

    /// The log of a container, which is made with its first line. Of more than `cap` bytes the
    /// beginning and the end are kept.
    pub fn log(&self, name: &str, id: &ContainerId, cap: u64) -> LogFile {
        let name = log_name(name, id);
        let is_there = |number: &u8| self.logs.join(segment(&name, *number)).exists();
        LogFile {
            directory: self.logs.clone(),
            number: [2, 1].into_iter().find(is_there).unwrap_or(0),
            name,
            segment: cap / SEGMENTS,
            file: None,
            is_made: false,
            cut: 0,
            printer: Printer::default(),
            buffer: Vec::new(),
        }
    }
}

/// Files of a log that together have the size that it may have: one for its beginning, which stays,
/// and two for its end, of which the older one makes room.
const SEGMENTS: u64 = 3;

/// The name of a part of a log; 0 is its beginning.
pub(super) fn segment(name: &str, number: u8) -> String {
    match number {
        0 => name.to_owned(),
        number => format!("{name}.{number}"),
    }
}

/// The log of one container.
#[derive(Debug)]
pub struct LogFile {
    directory: PathBuf,
    name: String,
    /// Bytes of one of its files.
    segment: u64,
    /// Which of them is written.
    number: u8,
    file: Option<Whole>,
    is_made: bool,
    cut: u64,
    printer: Printer,
    buffer: Vec<u8>,
}

impl LogFile {
    /// Appends lines. Where there is no room, older ones have to go, but for the first.
    ///
    /// # Errors
    ///
    /// Fails where it cannot be written; what is not written is counted as cut.
    pub fn append(&mut self, batch: &LineBatch) -> io::Result<()> {
        let written = self.write(batch);
        self.cut += self.buffer.len() as u64;
        self.buffer.clear();
        written
    }

    /// What is not written by the end is left in the buffer.
    fn write(&mut self, batch: &LineBatch) -> io::Result<()> {
        for (at, channel, text) in batch.iter() {
            let before = self.buffer.len();
            self.printer.line(&mut self.buffer, at, channel, text);
            let there = self.opened()?.length;
            // A line that is too long for any file has one for itself.
            if there + before as u64 > 0 && there + self.buffer.len() as u64 > self.segment {
                let next = self.buffer.split_off(before);
                self.flush()?;
                self.roll()?;
                self.buffer = next;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.buffer);
        let written = self.opened().and_then(|file| file.append(&lines));
        self.buffer = lines;
        if written.is_ok() {
            self.buffer.clear();
        }
        written
    }

    fn opened(&mut self) -> io::Result<&mut Whole> {
        let file = match self.file.take() {
            Some(file) => file,
            None => Whole::open(&self.path(self.number), |_| Ok(()))?,
        };
        self.is_made = true;
        Ok(self.file.insert(file))
    }

    fn path(&self, number: u8) -> PathBuf {
        self.directory.join(segment(&self.name, number))
    }

    /// Goes on with the next file. Whenever this is cut off, what is there is in its order.
    fn roll(&mut self) -> io::Result<()> {
        self.file = None;
        if self.number < 2 {
            self.number += 1;
            return Ok(());
        }
        let older = self.path(1);
        let gone = older.metadata().map_or(0, |found| found.len());
        std::fs::rename(self.path(2), older)?;
        self.cut += gone;
        Ok(())
    }

    /// Closes its file, which the next line opens again.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// Its name in `engine/logs`; `None` before the first line.
    pub fn name(&self) -> Option<&str> {
        (self.number > 0 || self.is_made).then_some(&*self.name)
    }

    /// Bytes that are not kept.
    pub fn cut(&self) -> u64 {
        self.cut
    }
}
