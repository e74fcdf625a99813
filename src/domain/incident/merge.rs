//! Several sources as one, ordered by (time, source, place in the source).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::Timestamp;

/// Merges sources that are read lazily: of each no more than its next piece is held.
///
/// The order within a source is never changed: where its time runs backwards, what comes next is
/// given the time of what came before.
pub fn merge<I, T>(sources: Vec<I>) -> Merge<I, T>
where
    I: Iterator<Item = (Timestamp, T)>,
{
    let mut merge = Merge {
        latest: vec![Timestamp::MIN; sources.len()],
        next: sources.iter().map(|_| None).collect(),
        sources,
        heads: BinaryHeap::new(),
    };
    for source in 0..merge.sources.len() {
        merge.advance(source);
    }
    merge
}

/// See [`merge`]. Gives the number of the source with each piece.
#[derive(Debug)]
pub struct Merge<I, T> {
    sources: Vec<I>,
    /// The time of the last piece of each source.
    latest: Vec<Timestamp>,
    next: Vec<Option<T>>,
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
}

impl<I, T> Merge<I, T>
where
    I: Iterator<Item = (Timestamp, T)>,
{
    fn advance(&mut self, source: usize) {
        let (Some(reader), Some(latest), Some(next)) = (
            self.sources.get_mut(source),
            self.latest.get_mut(source),
            self.next.get_mut(source),
        ) else {
            return;
        };
        if let Some((at, piece)) = reader.next() {
            *latest = at.max(*latest);
            *next = Some(piece);
            self.heads.push(Reverse((*latest, source)));
        }
    }
}

impl<I, T> Iterator for Merge<I, T>
where
    I: Iterator<Item = (Timestamp, T)>,
{
    type Item = (usize, Timestamp, T);

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((at, source)) = self.heads.pop()?;
        let piece = self.next.get_mut(source)?.take()?;
        self.advance(source);
        Some((source, at, piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Each piece is its place in its source.
    fn merged(sources: &[Vec<i64>]) -> Vec<(usize, Timestamp, usize)> {
        let sources = sources.iter().map(|times| {
            let times = times.iter().enumerate();
            times.map(|(place, time)| (at(*time), place))
        });
        merge(sources.collect()).collect()
    }

    #[test]
    fn equal_times_stand_in_the_order_of_the_sources() {
        let order = merged(&[vec![1, 2, 2], vec![0, 2, 3], vec![2]]);
        let order: Vec<(usize, usize)> = order.iter().map(|(source, _, n)| (*source, *n)).collect();
        assert_eq!(
            order,
            [(1, 0), (0, 0), (0, 1), (0, 2), (1, 1), (2, 0), (1, 2)]
        );
    }

    #[test]
    fn a_clock_that_is_set_back_changes_no_order() {
        let order = merged(&[vec![5, 1, 6], vec![2, 5]]);
        let order: Vec<_> = order
            .iter()
            .map(|(source, at, n)| (*source, at.as_second(), *n))
            .collect();
        assert_eq!(
            order,
            [(1, 2, 0), (0, 5, 0), (0, 5, 1), (1, 5, 1), (0, 6, 2)]
        );
    }

    proptest! {
        #[test]
        fn it_is_ordered_complete_and_stable(
            sources in proptest::collection::vec(proptest::collection::vec(0i64..20, 0..30), 0..6),
        ) {
            let order = merged(&sources);
            prop_assert_eq!(order.len(), sources.iter().map(Vec::len).sum::<usize>());
            let keys: Vec<_> = order.iter().map(|(source, at, n)| (*at, *source, *n)).collect();
            prop_assert!(keys.is_sorted());
            for (source, times) in sources.iter().enumerate() {
                let own: Vec<usize> =
                    order.iter().filter(|(other, ..)| *other == source).map(|(.., n)| *n).collect();
                prop_assert!(own.iter().copied().eq(0..times.len()));
            }
            // Where its time never runs backwards, each keeps its own.
            if sources.iter().all(|times| times.is_sorted()) {
                for (source, time, n) in order {
                    prop_assert_eq!(time, at(sources[source][n]));
                }
            }
        }
    }
}
