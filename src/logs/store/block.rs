//! A run of entries of one source.

use crate::domain::line::{Channel, Mark};
use crate::text::level::Level;

/// A record of an engine's log holds at most this much; a longer line takes several.
const RECORD_BYTES: usize = 16 << 10;

/// The place of an entry within its source: nanoseconds since 1970, and which of the entries of
/// that very time it is.
pub(super) type Key = (i64, u32);

/// Marks come after the lines of their time, and are not counted with them: the engine's log has
/// lines only, and a line that is read again must get the key that it had.
pub(super) const FIRST_MARK: u32 = 1 << 31;

/// Entries in their order; the text of a late one still stands at the end of `text`.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    text: Vec<u8>,
    rows: Vec<Row>,
    marks: Vec<Mark>,
    bytes: usize,
    records: u64,
    /// A bit for each level that a line of the block has itself.
    levels: u8,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    at: i64,
    ordinal: u32,
    /// Where its text begins; of a mark, which it is.
    start: u32,
    /// Length of its text, and what it is.
    packed: u32,
}

const LEN_BITS: u32 = 24;
const LEN_MASK: u32 = (1 << LEN_BITS) - 1;
const KIND_ERR: u32 = 1 << LEN_BITS;
const KIND_MARK: u32 = 1 << (LEN_BITS + 1);
const INHERITED: u32 = 1 << (LEN_BITS + 2);
const LEVEL_SHIFT: u32 = LEN_BITS + 3;

/// What a line is worth, and whether it says so itself or belongs to a line that did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    pub level: Option<Level>,
    pub inherited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// Raw bytes without the newline.
    Line {
        channel: Channel,
        weight: Weight,
        bytes: &'a [u8],
    },
    Mark(&'a Mark),
}

/// An entry that is to be kept.
#[derive(Clone, Debug)]
pub(super) enum Addition<'a> {
    Line {
        channel: Channel,
        weight: Weight,
        bytes: &'a [u8],
    },
    Mark(Mark),
}

impl Addition<'_> {
    /// Bytes that keeping it takes.
    pub(super) fn size(&self) -> usize {
        size_of::<Row>()
            + match self {
                Self::Line { bytes, .. } => bytes.len(),
                Self::Mark(_) => size_of::<Mark>(),
            }
    }
}

impl Row {
    fn key(&self) -> Key {
        (self.at, self.ordinal)
    }

    fn weight(&self) -> Weight {
        Weight {
            level: u8::try_from(self.packed >> LEVEL_SHIFT)
                .ok()
                .and_then(Level::from_u8),
            inherited: self.packed & INHERITED != 0,
        }
    }
}

impl Block {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes that it takes, with the overhead.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many records of the engine's log its lines are.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn first(&self) -> Option<Key> {
        self.rows.first().map(Row::key)
    }

    pub(super) fn last(&self) -> Option<Key> {
        self.rows.last().map(Row::key)
    }

    pub(super) fn key(&self, row: usize) -> Option<Key> {
        self.rows.get(row).map(Row::key)
    }

    /// The first row that does not come before `key`.
    pub(super) fn seek(&self, key: Key) -> usize {
        self.rows.partition_point(|row| row.key() < key)
    }

    pub(super) fn content(&self, row: usize) -> Option<Content<'_>> {
        let row = self.rows.get(row)?;
        self.content_of(row)
    }

    fn content_of(&self, row: &Row) -> Option<Content<'_>> {
        let start = row.start as usize;
        if row.packed & KIND_MARK != 0 {
            return self.marks.get(start).map(Content::Mark);
        }
        let len = (row.packed & LEN_MASK) as usize;
        Some(Content::Line {
            channel: match row.packed & KIND_ERR {
                0 => Channel::Out,
                _ => Channel::Err,
            },
            weight: row.weight(),
            bytes: self.text.get(start..start + len)?,
        })
    }

    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = (Key, Content<'_>)> {
        self.rows
            .iter()
            .filter_map(|row| Some((row.key(), self.content_of(row)?)))
    }

    /// Whether a line of it says itself that it is of `level` or above.
    pub(super) fn reaches(&self, level: Level) -> bool {
        self.levels >> (level as u8) != 0
    }

    /// The marks, which are few, to be kept beyond the block.
    pub(super) fn marks(&self) -> impl Iterator<Item = (Key, Mark)> {
        self.entries().filter_map(|(key, content)| match content {
            Content::Mark(mark) => Some((key, mark.clone())),
            Content::Line { .. } => None,
        })
    }

    /// Adds an entry at its place. The caller sees to it that no other has its key.
    pub(super) fn insert(&mut self, key: Key, addition: Addition<'_>) {
        self.bytes += addition.size();
        let (start, packed) = match addition {
            Addition::Mark(mark) => {
                self.marks.push(mark);
                (self.marks.len() - 1, KIND_MARK)
            }
            Addition::Line {
                channel,
                weight,
                bytes,
            } => {
                // Lines are cut far below this where they are assembled.
                let bytes = bytes.get(..LEN_MASK as usize).unwrap_or(bytes);
                self.text.extend_from_slice(bytes);
                self.records += (bytes.len() / RECORD_BYTES) as u64 + 1;
                let mut packed = u32::try_from(bytes.len()).unwrap_or(LEN_MASK);
                if channel == Channel::Err {
                    packed |= KIND_ERR;
                }
                if weight.inherited {
                    packed |= INHERITED;
                }
                if let Some(level) = weight.level {
                    packed |= (level as u32) << LEVEL_SHIFT;
                    if !weight.inherited {
                        self.levels |= 1 << (level as u8);
                    }
                }
                (self.text.len() - bytes.len(), packed)
            }
        };
        let row = Row {
            at: key.0,
            ordinal: key.1,
            start: u32::try_from(start).unwrap_or(u32::MAX),
            packed,
        };
        if self.rows.last().is_none_or(|last| last.key() < key) {
            self.rows.push(row);
        } else {
            let place = self.seek(key);
            self.rows.insert(place, row);
        }
    }

    /// Takes what does not come before `key` out of it, as another block.
    pub(super) fn split_off(&mut self, key: Key) -> Self {
        let (mut before, mut behind) = (Self::default(), Self::default());
        for (own, content) in self.entries() {
            let addition = match content {
                Content::Mark(mark) => Addition::Mark(mark.clone()),
                Content::Line {
                    channel,
                    weight,
                    bytes,
                } => Addition::Line {
                    channel,
                    weight,
                    bytes,
                },
            };
            let into = if own < key { &mut before } else { &mut behind };
            into.insert(own, addition);
        }
        *self = before;
        behind
    }

    /// Nothing more will come at its end.
    pub(super) fn seal(&mut self) {
        self.text.shrink_to_fit();
        self.rows.shrink_to_fit();
    }
}
