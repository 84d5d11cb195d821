//! Capturing the state of an instance, and making instances of it.

use engine_api::{
    Error, GlobalIndex, MemoryImage, MemoryIndex, ModuleInfo, PAGE_BYTES, Snapshot, Val,
};
use memory_image::Region;
use wasmer_types::{ExportIndex, Pages};
use wasmer_vm::{InternalStoreHandle, LinearMemory, VMExtern, VMMemory};

use crate::state::{InstanceState, lookup};

impl InstanceState {
    pub(crate) fn capture(&self) -> Result<Snapshot, Error> {
        let info = &self.compiled.info;
        self.check_memories(info)?;
        let mut images: Vec<(MemoryIndex, MemoryImage)> = Vec::new();
        for (index, memory) in self.all_memories() {
            let since = self.image(index);
            let region = self.region(memory)?;
            // SAFETY: `region` is the whole of a memory of this guest, as wasmer has it at this
            // moment. No guest code runs, as its instance is borrowed by `&mut`, and wasmer keeps
            // no references into memories. Each lies in a reservation of its own, of which wasmer
            // asks only that it can be accessed and unmapped. `since` is the image that was last
            // mapped there, by this function or by `restore`.
            let image = unsafe { MemoryImage::capture(region, since.as_ref()) }?;
            self.set_image(index, image.clone());
            images.push((index, image));
        }
        let values = mutable_globals(info)
            .map(|index| self.global_value(index).map(|value| (index, value)))
            .collect::<Result<_, _>>()?;
        Ok(Snapshot::new(info.hash(), images, values))
    }

    /// Takes over the state of a snapshot of the same module. Nothing has run in the instance yet.
    pub(crate) fn restore(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let info = &self.compiled.info;
        self.check_memories(info)?;
        for (index, memory) in self.all_memories() {
            let image = snapshot
                .memory(index)
                .ok_or_else(|| lacks("memory", index.0))?;
            self.grow_to(memory, image.bytes())?;
            let region = self.region(memory)?;
            // SAFETY: as in `capture`.
            unsafe { image.restore(region) }?;
            self.set_image(index, image.clone());
        }
        for index in mutable_globals(info) {
            let mut values = snapshot.globals().iter();
            let (_, value) = values
                .find(|(other, _)| *other == index)
                .ok_or_else(|| lacks("global", index.0))?;
            self.put_global(index, value)?;
        }
        Ok(())
    }

    /// Gives the pages of all memories back, in slices.
    pub(crate) fn discard_pages(&self) {
        // A shared memory is somebody else's too.
        if self.check_memories(&self.compiled.info).is_err() {
            return;
        }
        for (_, memory) in self.all_memories() {
            if let Ok(region) = self.region(memory) {
                // SAFETY: as in `capture`.
                unsafe { memory_image::discard(region) };
            }
        }
    }

    /// Refuses shared memories.
    fn check_memories(&self, info: &ModuleInfo) -> Result<(), Error> {
        match info.memories().iter().position(|memory| memory.shared) {
            None => Ok(()),
            Some(index) => Err(self
                .compiled
                .settings
                .unsupported(format!("snapshots of shared memory {index}"))),
        }
    }

    /// Every linear memory, exported or not.
    fn all_memories(
        &self,
    ) -> impl Iterator<Item = (MemoryIndex, InternalStoreHandle<VMMemory>)> + '_ {
        let count = self.compiled.info.memories().len();
        (0_u32..).take(count).map(|index| {
            let place = ExportIndex::Memory(wasmer_types::MemoryIndex::from_u32(index));
            match lookup(self.vm_instance(), place) {
                VMExtern::Memory(handle) => (MemoryIndex(index), handle),
                _ => unreachable!("asked for a memory"),
            }
        })
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

    /// Gives a memory the size that an image has, under the limits.
    fn grow_to(&self, memory: InternalStoreHandle<VMMemory>, bytes: u64) -> Result<(), Error> {
        // SAFETY: the borrow ends with the expression.
        let size = u64::from(unsafe { memory.get(self.objects()).size().0 }) * PAGE_BYTES;
        let Some(missing) = bytes.checked_sub(size) else {
            return Err(Error::Snapshot {
                reason: format!("it has a memory of {bytes} bytes, which here starts with {size}"),
            });
        };
        if missing == 0 {
            return Ok(());
        }
        let refused = || Error::Limit {
            what: "bytes of memory",
            needed: self.account.bytes().saturating_add(missing),
            limit: self.account.bytes_max(),
        };
        let pages = u32::try_from(missing / PAGE_BYTES).map_err(|_| refused())?;
        // SAFETY: as above, and growing runs no guest code.
        let grown = unsafe { memory.get_mut(self.objects()).grow(Pages(pages)) };
        grown.map(drop).map_err(|_| refused())
    }

    fn global_value(&self, index: GlobalIndex) -> Result<Val, Error> {
        let ty = self.compiled.info.globals()[index.0 as usize].value;
        self.check_global(index, ty)?;
        let definition = self.any_global(index);
        // SAFETY: the global lives as long as the guest, and holds a number of its type.
        unsafe {
            let raw = definition.as_ref().val;
            Ok(self.references.borrow_mut().lift(ty, raw))
        }
    }

    fn put_global(&self, index: GlobalIndex, value: &Val) -> Result<(), Error> {
        let ty = self.compiled.info.globals()[index.0 as usize].value;
        self.check_global(index, ty)?;
        if value.ty() != ty {
            return Err(Error::ValueType {
                expected: ty,
                got: value.ty(),
            });
        }
        let raw = self.references.borrow_mut().lower(value)?;
        // SAFETY: the global lives as long as the guest, whose code is not running, and has the
        // type.
        unsafe { (*self.any_global(index).as_ptr()).val = raw };
        Ok(())
    }

    /// Refuses references, which mean nothing in another instance.
    fn check_global(&self, index: GlobalIndex, ty: engine_api::ValType) -> Result<(), Error> {
        if !ty.is_reference() {
            return Ok(());
        }
        Err(self
            .compiled
            .settings
            .unsupported(format!("snapshots of the reference in global {}", index.0)))
    }

    fn any_global(&self, index: GlobalIndex) -> std::ptr::NonNull<wasmer_vm::VMGlobalDefinition> {
        let index = wasmer_types::GlobalIndex::from_u32(index.0);
        self.global_definition(self.vm_instance(), index)
    }
}

fn mutable_globals(info: &ModuleInfo) -> impl Iterator<Item = GlobalIndex> + '_ {
    let globals = (0..).map(GlobalIndex).zip(info.globals());
    globals.filter(|(_, ty)| ty.mutable).map(|(index, _)| index)
}

fn lacks(kind: &str, index: u32) -> Error {
    Error::Snapshot {
        reason: format!("{kind} {index} is missing"),
    }
}
