//! How far a log was read, and how reading goes on from there: no line twice, none left out.
//!
//! The engine cannot be asked for "what comes after this line". It gives a *window*: the last
//! so many records of a log. So every resume reads a window that begins before the place where
//! reading stopped, and leaves out what is known by the engine's own timestamps, which may be
//! equal for several lines: everything older than the last line, and as many lines of its very
//! timestamp as were read.
//!
//! Two things complicate that. The two channels of a container are copied side by side, so
//! their timestamps may be out of order against each other (never within one): each channel
//! has its own position. And a window may begin too late. It is known to reach back far enough
//! when it shows a line older than the last known one of the same channel; if something new
//! shows up before, a larger window is asked for. A `since` in the request would filter just
//! those older lines away, so windows do without; only the last resort, the whole log, has one.
//!
//! This is exact if, in one channel, timestamps never decrease and equal ones are adjacent, and
//! if the first window of all does not begin between two lines of equal timestamps.

use jiff::Timestamp;

use crate::domain::line::{Channel, DISORDER};
use crate::engine::{LogRequest, Tail};

/// The windows of a resume, in records (a long line takes several). A thousand take the engine
/// 12 ms where reading a million lines since a time takes 2.3 s.
const WINDOWS: [u32; 2] = [1_000, 50_000];

/// The place up to which one container's log was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    out: Option<Position>,
    err: Option<Position>,
    /// The channel of the last line.
    last: Option<Channel>,
}

/// The last line of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    at: Timestamp,
    /// Lines that were read at that very time.
    lines: u32,
}

impl Cursor {
    /// Nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// Counts a line as read.
    pub fn advance(&mut self, at: Timestamp, channel: Channel) {
        let position = self.position_mut(channel);
        match position {
            Some(position) if position.at == at => {
                position.lines = position.lines.saturating_add(1);
            }
            _ => *position = Some(Position { at, lines: 1 }),
        }
        self.last = Some(channel);
    }

    /// The latest timestamp that was read.
    pub fn newest(&self) -> Option<Timestamp> {
        let out = self.out.map(|position| position.at);
        out.max(self.err.map(|position| position.at))
    }

    /// The last timestamp that was read of a channel.
    pub fn reached(&self, channel: Channel) -> Option<Timestamp> {
        self.position(channel).map(|position| position.at)
    }

    /// The windows to ask for, one after the other while they turn out too short. `None` after
    /// the last one, or if nothing was read yet.
    pub fn window(&self, attempt: usize, follow: bool) -> Option<LogRequest> {
        let last = self.last_at()?;
        match attempt.checked_sub(WINDOWS.len()) {
            None => Some(LogRequest {
                tail: Tail::Last(*WINDOWS.get(attempt)?),
                since: None,
                follow,
            }),
            Some(0) => Some(LogRequest {
                tail: Tail::All,
                since: Some(last.checked_sub(DISORDER).unwrap_or(last)),
                follow,
            }),
            Some(_) => None,
        }
    }

    fn last_at(&self) -> Option<Timestamp> {
        let last = self.last?;
        self.position(last).map(|position| position.at)
    }

    fn position(&self, channel: Channel) -> Option<Position> {
        match channel {
            Channel::Out => self.out,
            Channel::Err => self.err,
        }
    }

    fn position_mut(&mut self, channel: Channel) -> &mut Option<Position> {
        match channel {
            Channel::Out => &mut self.out,
            Channel::Err => &mut self.err,
        }
    }
}

/// What a line in a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was read before.
    Known,
    New,
    /// It is new, and what stood between it and the last line that was read, which was of that
    /// time, is there no more.
    NewBehindGap {
        last: Timestamp,
    },
    /// Whether it is new cannot be told, or others before it may be missing: read a larger
    /// window instead.
    TooShort,
}

/// Tells the new lines of one window from the known ones.
#[derive(Clone, Debug)]
pub struct Resume {
    from: Cursor,
    /// The window is known to begin at or before the last line that was read.
    reaches_back: bool,
    /// The last line that was read has come by.
    passed: bool,
    /// The window has a line that was read before, or a new one that was told from those.
    connected: bool,
    out: Progress,
    err: Progress,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Lines at the very time of the position.
    seen: u32,
    /// The channel had a new line: all of its further lines are new, whatever a clock that is
    /// set back makes of their timestamps.
    beyond: bool,
}

impl Resume {
    /// For a window in answer to `request`.
    pub fn new(from: &Cursor, request: &LogRequest) -> Self {
        Self {
            from: from.clone(),
            reaches_back: from.is_empty() || request.tail == Tail::All,
            passed: false,
            connected: from.is_empty(),
            out: Progress::default(),
            err: Progress::default(),
        }
    }

    /// For a stream that begins to repeat what was read up to `from`.
    pub fn repeated(from: &Cursor) -> Self {
        Self {
            from: from.clone(),
            reaches_back: true,
            passed: false,
            connected: true,
            out: Progress::default(),
            err: Progress::default(),
        }
    }

