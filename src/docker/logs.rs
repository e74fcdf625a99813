//! A container's log: the engine's frames, each freed of the timestamp that it starts with.
//!
//! Timestamps are always asked for. They are what a resume goes by, and without them a TTY's
//! stream that happens to start with a byte up to 2 would be taken for a frame header.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use memchr::memmem;
use tokio::time::timeout;

use super::DockerEngine;
use super::endpoint::Endpoint;
use super::explain::{explain, timed_out};
use crate::domain::id::ContainerId;
use crate::domain::line::{Channel, Part};
use crate::engine::{EngineError, ErrorKind, LogRequest, Stream, Tail};

/// The stream type of a frame in which the engine reports that reading failed. bollard does not
/// know it, and hands it over with its header as if a TTY had written it.
const SYSTEM_ERROR: [u8; 4] = [3, 0, 0, 0];
const FRAME_HEADER: usize = 8;

/// A log that is not followed ends by itself, so silence in it means that the engine hangs. It
/// may be silent for this many times the limit of an answer: it goes through gigabytes to find
/// the lines since a given time.
const SEARCH: u32 = 6;

pub(super) fn read(engine: &DockerEngine, id: &ContainerId, request: LogRequest) -> Stream<Part> {
    let transport = engine.transport.clone();
    let mut frames = Frames::default();
    let parts = engine
        .docker
        .logs(id.as_str(), Some(options(request)))
        .map(move |frame| match frame {
            Ok(frame) => frames.parts(frame),
            Err(error) => Err(explain(&transport, error)),
        })
        .map_ok(|parts| stream::iter(parts).map(Ok))
        .try_flatten()
        .boxed();
    if request.follow {
        return parts;
    }
    let limit = engine.transport.limit().saturating_mul(SEARCH);
    never_silent(parts, limit, engine.transport.endpoint().clone())
}

/// These parts, and an outage where the next one takes longer than `limit`. What the reader
/// takes between two of them does not count.
fn never_silent(parts: Stream<Part>, limit: Duration, endpoint: Endpoint) -> Stream<Part> {
    stream::unfold(Some((parts, endpoint)), move |state| async move {
        let (mut parts, endpoint) = state?;
        match timeout(limit, parts.next()).await {
            Ok(part) => Some((part?, Some((parts, endpoint)))),
            Err(_) => Some((Err(timed_out(&endpoint, limit)), None)),
        }
    })
    .boxed()
}

fn options(request: LogRequest) -> LogsOptions {
    LogsOptions {
        follow: request.follow,
        stdout: true,
        stderr: true,
        // 0 is "from the beginning" to the engine.
        since: request.since.map_or(0, |since| {
            i32::try_from(since.as_second().max(0)).unwrap_or(i32::MAX)
        }),
        until: 0,
        timestamps: true,
        tail: match request.tail {
            Tail::All => "all".to_owned(),
            Tail::Last(lines) => lines.to_string(),
        },
    }
}

/// Remembers the last timestamp of a stream, for a frame that should come without one.
#[derive(Default)]
struct Frames {
    last: Timestamp,
}

impl Frames {
    fn parts(&mut self, frame: LogOutput) -> Result<Vec<Part>, EngineError> {
        match frame {
            LogOutput::StdOut { message } | LogOutput::StdIn { message } => {
                Ok(vec![self.part(Channel::Out, &message)])
            }
            LogOutput::StdErr { message } => Ok(vec![self.part(Channel::Err, &message)]),
            LogOutput::Console { message } if message.starts_with(&SYSTEM_ERROR) => {
                let words = message.get(FRAME_HEADER..).unwrap_or_default();
                let words = String::from_utf8_lossy(words);
                Err(EngineError::new(
                    ErrorKind::Engine,
                    format!("the engine cannot read this log: {}", words.trim()),
                ))
            }
            LogOutput::Console { message } => Ok(glued(&message)
                .into_iter()
                .map(|piece| self.part(Channel::Out, piece))
                .collect()),
        }
    }

    fn part(&mut self, channel: Channel, message: &[u8]) -> Part {
        let bytes = match stamp(message) {
            Some((at, length)) => {
                self.last = at;
                message.get(length..).unwrap_or_default()
            }
            None => message,
        };
        Part {
            at: self.last,
            channel,
            bytes: bytes.to_vec(),
        }
    }
}

