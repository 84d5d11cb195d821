//! Captures the state of an instance, and puts it into a new one.

use std::sync::Arc;

use engine_api::{
    Error, GlobalIndex, Held, MemoryImage, MemoryIndex, PAGE_BYTES, Snapshot, SnapshotParts,
};
use memory_image::Region;
use wasmer_types::{ExportIndex, Pages};
use wasmer_vm::{InternalStoreHandle, LinearMemory, VMExtern, VMMemory};

use crate::shared_memory::SharedState;
use crate::state::{InstanceState, lookup};

impl InstanceState {
    pub(crate) fn capture(&self) -> Result<Snapshot, Error> {
        let info = &self.compiled.info;
        let mut images: Vec<(MemoryIndex, MemoryImage)> = Vec::new();
        for (index, memory) in self.all_memories() {
            let region = self.region(memory)?;
            let _held = self.hold(index, memory)?;
            let since = self.images.borrow().get(&index).cloned();
            // SAFETY: `region` is the whole of a memory of this guest, as wasmer has it at this
            // moment. No guest code runs, as its instance is borrowed by `&mut`, and wasmer keeps
            // no references into memories. A shared memory is in no other instance and is held, so
            // no other thread can access it. Each lies in a reservation of its own, of which wasmer
            // asks only that it can be accessed and unmapped. `since` is the image that was last
            // mapped there, by this function or by `restore`: only the instance that has a memory
            // alone maps any.
            let image = unsafe { MemoryImage::capture(region, since.as_ref()) }?;
            self.images.borrow_mut().insert(index, image.clone());
            images.push((index, image));
        }
        let globals = info.mutable_globals().filter(|(_, ty)| !ty.is_reference());
        let values = globals.map(|(index, ty)| (index, self.value(self.any_global(index), ty)));
        let mut parts = SnapshotParts {
            memories: images,
            globals: values.collect(),
            ..SnapshotParts::empty(info.hash())
        };
        self.capture_references(&mut parts)?;
        Ok(Snapshot::new(parts))
    }

    /// Puts the state of a snapshot of the same module into the instance, in which nothing has run.
    pub(crate) fn restore(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let info = &self.compiled.info;
        for (index, memory) in self.all_memories() {
            let _held = self.hold(index, memory)?;
            let image = snapshot.memory(index)?;
            // SAFETY: the borrow ends with the expression.
            let size = u64::from(unsafe { memory.get(self.objects()).size().0 }) * PAGE_BYTES;
            self.grow(memory, snapshot.growth(index, size)?)?;
            let region = self.region(memory)?;
            // SAFETY: as in `capture`.
            unsafe { image.restore(region) }?;
            self.images.borrow_mut().insert(index, image.clone());
        }
        for (index, ty) in info.mutable_globals().filter(|(_, ty)| !ty.is_reference()) {
            let value = snapshot.global(index)?;
            value.check_type(ty)?;
            self.set_value(self.any_global(index), value)?;
        }
        self.restore_references(snapshot)
    }

    /// Gives the pages of all unshared memories back, in slices.
    pub(crate) fn discard_pages(&self) {
        for (_, memory) in self.all_memories() {
            let is_shared = self.shared(memory).is_some();
            if let (false, Ok(region)) = (is_shared, self.region(memory)) {
                // SAFETY: as in `capture`.
                unsafe { memory_image::discard(region) };
            }
        }
    }

    /// Every linear memory, exported or not.
    fn all_memories(
        &self,
    ) -> impl Iterator<Item = (MemoryIndex, InternalStoreHandle<VMMemory>)> + '_ {
        let count = self.compiled.info.memories().len();
        (0_u32..).take(count).map(|index| {
            let place = ExportIndex::Memory(wasmer_types::MemoryIndex::from_u32(index));
            match lookup(self.parts().instance, place) {
                VMExtern::Memory(handle) => (MemoryIndex(index), handle),
                _ => unreachable!("asked for a memory"),
            }
        })
    }

    /// Keeps everybody else away from a memory, if this instance has it alone.
    fn hold(
        &self,
        index: MemoryIndex,
        memory: InternalStoreHandle<VMMemory>,
    ) -> Result<Option<Held<'_>>, Error> {
        let Some(shared) = self.shared(memory) else {
            return Ok(None);
        };
        shared.attachments.hold(1).map(Some).ok_or_else(|| {
            let what = format!("snapshots while others have shared memory {} too", index.0);
            self.compiled.settings.unsupported(what)
        })
    }

    /// The shared memory behind a memory of this guest, if it is one.
    fn shared(&self, memory: InternalStoreHandle<VMMemory>) -> Option<&Arc<SharedState>> {
        // SAFETY: the borrow ends with the expression; a memory's definition is initialised.
        let base = unsafe { memory.get(self.objects()).vmmemory().as_ref().base };
        self.parts().shared.iter().find(|shared| shared.is_at(base))
    }

    /// Where a memory lies at this moment.
    fn region(&self, memory: InternalStoreHandle<VMMemory>) -> Result<Region, Error> {
        // SAFETY: the borrows end with the expressions; a memory's definition is initialised.
        let definition = unsafe { memory.get(self.objects()).vmmemory() };
        // SAFETY: it lives as long as the memory, which grows only while its guest runs or by our
        // `&mut`.
        let (base, bytes) =
            unsafe { (definition.as_ref().base, definition.as_ref().current_length) };
        let base = std::ptr::NonNull::new(base).unwrap_or(std::ptr::NonNull::dangling());
        Ok(Region::new(base, bytes)?)
    }

    /// Grows a memory by the bytes that its image has more, under the limits.
    fn grow(&self, memory: InternalStoreHandle<VMMemory>, missing: u64) -> Result<(), Error> {
        if missing == 0 {
            return Ok(());
        }
        let (size, limit) = match self.shared(memory) {
            // Its maximum is its only limit.
            Some(shared) => (shared.bytes(), shared.bytes_max()),
            None => (self.account.bytes(), self.account.bytes_max),
        };
        let refused = || Error::Limit {
            what: "bytes of memory",
            needed: size.saturating_add(missing),
            limit,
        };
        let pages = u32::try_from(missing / PAGE_BYTES).map_err(|_| refused())?;
        // SAFETY: the borrow ends with the expression, and growing runs no guest code.
        let grown = unsafe { memory.get_mut(self.objects()).grow(Pages(pages)) };
        grown.map(drop).map_err(|_| refused())
    }

    pub(crate) fn any_global(
        &self,
        index: GlobalIndex,
    ) -> std::ptr::NonNull<wasmer_vm::VMGlobalDefinition> {
        let index = wasmer_types::GlobalIndex::from_u32(index.0);
        self.global_definition(self.parts().instance, index)
    }
}
