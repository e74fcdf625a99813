//! Which lines of a source are shown where there are too many: its first and its last ones, and
//! those around what is marked.

use std::collections::BTreeSet;

use jiff::Timestamp;

/// Lines before and behind a marked one that are shown with it.
const AROUND: u64 = 20;

/// What of one source is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Lines that the source has.
    pub total: u64,
    /// Of these so many, without those around the marked ones.
    pub limit: u64,
    /// Numbers of lines, from 0.
    pub marked: BTreeSet<u64>,
}

impl Share {
    fn shows(&self, line: u64) -> bool {
        // The end says more of what went wrong than the beginning.
        let head = self.limit / 4;
        let tail = self.total.saturating_sub(self.limit - head);
        let (from, to) = (line.saturating_sub(AROUND), line.saturating_add(AROUND));
        line < head || line >= tail || self.marked.range(from..=to).next().is_some()
    }
}

/// How many lines of each source are shown where `limit` of all may be: a source that has fewer
/// than its part leaves the rest to the others.
pub fn shares(totals: &[u64], limit: u64) -> Vec<u64> {
    let mut order: Vec<usize> = (0..totals.len()).collect();
    order.sort_by_key(|source| totals[*source]);
    let mut shares = vec![0; totals.len()];
    let mut rest = limit;
    for (done, source) in order.into_iter().enumerate() {
        let part = rest / (totals.len() - done) as u64;
        shares[source] = totals[source].min(part);
        rest -= shares[source];
    }
    shares
}

/// A line that is shown with its number, or how many in a row are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<T> {
    Line(u64, T),
    Left(u64),
}

/// The lines that are shown. What is left out stands at the time of its first line.
pub fn shown<I, T>(lines: I, share: Share) -> impl Iterator<Item = (Timestamp, Piece<T>)>
where
    I: Iterator<Item = (Timestamp, T)>,
{
    let mut left: Option<(Timestamp, u64)> = None;
    let mut waiting: Option<(Timestamp, Piece<T>)> = None;
    let mut lines = lines.enumerate();
    std::iter::from_fn(move || {
        if let Some(piece) = waiting.take() {
            return Some(piece);
        }
        for (number, (at, line)) in lines.by_ref() {
            let number = number as u64;
            if !share.shows(number) {
                left.get_or_insert((at, 0)).1 += 1;
                continue;
            }
            let piece = (at, Piece::Line(number, line));
            let Some((from, count)) = left.take() else {
                return Some(piece);
            };
            waiting = Some(piece);
            return Some((from, Piece::Left(count)));
        }
        let (from, count) = left.take()?;
        Some((from, Piece::Left(count)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(total: u64, limit: u64, marked: &[u64]) -> Vec<Piece<u64>> {
        let share = Share {
            total,
            limit,
            marked: marked.iter().copied().collect(),
        };
        let lines = (0..total).map(|n| (Timestamp::from_second(n as i64).unwrap(), n));
        shown(lines, share).map(|(_, piece)| piece).collect()
    }

    #[test]
    fn who_has_little_leaves_its_part_to_the_others() {
        assert_eq!(shares(&[10, 1_000_000, 5], 300), [10, 285, 5]);
        assert_eq!(shares(&[1_000, 2_000, 3_000], 300), [100, 100, 100]);
        assert_eq!(shares(&[3, 4], 300), [3, 4]);
        assert_eq!(shares(&[], 300), [0; 0]);
        assert_eq!(shares(&[5, 5], 1), [0, 1]);
    }

    #[test]
    fn the_first_the_last_and_the_marked_ones_are_shown() {
        let pieces = pieces(1_000, 8, &[500]);
        let left: Vec<u64> = pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Left(count) => Some(*count),
                Piece::Line(..) => None,
            })
            .collect();
        assert_eq!(left, [478, 473]);
        assert_eq!(pieces[..2], [Piece::Line(0, 0), Piece::Line(1, 1)]);
        assert!(pieces.contains(&Piece::Line(500, 500)));
        assert_eq!(pieces.last(), Some(&Piece::Line(999, 999)));
    }

    proptest! {
        /// Nothing is lost: what is not shown is counted, and never twice in a row.
        #[test]
        fn every_line_is_shown_or_counted(
            total in 0u64..300,
            limit in 0u64..400,
            marked in proptest::collection::vec(0u64..300, 0..3),
        ) {
            let pieces = pieces(total, limit, &marked);
            let mut next = 0;
            let mut before = false;
            for piece in &pieces {
                match piece {
                    Piece::Line(number, line) => {
                        prop_assert_eq!((*number, *line), (next, next));
                        next += 1;
                        before = false;
                    }
                    Piece::Left(count) => {
                        prop_assert!(!before && *count > 0);
                        next += count;
                        before = true;
                    }
                }
            }
            prop_assert_eq!(next, total);
            let lines = pieces.iter().filter(|piece| matches!(piece, Piece::Line(..))).count() as u64;
            prop_assert!(lines >= limit.min(total));
            prop_assert!(lines <= limit.min(total) + marked.len() as u64 * (2 * AROUND + 1));
            let all = total <= limit;
            prop_assert!(!all || lines == total);
        }
    }
}
