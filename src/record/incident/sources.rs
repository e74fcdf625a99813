//! The sources of a timeline, read lazily, each in its own order and by our clock.

use std::io;
use std::path::Path;

use jiff::Timestamp;

use crate::domain::fingerprint::ClockDifference;
use crate::domain::incident::{What, Window};
use crate::domain::line::{Channel, DISORDER};
use crate::domain::run::ReplayResult;
use crate::record::{RecordedLog, log_lines_since, output_lines};

/// Where the entries of a source come from.
#[derive(Clone, Debug)]
pub(in crate::record) enum Reader {
    /// By our clock, and whether a container died by it.
    Events(Vec<(Timestamp, String, bool)>),
    Output(ReplayResult),
    /// A container's log in a recording.
    Log(RecordedLog),
}

pub(in crate::record) type Reading<'a> = Box<dyn Iterator<Item = (Timestamp, What)> + 'a>;

impl Reader {
    /// Everything in the window. What cannot be read is said by the last entry.
    pub(in crate::record) fn lines<'a>(
        &'a self,
        directory: &Path,
        clock: &'a ClockDifference,
        window: Window,
    ) -> Reading<'a> {
        match self {
            Self::Events(events) => {
                let entry =
                    |(at, words, _): &(Timestamp, String, bool)| (*at, What::Event(words.clone()));
                Box::new(events.iter().map(entry))
            }
            Self::Output(result) => {
                let lines = output_lines(directory, result).map(|lines| {
                    lines.map(|line| line.map(|(at, bytes)| (at, Channel::Out, bytes.into())))
                });
                // All of it belongs to the attempt, whatever its clock says.
                Box::new(entries(lines, window.to))
            }
            Self::Log(file) => {
                let last = window.to.saturating_add(DISORDER).unwrap_or(window.to);
                let lines = log_lines_since(file, clock.to_engines(window.from)).map(|lines| {
                    lines
                        .map(|line| {
                            line.map(|line| (clock.to_ours(line.at), line.channel, line.bytes))
                        })
                        .take_while(move |line| !matches!(line, Ok((at, ..)) if *at > last))
                        .filter(move |line| !matches!(line, Ok((at, ..)) if !window.contains(*at)))
                });
                Box::new(entries(lines, window.to))
            }
        }
    }

    /// Whether a container died by the entry of that number.
    pub(super) fn is_death(&self, number: u64) -> bool {
        let Self::Events(events) = self else {
            return false;
        };
        let event = usize::try_from(number)
            .ok()
            .and_then(|number| events.get(number));
        event.is_some_and(|(_, _, death)| *death)
    }
}

type Line = (Timestamp, Channel, std::sync::Arc<[u8]>);

/// Lines up to where they can be read.
fn entries(
    lines: io::Result<impl Iterator<Item = io::Result<Line>>>,
    end: Timestamp,
) -> impl Iterator<Item = (Timestamp, What)> {
    let (mut lines, mut problem) = match lines {
        Ok(lines) => (Some(lines), None),
        Err(error) => (None, Some(error)),
    };
    std::iter::from_fn(move || {
        match lines.as_mut().and_then(Iterator::next) {
            Some(Ok((at, channel, bytes))) => return Some((at, What::Line { channel, bytes })),
            Some(Err(error)) => {
                lines = None;
                problem = Some(error);
            }
            None => {}
        }
        let problem = problem.take()?;
        Some((end, What::Unreadable(problem.to_string())))
    })
}
