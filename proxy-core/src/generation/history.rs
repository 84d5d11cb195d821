//! The history of a standby, to repeat it on another instance and compare.

use std::sync::Arc;

use crate::Error;
use crate::checkpoint::{Applied, Checkpoint, How, Lineage};
use crate::journal::{Entry, GuestWrite, HostCall};

/// The entries that a standby has applied, in order.
#[derive(Debug)]
pub(crate) struct History {
    /// Those of the checkpoint that it came from, or that was taken of it.
    shared: Arc<[Applied]>,
    own: Vec<Applied>,
    /// The checkpoints that share it.
    lineage: Lineage,
    /// Why it has state outside memories and globals, if it does.
    obstacle: Option<String>,
    /// Whether a checkpoint may be taken, which needs the history.
    is_kept: bool,
}

impl History {
    /// The history of a fresh instance, whose start function made these host calls. If no
    /// checkpoint will be taken, nothing is kept: entries would outlive their compaction.
    pub(crate) fn begin(genesis: &[HostCall], is_kept: bool) -> Self {
        Self {
            shared: Arc::new([]),
            own: Vec::new(),
            lineage: Lineage::default(),
            obstacle: changes_table(genesis).then(|| obstacle("the start function")),
            is_kept,
        }
    }

    /// The history of an instance made from a checkpoint.
    pub(crate) fn after(checkpoint: &Checkpoint) -> Self {
        Self {
            shared: Arc::clone(&checkpoint.history),
            own: Vec::new(),
            lineage: checkpoint.lineage().clone(),
            obstacle: None,
            is_kept: true,
        }
    }

    pub(crate) fn push(&mut self, entry: &Arc<Entry>, how: How) {
        if !self.is_kept {
            return;
        }
        if self.obstacle.is_none() && changes_table(&entry.host_calls) {
            self.obstacle = Some(obstacle(&format!("entry {}", entry.sequence)));
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
    ///
    /// # Errors
    ///
    /// [`Error::NoCheckpoint`].
    pub(crate) fn share(&mut self) -> Result<Arc<[Applied]>, Error> {
        if let Some(obstacle) = &self.obstacle {
            return Err(Error::NoCheckpoint {
                reasons: obstacle.clone(),
            });
        }
        if !self.own.is_empty() {
            self.shared = self
                .shared
                .iter()
                .cloned()
                .chain(self.own.drain(..))
                .collect();
        }
        Ok(Arc::clone(&self.shared))
    }

    /// Drops everything, and keeps nothing from here on.
    pub(crate) fn forget(&mut self) {
        self.is_kept = false;
        self.shared = Arc::new([]);
        self.own = Vec::new();
    }
}

/// Whether one of them changed a table. The analysis of the module looks at its own instructions,
/// and host functions reach tables too.
fn changes_table(calls: &[HostCall]) -> bool {
    calls.iter().flat_map(|call| &call.writes).any(|effect| {
        matches!(
            effect,
            GuestWrite::GrowTable { .. } | GuestWrite::SetElement { .. }
        )
    })
}

fn obstacle(who: &str) -> String {
    format!("a host function changed a table in {who}, and a checkpoint does not hold tables")
}
