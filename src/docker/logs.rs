//! A container's log: the engine's frames, each freed of the timestamp that it starts with.
//!
//! Timestamps are always asked for. They are what a resume goes by, and without them a TTY's
//! stream that happens to start with a low byte would be taken for a frame header.
//!
//! The engine sends every line as a piece of its own. So the answer is read and taken apart here
//! and not by bollard, which makes a task's turn and several allocations of each.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use memchr::{memchr, memmem};
use tokio::time::{sleep, timeout};

use super::DockerEngine;
use super::explain::{broken, explain, timed_out};
use super::transport::{Pieces, Transport};
use crate::domain::id::ContainerId;
use crate::domain::line::{Channel, PartBatch};
use crate::engine::{EngineError, ErrorKind, LogRequest, Stream, Tail};
use crate::text::lines::LINE_CAP;

/// The frames of a container without a terminal: the channel, three empty bytes, and the length
/// of what follows.
const FRAME_HEADER: usize = 8;
/// The channel of a frame in which the engine reports that reading failed.
const SYSTEM_ERROR: u8 = 3;
/// No frame is nearly as long: it holds a part of a line.
const FRAME_CAP: usize = 16 << 20;

/// What goes out at once.
const BATCH_PARTS: usize = 4096;
const BATCH_BYTES: usize = 256 << 10;

/// How long new parts of a followed log are left to gather. Each comes by itself, and reading
/// every one as soon as it is there costs more than everything else about it. No longer than that:
/// the engine waits when a few hundred of them fill the socket.
const GATHER: Duration = Duration::from_millis(1);

/// A log that is not followed ends by itself, so silence in it means that the engine hangs. It
/// may be silent for this many times the limit of an answer: it goes through gigabytes to find
/// the lines since a given time.
const SEARCH: u32 = 6;

