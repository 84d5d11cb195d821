//! Capturing the state of an instance, and making instances of it.

use std::ptr::NonNull;

use engine_api::{Error, GlobalIndex, MemoryImage, MemoryIndex, PAGE_BYTES, Snapshot};
use memory_image::Region;
use wasmtime::{Extern, Global, RootScope, Store};

use crate::access::{FindExport, GuestAccess};
use crate::convert;
use crate::state::{Memory, State};
use crate::traps;

impl GuestAccess<Store<State>> {
    pub(crate) fn capture_state(&mut self) -> Result<Snapshot, Error> {
        let memories = self.all_memories()?;
        let globals = self.mutable_globals()?;
        let mut images: Vec<(MemoryIndex, MemoryImage)> = Vec::with_capacity(memories.len());
        for (index, memory) in memories {
            let since = self.0.data().image(index).cloned();
            let region = self.region(memory)?;
            #[expect(unsafe_code, reason = "the memory is moved into an image; see SAFETY")]
            // SAFETY: `region` is the whole of a memory of this store, as its engine has it at this
            // moment. Nothing runs in the store and nothing of it is borrowed: we have it by
            // `&mut`. Each memory lies in a reservation of its own, as the engine is not configured
            // to pool them. `since` is the image that was last mapped there, by this function or by
            // `restore_state`.
            let image = unsafe { MemoryImage::capture(region, since.as_ref()) }?;
            self.0.data_mut().set_image(index, image.clone());
            images.push((index, image));
        }
        let values = self.values(globals)?;
        let module = self.0.data().info.hash();
        Ok(Snapshot::new(module, images, values))
    }

    /// Takes over the state of a snapshot of the same module. Nothing has run in the instance yet.
    pub(crate) fn restore_state(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        for (index, memory) in self.all_memories()? {
            let image = snapshot
                .memory(index)
                .ok_or_else(|| lacks("memory", index.0))?;
            self.grow_to(memory, image.bytes())?;
            let region = self.region(memory)?;
            #[expect(unsafe_code, reason = "an image is mapped over the memory; see SAFETY")]
            // SAFETY: as in `capture_state`.
            unsafe { image.restore(region) }?;
            self.0.data_mut().set_image(index, image.clone());
        }
        for (index, global) in self.mutable_globals()? {
            let mut values = snapshot.globals().iter();
            let (_, value) = values
                .find(|(other, _)| *other == index)
                .ok_or_else(|| lacks("global", index.0))?;
            let engine = self.0.data().engine.id();
            let mut store = RootScope::new(&mut self.0);
            let value = convert::to_wasmtime(&mut store, value)?;
            global
                .set(&mut store, value)
                .map_err(|error| traps::failed(engine, "set a global", error))?;
        }
        Ok(())
    }

    /// Gives the pages of all memories back, in slices.
    pub(crate) fn discard_pages(&mut self) {
        // A shared memory is somebody else's too.
        let Ok(memories) = self.all_memories() else {
            return;
        };
        for (_, memory) in memories {
            if let Ok(region) = self.region(memory) {
                #[expect(unsafe_code, reason = "the memory's pages are given back; see SAFETY")]
                // SAFETY: as in `capture_state`.
                unsafe {
                    memory_image::discard(region);
                }
            }
        }
    }

    /// Every linear memory, exported or not.
    fn all_memories(&mut self) -> Result<Vec<(MemoryIndex, wasmtime::Memory)>, Error> {
        let exports = self.0.data().exports.clone();
        let count = self.0.data().info.memories().len();
        let mut memories = Vec::with_capacity(count);
        for index in (0..).take(count).map(MemoryIndex) {
            let hidden = exports.hidden_memories.iter();
            let memory = match &self.0.data().memories[index.0 as usize] {
                Some(memory) => Some(memory.clone()),
                None => hidden
                    .filter(|(other, _)| *other == index)
                    .find_map(|(_, export)| self.0.find_export(export))
                    .and_then(|found| match found {
                        Extern::Memory(memory) => Some(Memory::Unshared(memory)),
                        Extern::SharedMemory(memory) => Some(Memory::Shared(memory)),
                        _ => None,
                    }),
            };
            match memory {
                Some(Memory::Unshared(memory)) => memories.push((index, memory)),
                Some(Memory::Shared(_)) => {
                    return Err(Error::Unsupported {
                        engine: self.0.data().engine.id(),
                        what: format!("snapshots of shared memory {}", index.0),
                    });
                }
                None => return Err(lacks("memory", index.0)),
            }
        }
        Ok(memories)
    }

    /// Every mutable global, exported or not.
    fn mutable_globals(&mut self) -> Result<Vec<(GlobalIndex, Global)>, Error> {
        let exports = self.0.data().exports.clone();
        let info = self.0.data().info.clone();
        let mut globals = Vec::new();
        for (index, ty) in (0..).map(GlobalIndex).zip(info.globals()) {
            if !ty.mutable {
                continue;
            }
            if ty.value.is_reference() {
                return Err(Error::Unsupported {
                    engine: self.0.data().engine.id(),
                    what: format!("snapshots of the reference in global {}", index.0),
                });
            }
            let hidden = exports.hidden_globals.iter();
            let global = match self.0.data().globals[index.0 as usize] {
                Some(global) => Some(global),
                None => hidden
                    .filter(|(other, _)| *other == index)
                    .find_map(|(_, export)| self.0.find_export(export))
                    .and_then(Extern::into_global),
            };
            globals.push((index, global.ok_or_else(|| lacks("global", index.0))?));
        }
        Ok(globals)
    }

    fn values(
        &mut self,
        globals: Vec<(GlobalIndex, Global)>,
    ) -> Result<Vec<(GlobalIndex, engine_api::Val)>, Error> {
        let mut store = RootScope::new(&mut self.0);
        let mut values = Vec::with_capacity(globals.len());
        for (index, global) in globals {
            let value = global.get(&mut store);
            values.push((index, convert::from_wasmtime(&mut store, &value)?));
        }
        Ok(values)
    }

    /// Gives a memory the size that an image has, under the limits.
    fn grow_to(&mut self, memory: wasmtime::Memory, bytes: u64) -> Result<(), Error> {
        let size = memory.data_size(&self.0) as u64;
        let Some(missing) = bytes.checked_sub(size) else {
            return Err(Error::Snapshot {
                reason: format!("it has a memory of {bytes} bytes, which here starts with {size}"),
            });
        };
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

fn lacks(kind: &str, index: u32) -> Error {
    Error::Snapshot {
        reason: format!("{kind} {index} is missing"),
    }
}
