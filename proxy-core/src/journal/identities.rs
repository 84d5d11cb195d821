//! What live objects are, where their calls say all about them.

use std::collections::HashMap;

use super::Entry;
use crate::Handle;
use crate::artifact_store::CallKey;
use crate::policy::plan::Changes;

/// The keys of the calls that created objects, for as long as the objects are as those calls left
/// them. An object that a later call may have changed is no longer what its call made.
#[derive(Debug, Default)]
pub(crate) struct Identities(HashMap<Handle, CallKey>);

impl Identities {
    /// The key of the call that created the object, if the object is still as it was.
    pub(crate) fn of(&self, handle: Handle) -> Option<CallKey> {
        self.0.get(&handle).copied()
    }

    /// After an entry was appended.
    pub(super) fn note(&mut self, entry: &Entry) {
        if !self.0.is_empty() {
            if entry.changes == Changes::Module {
                self.0.clear();
            }
            for handle in entry.touched() {
                self.0.remove(&handle);
            }
        }
        if let Some(key) = entry.artifact.key() {
            self.0
                .extend(entry.creates().map(|(handle, _)| (handle, key)));
        }
    }
}
