//! Captures the state of an instance, and puts it into a new one.

use std::ptr::NonNull;
use std::sync::Arc;

use engine_api::{
    Attachments, Error, GlobalIndex, Held, MemoryImage, MemoryIndex, PAGE_BYTES, Snapshot,
    SnapshotParts, Val, ValType,
};
use memory_image::Region;
use wasmtime::{Extern, Global, RootScope, Store};

use crate::caller::{FindExport, GuestAccess};
use crate::state::{Memory, State};
use crate::{convert, shared_memory, traps};

impl GuestAccess<Store<State>> {
    pub(crate) fn capture_state(&mut self) -> Result<Snapshot, Error> {
        let info = Arc::clone(&self.0.data().info);
        let memories = self.all_memories();
        let globals = self.mutable_globals();
        let mut images: Vec<(MemoryIndex, MemoryImage)> = Vec::with_capacity(memories.len());
        for (index, memory) in memories {
            let attachments = self.attachments(index);
            let _held = self.hold(index, attachments.as_deref())?;
            let since = self.0.data().images.get(&index).cloned();
            let region = self.region(&memory)?;
            #[expect(unsafe_code, reason = "the memory is moved into an image; see SAFETY")]
            // SAFETY: `region` is the whole of a memory of this store, as its engine has it at this
            // moment. Nothing runs in the store and nothing of it is borrowed: we have it by
            // `&mut`. A shared memory is in no other store and is held, so no other thread can
            // access it; one of the module's own cannot be given to another store. Each memory lies
            // in a reservation of its own, as the engine is not configured to pool them. `since` is
            // the image that was last mapped there, by this function or by `restore_state`: only
            // the store that has a memory alone maps any.
            let image = unsafe { MemoryImage::capture(region, since.as_ref()) }?;
            self.0.data_mut().images.insert(index, image.clone());
            images.push((index, image));
        }
        let mut parts = SnapshotParts {
            memories: images,
            ..SnapshotParts::empty(info.hash())
        };
        let mut store = RootScope::new(&mut self.0);
        for (index, global) in globals {
            if !info.globals()[index.0 as usize].value.is_reference() {
                let value = global.get(&mut store);
                let value = convert::from_wasmtime(&mut store, &value)?;
                parts.globals.push((index, value));
            }
        }
        drop(store);
        self.capture_references(&mut parts)?;
        Ok(Snapshot::new(parts))
    }

    /// Puts the state of a snapshot of the same module into the instance, in which nothing has run.
    pub(crate) fn restore_state(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let engine = self.0.data().engine.id();
        for (index, memory) in self.all_memories() {
            let attachments = self.attachments(index);
            let _held = self.hold(index, attachments.as_deref())?;
            let image = snapshot.memory(index)?;
            let size = match &memory {
                Memory::Unshared(memory) => memory.data_size(&self.0),
                Memory::Shared(memory) => memory.data_size(),
            };
            self.grow(&memory, snapshot.growth(index, size as u64)?)?;
            let region = self.region(&memory)?;
            #[expect(unsafe_code, reason = "an image is mapped over the memory; see SAFETY")]
            // SAFETY: as in `capture_state`.
            unsafe { image.restore(region) }?;
            self.0.data_mut().images.insert(index, image.clone());
        }
        for (index, global) in self.mutable_globals() {
            if self.global_type(index).is_reference() {
                continue;
            }
            let value = snapshot.global(index)?;
            let mut store = RootScope::new(&mut self.0);
            let value = convert::to_wasmtime(&mut store, value)?;
            global
                .set(&mut store, value)
                .map_err(|error| traps::failed(engine, "set a global", error))?;
        }
        self.restore_references(snapshot)
    }

    /// Gives the pages of all unshared memories back, in slices.
    pub(crate) fn discard_pages(&mut self) {
        for (_, memory) in self.all_memories() {
            let is_shared = matches!(memory, Memory::Shared(_));
            if let (false, Ok(region)) = (is_shared, self.region(&memory)) {
                #[expect(unsafe_code, reason = "the memory's pages are given back; see SAFETY")]
                // SAFETY: as in `capture_state`.
                unsafe {
                    memory_image::discard(region);
                }
            }
        }
    }

    /// Every linear memory, exported or not.
    fn all_memories(&mut self) -> Vec<(MemoryIndex, Memory)> {
        let state = self.0.data();
        let exports = Arc::clone(&state.exports);
        let imported = (0..).zip(&state.memories[..state.info.imported_memories()]);
        let mut memories: Vec<_> = imported
            .map(|(index, memory)| {
                let memory = memory.clone();
                let memory = memory.expect("an imported memory is there from the start");
                (MemoryIndex(index), memory)
            })
            .collect();
        for (index, export) in &exports.own_memories {
            let memory = match self.0.find_export(export) {
                Some(Extern::Memory(memory)) => Memory::Unshared(memory),
                Some(Extern::SharedMemory(memory)) => Memory::Shared(memory),
                _ => unreachable!("the module exports it"),
            };
            memories.push((*index, memory));
        }
        memories
    }

