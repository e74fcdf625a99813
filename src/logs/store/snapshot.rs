//! What a store holds at one moment, shared and not copied.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::LineId;
use super::block::{Block, Content};
use super::source::Source;

/// A block, and which source it is of.
type Part = (u32, Arc<Block>);

/// Blocks of several sources, from the newest to the oldest: what is sought is more likely there.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    blocks: Vec<Part>,
}

impl Snapshot {
    pub(super) fn new(parts: &[(u32, &Source)]) -> Self {
        let mut blocks: Vec<Part> = parts
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
}

/// Two are the same only if they share the same blocks.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Part, &Part)| a.0 == b.0 && Arc::ptr_eq(&a.1, &b.1);
        self.blocks.len() == other.blocks.len() && self.blocks.iter().zip(&other.blocks).all(same)
    }
}

impl Eq for Snapshot {}