/// The timestamp at the start, and its length with the blank behind it.
fn stamp(message: &[u8]) -> Option<(Timestamp, usize)> {
    // Nanoseconds and an offset make 35 characters at most.
    let head = message.get(..message.len().min(36))?;
    let blank = memchr::memchr(b' ', head)?;
    let text = std::str::from_utf8(head.get(..blank)?).ok()?;
    Some((text.parse().ok()?, blank + 1))
}

/// A TTY's frames have no headers, and bollard hands over what it finds up to a newline: the
/// parts of a long line come glued together, each behind its timestamp. The parts of one line
/// carry the same one, to the nanosecond, so it is looked for as it stands.
fn glued(message: &[u8]) -> Vec<&[u8]> {
    let Some((_, length)) = stamp(message) else {
        return vec![message];
    };
    let Some(own) = message.get(..length) else {
        return vec![message];
    };
    let mut starts: Vec<usize> = memmem::find_iter(message, own).collect();
    starts.push(message.len());
    starts
        .windows(2)
        .filter_map(|border| message.get(border[0]..border[1]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "2026-11-21T12:00:00.000000001Z";

    fn out(text: String) -> LogOutput {
        LogOutput::StdOut {
            message: text.into_bytes().into(),
        }
    }

    fn console(bytes: Vec<u8>) -> LogOutput {
        LogOutput::Console {
            message: bytes.into(),
        }
    }

    fn at() -> Timestamp {
        STAMP.parse().unwrap()
    }

    #[test]
    fn every_part_loses_its_own_stamp() {
        let mut frames = Frames::default();
        for (text, left) in [
            (format!("{STAMP} one\n"), "one\n"),
            (format!("{STAMP} \n"), "\n"),
            (format!("{STAMP} "), ""),
            (format!("{STAMP} {STAMP} x\n"), &*format!("{STAMP} x\n")),
        ] {
            let parts = frames.parts(out(text)).unwrap();
            assert_eq!(parts.len(), 1);
            assert_eq!(parts[0].at, at());
            assert_eq!(parts[0].bytes, left.as_bytes());
            assert_eq!(parts[0].channel, Channel::Out);
        }
    }

    #[test]
    fn a_frame_without_a_stamp_is_kept_at_the_time_of_the_one_before() {
        let mut frames = Frames::default();
        frames.parts(out(format!("{STAMP} one\n"))).unwrap();
        for text in ["no stamp here\n", "", "\n", "1 \n"] {
            let parts = frames.parts(out(text.to_owned())).unwrap();
            assert_eq!((parts[0].at, &*parts[0].bytes), (at(), text.as_bytes()));
        }
    }

    #[test]
    fn the_glued_parts_of_a_terminal_s_line_are_taken_apart() {
        let mut frames = Frames::default();
        let message = format!("{STAMP} aaa{STAMP} bbb{STAMP} c\r\n");
        let parts = frames.parts(console(message.into_bytes())).unwrap();
        let texts: Vec<&[u8]> = parts.iter().map(|part| &*part.bytes).collect();
        assert_eq!(texts, [&b"aaa"[..], b"bbb", b"c\r\n"]);
        assert!(parts.iter().all(|part| part.at == at()));
    }

    #[test]
    fn times_that_a_program_prints_to_its_terminal_stay() {
        let mut frames = Frames::default();
        let message = format!("{STAMP} next run 2027-01-01T00:00:00.000000000Z ok\n");
        let parts = frames.parts(console(message.into_bytes())).unwrap();
        assert_eq!(parts.len(), 1);
        assert!(parts[0].bytes.starts_with(b"next run 2027-01-01"));
    }

    #[test]
    fn the_engine_s_own_error_frame_is_an_error_and_not_output() {
        let mut message = vec![3, 0, 0, 0, 0, 0, 0, 20];
        message.extend_from_slice(b"Error grabbing logs: unexpected EOF\n");
        let error = Frames::default().parts(console(message)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Engine);
        assert!(error.message.ends_with("unexpected EOF"), "{error}");
    }

    #[test]
    fn a_request_reads_as_the_engine_expects_it() {
        let request = LogRequest {
            tail: Tail::Last(100),
            since: Some(at()),
            follow: true,
        };
        let options = options(request);
        assert_eq!(i64::from(options.since), at().as_second());
        assert_eq!(options.tail, "100");
        assert!(options.timestamps && options.stdout && options.stderr && options.follow);
    }
}