    fn global_type(&self, global: GlobalIndex) -> ValType {
        self.0.data().info.globals()[global.0 as usize].value
    }

    /// The value of a mutable global of numbers, exported or not.
    pub(crate) fn any_global(&mut self, index: GlobalIndex) -> Result<Val, Error> {
        let state = self.0.data();
        let info = Arc::clone(&state.info);
        let exports = Arc::clone(&state.exports);
        let no_such = || Error::NoSuchExport {
            kind: "global",
            name: index.0.to_string(),
        };
        let ty = info.globals().get(index.0 as usize);
        if ty.is_none_or(|ty| !ty.mutable || ty.value.is_reference()) {
            return Err(no_such());
        }
        let global = if (index.0 as usize) < info.imported_globals() {
            state.globals[index.0 as usize]
        } else {
            let mut own = exports.own_globals.iter();
            let export = own.find(|(own, _)| *own == index);
            let (_, export) = export.ok_or_else(no_such)?;
            self.0.find_export(export).and_then(Extern::into_global)
        };
        let global = global.ok_or_else(no_such)?;
        let mut store = RootScope::new(&mut self.0);
        let value = global.get(&mut store);
        convert::from_wasmtime(&mut store, &value)
    }

    /// Every mutable global, exported or not.
    pub(crate) fn mutable_globals(&mut self) -> Vec<(GlobalIndex, Global)> {
        let state = self.0.data();
        let exports = Arc::clone(&state.exports);
        let imported = (0..).zip(&state.globals[..state.info.imported_globals()]);
        let mut globals: Vec<_> = imported
            .zip(state.info.globals())
            .filter(|(_, ty)| ty.mutable)
            .map(|((index, global), _)| {
                let global = global.expect("an imported global is there from the start");
                (GlobalIndex(index), global)
            })
            .collect();
        for (index, export) in &exports.own_globals {
            let global = self.0.find_export(export).and_then(Extern::into_global);
            globals.push((*index, global.expect("the module exports it")));
        }
        globals
    }

    /// Grows a memory by the bytes that its image has more, under the limits.
    fn grow(&mut self, memory: &Memory, missing: u64) -> Result<(), Error> {
        if missing == 0 {
            return Ok(());
        }
        let memory = match memory {
            Memory::Unshared(memory) => memory,
            Memory::Shared(memory) => return grow_shared(memory, missing),
        };
        let limit = self.0.data().limiter.memory_bytes_max();
        let needed = self.0.data().limiter.memory_bytes().saturating_add(missing);
        let grown = memory.grow(&mut self.0, missing / PAGE_BYTES);
        grown.map(drop).map_err(|_| Error::Limit {
            what: "bytes of memory",
            needed,
            limit,
        })
    }

    /// All instances that have a shared memory which this one imports.
    fn attachments(&self, memory: MemoryIndex) -> Option<Arc<Attachments>> {
        let attachment = self.0.data().attachments.get(&memory)?;
        Some(Arc::clone(attachment.all()))
    }

    /// Keeps everybody else away from a memory, if this instance has it alone.
    fn hold<'a>(
        &self,
        memory: MemoryIndex,
        attachments: Option<&'a Attachments>,
    ) -> Result<Option<Held<'a>>, Error> {
        let Some(attachments) = attachments else {
            return Ok(None);
        };
        let held = attachments.hold(1);
        held.map(Some).ok_or_else(|| Error::Unsupported {
            engine: self.0.data().engine.id(),
            what: format!("snapshots while others have shared memory {} too", memory.0),
        })
    }

    /// Where a memory lies at this moment.
    fn region(&self, memory: &Memory) -> Result<Region, Error> {
        let memory = match memory {
            Memory::Unshared(memory) => memory,
            Memory::Shared(memory) => return shared_memory::region(memory),
        };
        let base = NonNull::new(memory.data_ptr(&self.0)).unwrap_or(NonNull::dangling());
        Ok(Region::new(base, memory.data_size(&self.0))?)
    }
}

/// Grows a shared memory, whose maximum is its only limit.
fn grow_shared(memory: &wasmtime::SharedMemory, missing: u64) -> Result<(), Error> {
    let grown = memory.grow(missing / PAGE_BYTES);
    grown.map(drop).map_err(|_| Error::Limit {
        what: "bytes of memory",
        needed: memory.data_size() as u64 + missing,
        limit: memory
            .ty()
            .maximum()
            .unwrap_or(0)
            .saturating_mul(PAGE_BYTES),
    })
}
