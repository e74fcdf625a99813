//! One part of a selection, so that several machines share it.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::domain::replay::{Replay, ReplayName};

/// The part `index` of `count`. All parts together are the whole, and none has a replay of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    way: Way,
    /// From 1.
    index: u32,
    count: NonZeroU32,
}

/// How the parts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the replay's name: it stays in its part whatever else is selected.
    Hash,
    /// In turn: the parts differ in size by one at most.
    Slice,
}

/// Not a shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    #[error("write K/N, such as 1/4, or slice:K/N")]
    Form,
    #[error("there is no part {index} of {count}: K is from 1 to N")]
    Index { index: u32, count: u32 },
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (way, part) = match text.split_once(':') {
            Some(("slice", part)) => (Way::Slice, part),
            Some(("hash", part)) => (Way::Hash, part),
            Some(_) => return Err(ShardError::Form),
            None => (Way::Hash, text),
        };
        let (index, count) = part.split_once('/').ok_or(ShardError::Form)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| ShardError::Form);
        let (index, total) = (number(index)?, number(count)?);
        match NonZeroU32::new(total) {
            Some(count) if (1..=total).contains(&index) => Ok(Self { way, index, count }),
            _ => Err(ShardError::Index {
                index,
                count: total,
            }),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Hash => "",
            Way::Slice => "slice:",
        };
        write!(f, "{way}{}/{}", self.index, self.count)
    }
}

impl Shard {
    /// The replays of this part, in their order.
    pub(super) fn of(self, replays: &[Arc<Replay>]) -> Vec<Arc<Replay>> {
        replays
            .iter()
            .enumerate()
            .filter(|(position, replay)| self.part(*position, &replay.name) == self.index)
            .map(|(_, replay)| replay.clone())
            .collect()
    }

    fn part(self, position: usize, name: &ReplayName) -> u32 {
        let number = match self.way {
            Way::Slice => position as u64,
            Way::Hash => hash(name),
        };
        // Less than the count, which is a u32.
        (number % u64::from(self.count.get())) as u32 + 1
    }
}

/// The same on every machine and in every version: the first eight bytes of SHA-256.
fn hash(name: &ReplayName) -> u64 {
    let digest = Sha256::digest(name.as_str().as_bytes());
    digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::replay::Header;

    fn replays(names: &BTreeSet<String>) -> Vec<Arc<Replay>> {
        names
            .iter()
            .map(|name| {
                Arc::new(Replay {
                    name: ReplayName::new(name.as_str()),
                    suite: crate::domain::suite::SuiteName::default(),
                    path: name.into(),
                    file: name.clone(),
                    header: Header::default(),
                })
            })
            .collect()
    }

    fn names(replays: &[Arc<Replay>]) -> Vec<&str> {
        replays.iter().map(|replay| replay.name.as_str()).collect()
    }

    fn parts(way: &str, count: u32, replays: &[Arc<Replay>]) -> Vec<Vec<Arc<Replay>>> {
        (1..=count)
            .map(|index| format!("{way}{index}/{count}").parse::<Shard>().unwrap())
            .map(|shard| shard.of(replays))
            .collect()
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole_and_share_nothing(
            all in proptest::collection::btree_set(".{0,8}", 0..40),
            count in 1..9_u32,
        ) {
            let replays = replays(&all);
            for way in ["", "hash:", "slice:"] {
                let parts = parts(way, count, &replays);
                let mut together: Vec<&str> = parts.iter().flat_map(|part| names(part)).collect();
                together.sort_unstable();
                prop_assert_eq!(&together, &names(&replays));
                if way == "slice:" {
                    let sizes = parts.iter().map(Vec::len);
                    prop_assert!(sizes.clone().max() <= sizes.min().map(|least| least + 1));
                }
            }
        }

        #[test]
        fn by_hash_a_replay_stays_where_it_is_when_others_go(
            all in proptest::collection::btree_set("[a-z]{1,8}", 2..40),
            count in 1..9_u32,
        ) {
            let whole = replays(&all);
            let fewer = &whole[1..];
            for (before, after) in parts("", count, &whole).iter().zip(parts("", count, fewer)) {
                let mut kept = names(before);
                kept.retain(|name| *name != whole[0].name.as_str());
                prop_assert_eq!(kept, names(&after));
            }
        }
    }

    /// A version that counts otherwise would run a replay twice, or never, beside an older one.
    #[test]
    fn the_hash_is_the_same_for_ever() {
        let of = |name: &str| hash(&ReplayName::new(name));
        assert_eq!(of("peer-discovery-404"), 0xb5f4_c712_4458_6fb8);
        assert_eq!(of(""), 0xe3b0_c442_98fc_1c14);
    }

    #[test]
    fn a_mistake_says_what_to_write() {
        let error = |text: &str| text.parse::<Shard>().unwrap_err().to_string();
        for text in ["", "1", "1/", "/2", "a/2", "-1/2", "count:1/2", "1/2/3"] {
            assert_eq!(
                error(text),
                "write K/N, such as 1/4, or slice:K/N",
                "{text:?}"
            );
        }
        for text in ["0/2", "3/2", "1/0"] {
            assert!(error(text).starts_with("there is no part"), "{text}");
        }
        for (text, shown) in [
            ("2/3", "2/3"),
            ("hash:2/3", "2/3"),
            ("slice:1/1", "slice:1/1"),
        ] {
            assert_eq!(text.parse::<Shard>().unwrap().to_string(), shown);
        }
    }
}
