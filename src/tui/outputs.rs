//! Reading the outputs of a recording.

use std::ops::ControlFlow;
use std::path::Path;

use jiff::Timestamp;

use super::msg::OutputLines;
use super::state::recorded::Piece;
use crate::record::timed_lines;

/// Of each output this much of its end is shown. All of it is in its file.
const SHOWN: u64 = 16 << 20;
/// Of a line this much is kept.
const LINE: usize = 1 << 20;
/// Bytes of lines that are told at once.
const BATCH: usize = 256 << 10;

/// Reads what is shown of these pieces, as long as somebody listens. What cannot be read is a line
/// that says so.
pub(super) fn read(
    directory: &Path,
    pieces: &[Piece],
    mut tell: impl FnMut(OutputLines) -> ControlFlow<()>,
) {
    let mut batch = Batch::default();
    for piece in pieces {
        let ended = piece.started.checked_add(piece.took);
        let ended = ended.unwrap_or(piece.started);
        if let Some(title) = &piece.title {
            batch.add(piece.started, title.clone().into_bytes());
        }
        let file = piece.output.file.as_deref();
        let length = file.and_then(|file| file.metadata().ok());
        let mut skip = length.map_or(0, |found| found.len().saturating_sub(SHOWN));
        if let (true, Some(file)) = (skip > 0, file) {
            let text = format!("[{} MiB before this: {}]", skip >> 20, file.display());
            batch.add(piece.started, text.into_bytes());
        }
        let lines = match timed_lines(directory, &piece.output, piece.started, piece.took) {
            Ok(lines) => lines,
            Err(error) => {
                batch.add(
                    ended,
                    format!("[the output cannot be read: {error}]").into_bytes(),
                );
                continue;
            }
        };
        for line in lines {
            match line {
                Ok((_, line)) if skip > 0 => skip = skip.saturating_sub(line.len() as u64 + 1),
                Ok((at, mut line)) => {
                    line.truncate(LINE);
                    batch.add(at, line);
                }
                Err(error) => {
                    batch.add(ended, format!("[reading broke off: {error}]").into_bytes());
                    break;
                }
            }
            if batch.bytes >= BATCH && tell(batch.take()).is_break() {
                return;
            }
        }
        let dropped = piece.output.not_on_disk;
        if dropped > 0 {
            batch.add(
                ended,
                format!("[{dropped} bytes more were not kept]").into_bytes(),
            );
        }
        if let Some(note) = &piece.note {
            batch.add(ended, note.clone().into_bytes());
        }
    }
    let _ = tell(batch.take());
}

#[derive(Default)]
struct Batch {
    lines: OutputLines,
    bytes: usize,
    /// Lines stay in their order, whatever the clock did.
    last: Option<Timestamp>,
}

impl Batch {
    fn add(&mut self, at: Timestamp, line: Vec<u8>) {
        let at = self.last.map_or(at, |last| last.max(at));
        self.last = Some(at);
        self.bytes += line.len();
        self.lines.push((at, line));
    }

    fn take(&mut self) -> OutputLines {
        self.bytes = 0;
        std::mem::take(&mut self.lines)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::run::Output;

    fn piece(file: Option<std::path::PathBuf>) -> Piece {
        Piece {
            title: None,
            output: Output {
                file,
                ..Output::default()
            },
            started: Timestamp::UNIX_EPOCH,
            took: Duration::from_secs(5),
            note: None,
        }
    }

    fn shown(directory: &Path, pieces: &[Piece]) -> Vec<String> {
        let mut all = Vec::new();
        read(directory, pieces, |lines| {
            assert!(
                lines.is_sorted_by_key(|(at, _)| *at),
                "as the store wants them"
            );
            all.extend(
                lines
                    .into_iter()
                    .map(|(_, line)| String::from_utf8(line).unwrap()),
            );
            ControlFlow::Continue(())
        });
        all
    }

    #[test]
    fn attempts_follow_each_other_with_what_is_missing() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let mut first = piece(file("one.log", "a\nb"));
        first.output.not_on_disk = 7;
        let mut second = piece(file("two.log", "c\n"));
        second.title = Some("── attempt 2 ──".to_owned());
        let mut third = piece(None);
        third.note = Some("could not start: no such file".to_owned());
        let gone = piece(Some(place.path().join("gone")));
        let lines = shown(place.path(), &[first, second, third, gone]);
        let expected = [
            "a",
            "b",
            "[7 bytes more were not kept]",
            "── attempt 2 ──",
            "c",
            "could not start: no such file",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn of_a_large_output_the_end_is_shown_and_what_leads_out_is_not() {
        let place = tempfile::tempdir().unwrap();
        let run = place.path().join("run");
        std::fs::create_dir(&run).unwrap();
        let text = "x".repeat(1023) + "\n";
        let path = run.join("output.log");
        std::fs::write(&path, text.repeat(17 << 10) + "the end\n").unwrap();
        let lines = shown(&run, &[piece(Some(path))]);
        assert!(lines[0].starts_with("[1 MiB before this: "), "{}", lines[0]);
        assert!(
            (16 << 10..=(16 << 10) + 2).contains(&lines.len()),
            "{}",
            lines.len()
        );
        assert_eq!(lines.last().unwrap(), "the end");

        let secret = place.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        assert_eq!(shown(&run, &[piece(Some(secret))]), [""; 0]);
    }
}
