//! The history of a standby, to repeat it on another instance and compare.

use std::sync::Arc;

use crate::checkpoint::{Applied, Checkpoint, How, Lineage};
use crate::journal::Entry;

/// The entries that a standby has applied, in order.
#[derive(Debug)]
pub(crate) struct History {
    /// Those of the checkpoint that it came from, or that was taken of it.
    shared: Arc<[Applied]>,
    own: Vec<Applied>,
    /// The checkpoints that share it.
    lineage: Lineage,
    /// Whether a checkpoint may be taken, which needs the history.
    is_kept: bool,
}

impl History {
    /// The history of a fresh instance. If no checkpoint will be taken, nothing is kept: entries
    /// would outlive their compaction.
    pub(crate) fn begin(is_kept: bool) -> Self {
        Self {
            shared: Arc::new([]),
            own: Vec::new(),
            lineage: Lineage::default(),
            is_kept,
        }
    }

    /// The history of an instance made from a checkpoint.
    pub(crate) fn after(checkpoint: &Checkpoint) -> Self {
        Self {
            shared: Arc::clone(&checkpoint.history),
            own: Vec::new(),
            lineage: checkpoint.lineage().clone(),
            is_kept: true,
        }
    }

    pub(crate) fn push(&mut self, entry: &Arc<Entry>, how: How) {
        if !self.is_kept {
            return;
        }
        self.own.push(Applied {
            entry: Arc::clone(entry),
            how,
        });
    }

    /// How many entries it holds.
    pub(crate) fn len(&self) -> usize {
        self.shared.len() + self.own.len()
    }

    /// What a checkpoint of it belongs to.
    pub(crate) fn lineage(&self) -> Lineage {
        self.lineage.clone()
    }

    /// All of it, for a checkpoint.
    pub(crate) fn share(&mut self) -> Arc<[Applied]> {
        if !self.own.is_empty() {
            self.shared = self
                .shared
                .iter()
                .cloned()
                .chain(self.own.drain(..))
                .collect();
        }
        Arc::clone(&self.shared)
    }

    /// Takes everything, and keeps nothing from here on.
    pub(crate) fn take(&mut self) -> Self {
        let left = Self {
            lineage: self.lineage.clone(),
            ..Self::begin(false)
        };
        std::mem::replace(self, left)
    }
}
