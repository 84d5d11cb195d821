//! Captures the state of an instance, and puts it into a new one.

use std::ptr::NonNull;
use std::sync::Arc;

use engine_api::{
    Error, GlobalIndex, MemoryImage, MemoryIndex, PAGE_BYTES, Snapshot, SnapshotParts, ValType,
};
use memory_image::Region;
use wasmtime::{Extern, Global, RootScope, Store};

use crate::caller::{FindExport, GuestAccess};
use crate::convert;
use crate::state::{Memory, State};
use crate::traps;

impl GuestAccess<Store<State>> {
    pub(crate) fn capture_state(&mut self) -> Result<Snapshot, Error> {
        let info = Arc::clone(&self.0.data().info);
        info.check_snapshots(self.0.data().engine.id())?;
        let memories = self.all_memories();
        let globals = self.mutable_globals();
        let mut images: Vec<(MemoryIndex, MemoryImage)> = Vec::with_capacity(memories.len());
        for (index, memory) in memories {
            let since = self.0.data().images.get(&index).cloned();
            let region = self.region(memory)?;
            #[expect(unsafe_code, reason = "the memory is moved into an image; see SAFETY")]
            // SAFETY: `region` is the whole of a memory of this store, as its engine has it at this
            // moment. Nothing runs in the store and nothing of it is borrowed: we have it by
            // `&mut`. Each memory lies in a reservation of its own, as the engine is not configured
            // to pool them. `since` is the image that was last mapped there, by this function or by
            // `restore_state`.
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
        self.0.data().info.check_snapshots(engine)?;
        for (index, memory) in self.all_memories() {
            let image = snapshot.memory(index)?;
            let size = memory.data_size(&self.0) as u64;
            self.grow(memory, snapshot.growth(index, size)?)?;
            let region = self.region(memory)?;
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

    /// Gives the pages of all memories back, in slices.
    pub(crate) fn discard_pages(&mut self) {
        // Other instances may have a shared memory too.
        if !self.0.data().exports.shared_memories.is_empty() {
            return;
        }
        for (_, memory) in self.all_memories() {
            if let Ok(region) = self.region(memory) {
                #[expect(unsafe_code, reason = "the memory's pages are given back; see SAFETY")]
                // SAFETY: as in `capture_state`.
                unsafe {
                    memory_image::discard(region);
                }
            }
        }
    }

    /// Every linear memory, exported or not, of a module without shared ones.
    fn all_memories(&mut self) -> Vec<(MemoryIndex, wasmtime::Memory)> {
        let state = self.0.data();
        let exports = Arc::clone(&state.exports);
        let imported = (0..).zip(&state.memories[..state.info.imported_memories()]);
        let mut memories: Vec<_> = imported
            .map(|(index, memory)| match memory {
                Some(Memory::Unshared(memory)) => (MemoryIndex(index), *memory),
                _ => unreachable!("an imported memory is there from the start"),
            })
            .collect();
        for (index, export) in &exports.own_memories {
            let memory = self.0.find_export(export).and_then(Extern::into_memory);
            memories.push((*index, memory.expect("the module exports it")));
        }
        memories
    }

    fn global_type(&self, global: GlobalIndex) -> ValType {
        self.0.data().info.globals()[global.0 as usize].value
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
    fn grow(&mut self, memory: wasmtime::Memory, missing: u64) -> Result<(), Error> {
        if missing == 0 {
            return Ok(());
        }
        let limit = self.0.data().limiter.memory_bytes_max();
        let needed = self.0.data().limiter.memory_bytes().saturating_add(missing);
        let grown = memory.grow(&mut self.0, missing / PAGE_BYTES);
        grown.map(drop).map_err(|_| Error::Limit {
            what: "bytes of memory",
            needed,
            limit,
        })
    }

    /// Where a memory lies at this moment.
    fn region(&self, memory: wasmtime::Memory) -> Result<Region, Error> {
        let base = NonNull::new(memory.data_ptr(&self.0)).unwrap_or(NonNull::dangling());
        Ok(Region::new(base, memory.data_size(&self.0))?)
    }
}
