//! What a store holds at one moment, shared and not copied.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::LineId;
use super::block::{Block, Content};
use super::source::Source;

/// Blocks of several sources, from the newest to the oldest: what is sought is more likely there.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    blocks: Vec<Owned>,
}

/// A block and the number of its source.
type Owned = (u32, Arc<Block>);

impl Snapshot {
    pub(super) fn new(parts: &[(u32, &Source)]) -> Self {
        let mut blocks: Vec<Owned> = parts
            .iter()
            .flat_map(|(own, source)| source.blocks().map(|block| (*own, Arc::clone(block))))
            .collect();
        blocks.sort_by_key(|(_, block)| std::cmp::Reverse(block.last()));
        Self { blocks }
    }

    /// Bytes to look through.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(|(_, block)| block.bytes()).sum()
    }

    /// Looks through everything and hands over, block by block, the entries that `passes` finds,
    /// in their order, and the bytes of the block.
    pub fn scan(
        &self,
        mut passes: impl FnMut(&Content<'_>) -> bool,
        mut found: impl FnMut(Vec<LineId>, usize) -> ControlFlow<()>,
    ) {
        for (own, block) in &self.blocks {
            let hits = block
                .entries()
                .filter(|(_, content)| passes(content))
                .map(|(key, _)| LineId::new(key, *own))
                .collect();
            if found(hits, block.bytes()).is_break() {
                return;
            }
        }
    }

    /// The entries of each source, in their order.
    pub fn sources(&self) -> Vec<impl Iterator<Item = (LineId, Content<'_>)>> {
        let mut blocks: BTreeMap<u32, Vec<&Block>> = BTreeMap::new();
        for (own, block) in self.blocks.iter().rev() {
            blocks.entry(*own).or_default().push(block);
        }
        let entries = |(own, blocks): (u32, Vec<_>)| {
            let entries = blocks.into_iter().flat_map(Block::entries);
            entries.map(move |(key, content)| (LineId::new(key, own), content))
        };
        blocks.into_iter().map(entries).collect()
    }
}

/// Two are the same only if they share the same blocks.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Owned, &Owned)| a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1);
        self.blocks.len() == other.blocks.len() && self.blocks.iter().zip(&other.blocks).all(same)
    }
}

impl Eq for Snapshot {}
