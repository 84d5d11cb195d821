//! The objects that are alive, for those who want to save them.

use std::sync::Arc;

use super::Shared;
use crate::journal::Entry;
use crate::{CallError, Error, Handle};

/// An object that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveObject {
    /// Its name.
    pub handle: Handle,
    /// Its type, if the policy gives one.
    pub ty: Option<Arc<str>>,
    /// The export whose call made it.
    pub made_by: Arc<str>,
    /// Whether the policy names an export that gives its bytes: see
    /// [`Proxy::export_object`](crate::Proxy::export_object).
    pub is_exportable: bool,
}

impl Shared {
    pub(crate) fn live_objects(&self) -> Vec<LiveObject> {
        // The entries are read in slices; an object may be freed meanwhile.
        let entries = self.journal.entries();
        let journal = self.journal.lock();
        let objects = entries.iter().flat_map(|entry| {
            let is_exportable = self.config.plan.export(entry.func).artifact.is_some();
            entry.creates().map(move |(handle, ty)| LiveObject {
                handle,
                ty: ty.clone(),
                made_by: Arc::clone(&entry.export),
                is_exportable,
            })
        });
        objects
            .filter(|object| journal.is_live(object.handle))
            .collect()
    }

    /// The export that gives an object's bytes.
    pub(crate) fn artifact_export(&self, object: Handle) -> Result<Arc<str>, Error> {
        let maker = {
            let journal = self.journal.lock();
            let made = journal.entry(object.sequence());
            let makes = |entry: &Arc<Entry>| entry.creates().any(|(made, _)| made == object);
            let alive = made.filter(|entry| makes(entry) && journal.is_live(object));
            alive.ok_or_else(|| journal.handle_error(object))?
        };
        let plan = &self.config.plan;
        match plan.export(maker.func).artifact {
            Some(artifact) => Ok(Arc::clone(&plan.export(artifact.export).name)),
            None => Err(CallError::NoArtifact {
                export: maker.export.to_string(),
            }
            .into()),
        }
    }
}
