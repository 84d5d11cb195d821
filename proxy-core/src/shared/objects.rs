//! The objects that are alive, for those who want to save them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Shared;
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
        let is_exportable = |func| self.config.plan.export(func).artifact.is_some();
        let older = journal.makers().iter().map(|(handle, maker)| LiveObject {
            handle: *handle,
            ty: maker.ty.clone(),
            made_by: Arc::clone(&maker.export),
            is_exportable: is_exportable(maker.func),
        });
        let objects = entries.iter().flat_map(|entry| {
            let is_exportable = is_exportable(entry.func);
            entry.creates().map(move |(handle, ty)| LiveObject {
                handle,
                ty: ty.clone(),
                made_by: Arc::clone(&entry.export),
                is_exportable,
            })
        });
        // A fold puts objects of entries among the older ones before it drops the entries.
        let objects = objects.filter(|object| !journal.makers().contains_key(&object.handle));
        older
            .chain(objects)
            .filter(|object| journal.is_live(object.handle))
            .collect()
    }

    /// The error, with the objects that are alive if the memory is full.
    #[cold]
    pub(crate) fn with_objects(&self, mut error: Error) -> Error {
        if let Error::Call(CallError::OutOfMemory { objects, .. }) = &mut error {
            let mut counts = BTreeMap::<Arc<str>, usize>::new();
            for object in self.live_objects() {
                *counts
                    .entry(object.ty.unwrap_or_else(|| "object".into()))
                    .or_default() += 1;
            }
            *objects = counts.iter().map(|(ty, n)| (ty.to_string(), *n)).collect();
            objects.sort_by_key(|(_, count)| Reverse(*count));
        }
        error
    }

    /// The export that gives an object's bytes.
    pub(crate) fn artifact_export(&self, object: Handle) -> Result<Arc<str>, Error> {
        let (func, made_by) = {
            let journal = self.journal.lock();
            let maker = journal.maker(object).filter(|_| journal.is_live(object));
            maker.ok_or_else(|| journal.handle_error(object))?
        };
        let plan = &self.config.plan;
        match plan.export(func).artifact {
            Some(artifact) => Ok(Arc::clone(&plan.export(artifact.export).name)),
            None => Err(CallError::NoArtifact {
                export: made_by.to_string(),
            }
            .into()),
        }
    }
}