pub(super) fn read(
    engine: &DockerEngine,
    id: &ContainerId,
    request: LogRequest,
) -> Stream<PartBatch> {
    let transport = engine.transport.clone();
    let path = path(id, request);
    let opened = async move {
        match transport.stream(&path).await {
            Ok(pieces) => Ok(Reading::new(transport, pieces, request.follow)),
            Err(error) => Err(explain(&transport, error)),
        }
    };
    stream::once(opened)
        .flat_map(|opened| match opened {
            Ok(reading) => stream::unfold(Some(reading), async |reading| {
                let mut reading = reading?;
                match reading.next().await? {
                    Ok(batch) => Some((Ok(batch), Some(reading))),
                    Err(error) => Some((Err(error), None)),
                }
            })
            .boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

fn path(id: &ContainerId, request: LogRequest) -> String {
    // 0 is "from the beginning" to the engine.
    let since = request.since.map_or(0, |since| since.as_second().max(0));
    let tail = match request.tail {
        Tail::All => "all".to_owned(),
        Tail::Last(records) => records.to_string(),
    };
    format!(
        "/containers/{id}/logs?stdout=true&stderr=true&timestamps=true&follow={}&since={since}&tail={tail}",
        request.follow
    )
}

/// An answer that is being read.
struct Reading {
    transport: Transport,
    pieces: Pieces,
    decoder: Decoder,
    follow: bool,
    /// There was little to read: more is likely to come one by one.
    gather: bool,
    ended: bool,
    failure: Option<EngineError>,
}

impl Reading {
    fn new(transport: Transport, pieces: Pieces, follow: bool) -> Self {
        Self {
            transport,
            pieces,
            decoder: Decoder::default(),
            follow,
            gather: false,
            ended: false,
            failure: None,
        }
    }

    /// What there is, or what comes next.
    async fn next(&mut self) -> Option<Result<PartBatch, EngineError>> {
        if self.gather {
            self.pieces.rest();
            sleep(GATHER).await;
        }
        let mut batch = PartBatch::default();
        while !self.ended && batch.len() < BATCH_PARTS && batch.bytes() < BATCH_BYTES {
            let piece = if batch.is_empty() {
                self.piece().await
            } else {
                match self.pieces.next().now_or_never() {
                    Some(piece) => self.known(piece),
                    None => break,
                }
            };
            let taken = match piece {
                Ok(Some(piece)) => self.decoder.push(&piece, &mut batch),
                Ok(None) => {
                    self.ended = true;
                    self.decoder.finish(&mut batch);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                self.ended = true;
                self.failure = Some(error);
            }
        }
        self.gather = self.follow && !self.ended && batch.bytes() < BATCH_BYTES / 4;
        if batch.is_empty() {
            return self.failure.take().map(Err);
        }
        Some(Ok(batch))
    }

    /// Waits for a piece, and not for ever where there must be one.
    async fn piece(&mut self) -> Result<Option<hyper::body::Bytes>, EngineError> {
        let piece = if self.follow {
            self.pieces.next().await
        } else {
            let limit = self.transport.limit().saturating_mul(SEARCH);
            match timeout(limit, self.pieces.next()).await {
                Ok(piece) => piece,
                Err(_) => return Err(timed_out(self.transport.endpoint(), limit)),
            }
        };
        self.known(piece)
    }

    fn known(
        &self,
        piece: Option<Result<hyper::body::Bytes, hyper::Error>>,
    ) -> Result<Option<hyper::body::Bytes>, EngineError> {
        piece
            .transpose()
            .map_err(|error| broken(self.transport.endpoint(), &error.to_string()))
    }
}

/// Takes an answer apart, wherever its pieces begin and end.
#[derive(Default)]
struct Decoder {
    format: Option<Format>,
    /// The beginning of what has not come whole yet.
    pending: Vec<u8>,
    clock: Clock,
    /// The last timestamp, for a frame that should come without one.
    last: Timestamp,
    /// The timestamp of a terminal's line whose beginning was handed on already.
    torn: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Frames,
    /// A terminal's output has no frames, only lines.
    Terminal,
}

impl Decoder {
    fn push(&mut self, piece: &[u8], batch: &mut PartBatch) -> Result<(), EngineError> {
        if self.pending.is_empty() {
            let used = self.take(piece, 0, batch)?;
            self.pending
                .extend_from_slice(piece.get(used..).unwrap_or_default());
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending);
        let known = pending.len();
        pending.extend_from_slice(piece);
        let used = self.take(&pending, known, batch)?;
        pending.drain(..used);
        self.pending = pending;
        Ok(())
    }

    /// What is left where the answer ends: of a terminal, a line without a newline.
    fn finish(&mut self, batch: &mut PartBatch) {
        let left = std::mem::take(&mut self.pending);
        if self.format == Some(Format::Terminal) && !left.is_empty() {
            self.line(&left, batch);
        }
    }

    /// Returns how many bytes it took. The first `known` were looked at before.
    fn take(
        &mut self,
        bytes: &[u8],
        known: usize,
        batch: &mut PartBatch,
    ) -> Result<usize, EngineError> {
        let Some(first) = bytes.first() else {
            return Ok(0);
        };
        // A terminal's stream begins with the first digit of a timestamp.
        let format = *self.format.get_or_insert(match first {
            0..=SYSTEM_ERROR => Format::Frames,
            _ => Format::Terminal,
        });
        match format {
            Format::Frames => self.frames(bytes, batch),
            Format::Terminal => Ok(self.lines(bytes, known, batch)),
        }
    }

    fn frames(&mut self, bytes: &[u8], batch: &mut PartBatch) -> Result<usize, EngineError> {
        let mut rest = bytes;
        while let Some((header, behind)) = rest.split_first_chunk::<FRAME_HEADER>() {
            let [kind, _, _, _, length @ ..] = *header;
            let length = u32::from_be_bytes(length) as usize;
            if kind > SYSTEM_ERROR || length > FRAME_CAP {
                return Err(EngineError::new(
                    ErrorKind::Protocol,
                    "the engine sent a log in a form that is not understood",
                ));
            }
            let Some((message, behind)) = behind.split_at_checked(length) else {
                break;
            };
            rest = behind;
            match kind {
                SYSTEM_ERROR => {
                    let words = String::from_utf8_lossy(message);
                    return Err(EngineError::new(
                        ErrorKind::Engine,
                        format!("the engine cannot read this log: {}", words.trim()),
                    ));
                }
                2 => self.part(Channel::Err, message, batch),
                _ => self.part(Channel::Out, message, batch),
            }
        }
        Ok(bytes.len() - rest.len())
    }

    fn lines(&mut self, bytes: &[u8], known: usize, batch: &mut PartBatch) -> usize {
        let mut start = 0;
        let mut looked = known;
        while let Some(end) = bytes.get(looked..).and_then(|rest| memchr(b'\n', rest)) {
            let next = looked + end + 1;
            self.line(bytes.get(start..next).unwrap_or_default(), batch);
            self.torn = None;
            start = next;
            looked = next;
        }
        let rest = bytes.get(start..).unwrap_or_default();
        if rest.len() < LINE_CAP {
            return start;
        }
        // It may never end. It is cut in front of what could be the beginning of a timestamp.
        let border = rest.len() - (WHOLE + FRACTION);
        let near = border.saturating_sub(WHOLE + FRACTION);
        let own = self.own_stamp(rest).map(Cow::into_owned);
        let stamp = own
            .as_ref()
            .and_then(|own| memmem::find(rest.get(near..)?, own));
        let end = stamp.map_or(border, |at| border.min(near + at));
        self.line(rest.get(..end).unwrap_or_default(), batch);
        self.torn = own;
        start + end
    }

    /// A terminal's line, whose parts come glued together, each behind its timestamp. The parts
    /// of one line carry the same one, to the nanosecond, so it is looked for as it stands.
    fn line(&mut self, line: &[u8], batch: &mut PartBatch) {
        let Some(own) = self.own_stamp(line) else {
            return self.part(Channel::Out, line, batch);
        };
        let mut start = 0;
        for next in memmem::find_iter(line, &own).filter(|next| *next > 0) {
            self.part(
                Channel::Out,
                line.get(start..next).unwrap_or_default(),
                batch,
            );
            start = next;
        }
        self.part(Channel::Out, line.get(start..).unwrap_or_default(), batch);
    }

    /// The timestamp that stands before each part of a terminal's line, with the blank behind it.
    fn own_stamp<'l>(&mut self, line: &'l [u8]) -> Option<Cow<'l, [u8]>> {
        if let Some(torn) = &self.torn {
            return Some(Cow::Owned(torn.clone()));
        }
        let (_, length) = self.clock.stamp(line)?;
        Some(Cow::Borrowed(line.get(..length)?))
    }

    fn part(&mut self, channel: Channel, message: &[u8], batch: &mut PartBatch) {
        let bytes = match self.clock.stamp(message) {
            Some((at, length)) => {
                self.last = at;
                message.get(length..).unwrap_or_default()
            }
            None => message,
        };
        batch.push(self.last, channel, bytes);
    }
}

/// Reads timestamps. Those of lines that lie close together differ in their fraction alone.
#[derive(Default)]
struct Clock {
    /// The whole second as the engine wrote it last, and what it means.
    text: [u8; WHOLE],
    second: i64,
}

/// The length of `2026-11-21T12:00:00.`.
const WHOLE: usize = 20;
/// The length of `000000001Z `.
const FRACTION: usize = 11;

impl Clock {
    /// The timestamp at the start, and its length with the blank behind it.
    fn stamp(&mut self, message: &[u8]) -> Option<(Timestamp, usize)> {
        let fixed = message
            .split_first_chunk::<WHOLE>()
            .and_then(|(whole, rest)| Some((whole, nanoseconds(rest.first_chunk()?)?)));
        if let Some((whole, fraction)) = fixed
            && *whole == self.text
        {
            let at = Timestamp::new(self.second, fraction).ok()?;
            return Some((at, WHOLE + FRACTION));
        }
        // Nanoseconds and an offset make 35 characters at most.
        let head = message.get(..message.len().min(36))?;
        let blank = memchr(b' ', head)?;
        let at: Timestamp = std::str::from_utf8(head.get(..blank)?).ok()?.parse().ok()?;
        if let Some((whole, _)) = fixed
            && blank + 1 == WHOLE + FRACTION
            && at.as_second() > 0
        {
            self.text = *whole;
            self.second = at.as_second();
        }
        Some((at, blank + 1))
    }
}

/// Of nine digits, `Z` and a blank.
fn nanoseconds(text: &[u8; FRACTION]) -> Option<i32> {
    let [digits @ .., b'Z', b' '] = text else {
        return None;
    };
    digits.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + i32::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::Part;
    use proptest::prelude::*;

    const STAMP: &str = "2026-11-21T12:00:00.000000001Z";

    fn at() -> Timestamp {
        STAMP.parse().unwrap()
    }

    fn frame(kind: u8, text: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        frame.extend(text);
        frame
    }

    /// All parts of an answer that comes in these pieces.
    fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Part>, EngineError> {
        let mut decoder = Decoder::default();
        let mut batch = PartBatch::default();
        for piece in pieces {
            decoder.push(piece, &mut batch)?;
        }
        decoder.finish(&mut batch);
        Ok(batch.parts().collect())
    }

    #[test]
    fn every_part_loses_its_own_stamp() {
        for (text, left) in [
            (format!("{STAMP} one\n"), "one\n"),
            (format!("{STAMP} \n"), "\n"),
            (format!("{STAMP} "), ""),
            (format!("{STAMP} {STAMP} x\n"), &*format!("{STAMP} x\n")),
        ] {
            let parts = decoded([&*frame(1, text.as_bytes())]).unwrap();
            assert_eq!(parts.len(), 1);
            assert_eq!(parts[0].at, at());
            assert_eq!(parts[0].bytes, left.as_bytes());
            assert_eq!(parts[0].channel, Channel::Out);
        }
    }

    #[test]
    fn the_channel_is_in_the_frame() {
        let text = format!("{STAMP} x\n");
        for (kind, channel) in [(0, Channel::Out), (1, Channel::Out), (2, Channel::Err)] {
            let parts = decoded([&*frame(kind, text.as_bytes())]).unwrap();
            assert_eq!(parts[0].channel, channel);
        }
    }

    #[test]
    fn a_frame_without_a_stamp_is_kept_at_the_time_of_the_one_before() {
        let first = frame(1, format!("{STAMP} one\n").as_bytes());
        for text in ["no stamp here\n", "", "\n", "1 \n"] {
            let parts = decoded([&*first, &*frame(1, text.as_bytes())]).unwrap();
            assert_eq!((parts[1].at, &*parts[1].bytes), (at(), text.as_bytes()));
        }
    }

    #[test]
    fn the_glued_parts_of_a_terminal_s_line_are_taken_apart() {
        let message = format!("{STAMP} aaa{STAMP} bbb{STAMP} c\r\n{STAMP} torn");
        let parts = decoded([message.as_bytes()]).unwrap();
        let texts: Vec<&[u8]> = parts.iter().map(|part| &*part.bytes).collect();
        assert_eq!(texts, [&b"aaa"[..], b"bbb", b"c\r\n", b"torn"]);
        assert!(parts.iter().all(|part| part.at == at()));
    }

    #[test]
    fn a_terminal_s_line_that_does_not_end_is_not_held_back() {
        const PART: usize = 16_384;
        const PARTS: usize = 70;
        let mut answer = Vec::new();
        for n in 0..PARTS {
            answer.extend_from_slice(format!("{STAMP} ").as_bytes());
            answer.extend_from_slice(&[b'a' + (n % 26) as u8; PART]);
        }
        answer.extend_from_slice(format!("\n{STAMP} next\n").as_bytes());
        // The first cut is made at each place within and around a timestamp.
        let cut = (LINE_CAP / (PART + STAMP.len() + 1) + 1) * (PART + STAMP.len() + 1);
        for piece in (0..80).map(|more| cut + more - 5) {
            let mut decoder = Decoder::default();
            let mut batch = PartBatch::default();
            let mut most = 0;
            for piece in answer.chunks(piece) {
                decoder.push(piece, &mut batch).unwrap();
                most = most.max(decoder.pending.len());
            }
            assert!(most < LINE_CAP, "{most}");
            let parts = batch.iter();
            let text: Vec<u8> = parts.flat_map(|(_, _, bytes)| bytes.to_vec()).collect();
            assert_eq!(text.len(), PARTS * PART + 1 + "next\n".len(), "{piece}");
            assert!(text.ends_with(b"\nnext\n"));
            assert!(batch.iter().all(|(stamp, ..)| stamp == at()));
        }
    }

    #[test]
    fn times_that_a_program_prints_to_its_terminal_stay() {
        let message = format!("{STAMP} next run 2027-01-01T00:00:00.000000000Z ok\n");
        let parts = decoded([message.as_bytes()]).unwrap();
        assert_eq!(parts.len(), 1);
        assert!(parts[0].bytes.starts_with(b"next run 2027-01-01"));
    }

    #[test]
    fn the_engine_s_own_error_frame_is_an_error_and_not_output() {
        let first = frame(1, format!("{STAMP} one\n").as_bytes());
        let words = frame(3, b"Error grabbing logs: unexpected EOF\n");
        let mut decoder = Decoder::default();
        let mut batch = PartBatch::default();
        let both = [first, words].concat();
        let error = decoder.push(&both, &mut batch).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Engine);
        assert!(error.message.ends_with("unexpected EOF"), "{error}");
        assert_eq!(batch.len(), 1, "what came before it was read");
    }

    #[test]
    fn what_is_no_frame_is_not_waited_for() {
        let first = frame(1, format!("{STAMP} one\n").as_bytes());
        for odd in [[9, 0, 0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 255, 0, 0, 0]] {
            let error = decoded([&*first, &odd]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Protocol);
        }
    }

    #[test]
    fn a_request_reads_as_the_engine_expects_it() {
        let request = LogRequest {
            tail: Tail::Last(100),
            since: Some(at()),
            follow: true,
        };
        let path = path(&ContainerId::new("c1"), request);
        let (place, query) = path.split_once('?').unwrap();
        assert_eq!(place, "/containers/c1/logs");
        let query: Vec<&str> = query.split('&').collect();
        let since = format!("since={}", at().as_second());
        for wanted in [
            "tail=100",
            "follow=true",
            "timestamps=true",
            "stdout=true",
            "stderr=true",
            &since,
        ] {
            assert!(query.contains(&wanted), "{wanted} in {path}");
        }
    }

    proptest! {
        #[test]
        fn parts_do_not_depend_on_where_an_answer_is_divided(
            texts in proptest::collection::vec(("[a-z ]{0,5}\n?", 0u8..3, 0u32..3), 0..8),
            terminal: bool,
            borders in proptest::collection::vec(0usize..400, 0..12),
        ) {
            let mut answer = Vec::new();
            for (text, kind, tick) in texts {
                let text = format!("2026-11-21T12:00:0{tick}.00000000{tick}Z {text}");
                match terminal {
                    true => answer.extend(text.into_bytes()),
                    false => answer.extend(frame(kind, text.as_bytes())),
                }
            }
            let mut borders: Vec<usize> = borders.into_iter().map(|b| b.min(answer.len())).collect();
            borders.extend([0, answer.len()]);
            borders.sort_unstable();
            let pieces = borders.windows(2).map(|pair| &answer[pair[0]..pair[1]]);
            prop_assert_eq!(decoded(pieces).unwrap(), decoded([&*answer]).unwrap());
        }

        #[test]
        fn a_stamp_means_the_same_however_often_its_second_came(
            stamps in proptest::collection::vec((-3i64..3, 0i32..1_000_000_000, 0usize..4), 1..20),
        ) {
            let mut clock = Clock::default();
            for (second, nanosecond, form) in stamps {
                let at = Timestamp::from_second(second).unwrap()
                    + jiff::SignedDuration::from_nanos(i64::from(nanosecond));
                let text = match form {
                    0 => format!("{at} x"),
                    1 => at.display_with_offset(jiff::tz::offset(2)).to_string() + " x",
                    _ => format!("{at:.9} x"),
                };
                let (read, length) = clock.stamp(text.as_bytes()).unwrap();
                prop_assert_eq!(read, at, "{}", text);
                prop_assert_eq!(&text[length..], "x");
            }
        }

        #[test]
        fn what_only_looks_like_a_stamp_is_none(text in "2026-11-21T12:00:00.[0-9Z ]{9}[Z ]{0,2}[ x]") {
            let mut clock = Clock::default();
            clock.stamp(format!("{STAMP} x").as_bytes()).unwrap();
            let plain = text.split_once(' ').and_then(|(stamp, _)| stamp.parse::<Timestamp>().ok());
            prop_assert_eq!(clock.stamp(text.as_bytes()).map(|(at, _)| at), plain);
        }
    }
}
