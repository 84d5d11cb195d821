//! The keys of live objects that their calls describe completely.

use std::collections::HashMap;

use super::CallKey;
use crate::Handle;
use crate::journal::Entry;
use crate::policy::plan::Changes;

/// The keys of the calls that created objects, for as long as the objects are as those calls left
/// them. An object that a later call may have changed is no longer what its call made.
#[derive(Debug, Default)]
pub(super) struct Identities(HashMap<Handle, CallKey>);

impl Identities {
    /// The key of the call that created the object, if the object is still as it was.
    pub(super) fn of(&self, handle: Handle) -> Option<CallKey> {
        self.0.get(&handle).copied()
    }

    /// After an entry was appended. `key` is that of its call, if it has one.
    pub(super) fn note(&mut self, entry: &Entry, key: Option<CallKey>) {
        if !self.0.is_empty() {
            if entry.changes == Changes::Module {
                self.0.clear();
            }
            for handle in entry.touched() {
                self.0.remove(&handle);
            }
        }
        if let Some(key) = key {
            self.0
                .extend(entry.creates().map(|(handle, _)| (handle, key)));
        }
    }
}