    pub fn judge(&mut self, at: Timestamp, channel: Channel) -> Verdict {
        let verdict = self.compare(at, channel);
        match verdict {
            Verdict::New if !self.connected => {
                self.connected = true;
                match self.from.newest() {
                    Some(last) => Verdict::NewBehindGap { last },
                    None => verdict,
                }
            }
            Verdict::Known => {
                self.connected = true;
                verdict
            }
            _ => verdict,
        }
    }

    fn compare(&mut self, at: Timestamp, channel: Channel) -> Verdict {
        let last = self.from.last_at();
        let position = self.from.position(channel);
        let progress = match channel {
            Channel::Out => &mut self.out,
            Channel::Err => &mut self.err,
        };
        if !progress.beyond {
            match position {
                Some(position) if at < position.at => {
                    self.reaches_back = true;
                    return Verdict::Known;
                }
                Some(position) if at == position.at && progress.seen < position.lines => {
                    if !self.reaches_back {
                        // Others of this timestamp may lie before the window.
                        return Verdict::TooShort;
                    }
                    progress.seen += 1;
                    let complete = progress.seen == position.lines;
                    self.passed |= complete && self.from.last == Some(channel);
                    return Verdict::Known;
                }
                // The channel had not been heard of when reading stopped: what it wrote before
                // that lies before the very first window.
                None if !self.passed && last.is_some_and(|last| at <= last) => {
                    let long_before = last
                        .and_then(|last| last.checked_sub(DISORDER).ok())
                        .is_some_and(|before| at < before);
                    self.reaches_back |= long_before;
                    return match self.reaches_back {
                        true => Verdict::Known,
                        false => Verdict::TooShort,
                    };
                }
                _ => {}
            }
        }
        if self.reaches_back {
            progress.beyond = true;
            Verdict::New
        } else {
            Verdict::TooShort
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::Line;
    use proptest::prelude::*;

    fn at(tick: i64) -> Timestamp {
        Timestamp::from_nanosecond(1_700_000_000_000_000_000 + i128::from(tick)).unwrap()
    }

    fn line(channel: Channel, tick: i64, text: usize) -> Line {
        Line {
            at: at(tick),
            channel,
            bytes: text.to_string().into_bytes().into(),
        }
    }

    fn read(lines: &[Line]) -> Cursor {
        let mut cursor = Cursor::default();
        lines
            .iter()
            .for_each(|line| cursor.advance(line.at, line.channel));
        cursor
    }

    fn window(tail: Tail) -> LogRequest {
        LogRequest {
            tail,
            since: None,
            follow: false,
        }
    }

    /// The new lines of a window; `None` if it is too short.
    fn resume(cursor: &Cursor, tail: Tail, lines: &[Line]) -> Option<Vec<Line>> {
        let mut resume = Resume::new(cursor, &window(tail));
        let mut new = Vec::new();
        for line in lines {
            match resume.judge(line.at, line.channel) {
                Verdict::Known => {}
                Verdict::New | Verdict::NewBehindGap { .. } => new.push(line.clone()),
                Verdict::TooShort => return None,
            }
        }
        Some(new)
    }

    #[test]
    fn lines_of_one_timestamp_are_counted() {
        let log: Vec<Line> = [1, 2, 2, 2, 3]
            .into_iter()
            .enumerate()
            .map(|(number, tick)| line(Channel::Out, tick, number))
            .collect();
        let cursor = read(&log[..3]);
        assert_eq!(
            resume(&cursor, Tail::Last(9), &log).unwrap(),
            log[3..].to_vec()
        );
    }

    #[test]
    fn a_window_that_may_begin_too_late_is_refused() {
        let log: Vec<Line> = (0..6)
            .map(|number| line(Channel::Out, number, number as usize))
            .collect();
        let cursor = read(&log[..3]);
        // From the last line on: whether others of its time stood before it cannot be seen.
        assert_eq!(resume(&cursor, Tail::Last(9), &log[2..]), None);
        assert_eq!(resume(&cursor, Tail::Last(9), &log[4..]), None);
        assert_eq!(
            resume(&cursor, Tail::All, &log[4..]).unwrap(),
            log[4..].to_vec(),
            "what lies between was rotated away"
        );
    }

    #[test]
    fn a_gap_is_told_once_and_only_where_there_is_one() {
        let log: Vec<Line> = (0..6)
            .map(|number| line(Channel::Out, number, number as usize))
            .collect();
        let verdicts = |lines: &[Line]| -> Vec<Verdict> {
            let mut resume = Resume::new(&read(&log[..2]), &self::window(Tail::All));
            lines
                .iter()
                .map(|line| resume.judge(line.at, line.channel))
                .collect()
        };
        assert_eq!(verdicts(&log[1..3]), [Verdict::Known, Verdict::New]);
        let gap = Verdict::NewBehindGap { last: at(1) };
        assert_eq!(verdicts(&log[3..]), [gap, Verdict::New, Verdict::New]);
        let mut first = Resume::new(&Cursor::default(), &self::window(Tail::All));
        assert_eq!(first.judge(at(0), Channel::Out), Verdict::New);
    }

    #[test]
    fn a_rare_channel_does_not_ask_for_larger_windows() {
        let mut log = vec![line(Channel::Err, 0, 0)];
        log.extend((1..50).map(|number| line(Channel::Out, number, number as usize)));
        let cursor = read(&log[..40]);
        assert_eq!(
            resume(&cursor, Tail::Last(20), &log[30..]).unwrap(),
            log[40..].to_vec()
        );
        // Nor does one that had its first line last.
        let mut log: Vec<Line> = (1..50)
            .map(|number| line(Channel::Out, number, number as usize))
            .collect();
        log.push(line(Channel::Err, 60, 0));
        let cursor = read(&log);
        log.push(line(Channel::Out, 70, 0));
        assert_eq!(
            resume(&cursor, Tail::Last(20), &log[30..]).unwrap(),
            log[50..].to_vec()
        );
    }

    #[test]
    fn a_clock_that_is_set_back_hides_nothing_once_a_new_line_came() {
        let log = [
            line(Channel::Out, 10, 0),
            line(Channel::Out, 20, 1),
            line(Channel::Out, 30, 2),
            line(Channel::Out, 5, 3),
        ];
        let cursor = read(&log[..2]);
        assert_eq!(
            resume(&cursor, Tail::Last(9), &log).unwrap(),
            log[2..].to_vec()
        );
    }

    #[test]
    fn windows_grow_up_to_the_whole_log() {
        let cursor = read(&[line(Channel::Out, 5, 0)]);
        let tails: Vec<Tail> = (0..)
            .map_while(|attempt| cursor.window(attempt, true))
            .map(|request| request.tail)
            .collect();
        assert_eq!(tails, [Tail::Last(1_000), Tail::Last(50_000), Tail::All]);
        let whole = cursor.window(2, true).unwrap();
        assert!(whole.since.unwrap() < at(5));
        assert_eq!(Cursor::default().window(0, true), None);
    }

    /// A log as an engine keeps it: timestamps never decrease within a channel and equal ones
    /// are adjacent there; across channels they may be out of order by a little.
    fn logs(disorder: i64) -> impl Strategy<Value = Vec<Line>> {
        proptest::collection::vec((any::<bool>(), 0i64..3, 0..=disorder), 1..40).prop_map(|steps| {
            let mut lines: Vec<Line> = Vec::new();
            let mut tick = 100;
            let mut newest = [0, 0];
            for (number, (to_err, step, behind)) in steps.into_iter().enumerate() {
                let (channel, index) = if to_err {
                    (Channel::Err, 1)
                } else {
                    (Channel::Out, 0)
                };
                tick += step;
                let adjacent = lines.last().is_some_and(|line| line.channel == channel);
                // Another line of the same time only right behind the last one.
                let floor = newest[index] + i64::from(!adjacent);
                let own = (tick - behind).max(floor);
                newest[index] = own;
                tick = tick.max(own);
                lines.push(line(channel, own, number));
            }
            lines
        })
    }

    proptest! {
        #[test]
        fn a_resume_at_any_point_neither_drops_nor_repeats(
            log in logs(3), stop in 1usize..41, window in 1usize..41,
        ) {
            let stop = stop.min(log.len());
            let start = log.len().saturating_sub(window);
            let cursor = read(&log[..stop]);
            if let Some(new) = resume(&cursor, Tail::Last(1), &log[start..]) {
                prop_assert_eq!(&new[..], &log[stop..]);
            } else {
                let first = &log[start];
                let older = cursor
                    .position(first.channel)
                    .is_some_and(|position| first.at < position.at);
                prop_assert!(!older, "refused without need");
            }
            prop_assert_eq!(&resume(&cursor, Tail::All, &log).unwrap()[..], &log[stop..]);
        }

        #[test]
        fn nor_does_one_after_a_first_window_that_left_out_the_past(
            log in logs(0), first in 0usize..40, stop in 1usize..41, window in 1usize..41,
        ) {
            let mut first = first.min(log.len() - 1);
            while first > 0 && log[first - 1].at == log[first].at {
                first -= 1;
            }
            let stop = stop.clamp(first + 1, log.len());
            let start = log.len().saturating_sub(window);
            let cursor = read(&log[first..stop]);
            if let Some(new) = resume(&cursor, Tail::Last(1), &log[start..]) {
                prop_assert_eq!(&new[..], &log[stop..]);
            }
            prop_assert_eq!(&resume(&cursor, Tail::All, &log).unwrap()[..], &log[stop..]);
        }
    }
}
