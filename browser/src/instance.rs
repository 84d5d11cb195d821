//! Instances, which JavaScript holds.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use engine_api::{
    Caller, Error, Extern, FuncIndex, GlobalIndex, HostFunc, Instance, Interrupter, MemoryImage,
    MemoryIndex, MemoryMeter, ModuleInfo, NumericType, PAGE_BYTES, Slot, Snapshot, SnapshotParts,
    TableIndex, Val, memory_range,
};
use serde_json::{Value, json};

use crate::engine::{ID, unsupported};
use crate::js::{After, Ended, Object};
use crate::module::Parts;
use crate::traps::trap_of;

/// Access to an instance: what its owner has, and what a host function gets.
#[derive(Debug)]
pub(crate) struct Guest(Arc<Live>);

/// An instance that somebody has.
#[derive(Debug)]
pub(crate) struct Live {
    /// By which JavaScript names it when it calls a host function.
    key: u32,
    object: Object,
    info: Arc<ModuleInfo>,
    parts: Arc<Parts>,
    /// The imports, in the module's order.
    host: Vec<HostFunc>,
    meter: MemoryMeter,
    pages_max: u64,
    /// Why the host function failed that ended the call in flight.
    failure: Mutex<Option<Error>>,
}

/// All instances, for calls of host functions.
static LIVE: Mutex<BTreeMap<u32, Weak<Live>>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls a host function with arguments in slots, which take its results. Whether it returned.
pub(crate) fn host_call(instance: u32, import: u32, slots: &mut [Slot]) -> bool {
    let Some(live) = lock(&LIVE).get(&instance).and_then(Weak::upgrade) else {
        return false;
    };
    let Some(function) = live.host.get(import as usize).cloned() else {
        return false;
    };
    match invoke(&function, &mut Guest(Arc::clone(&live)), slots) {
        Ok(()) => true,
        Err(error) => {
            *lock(&live.failure) = Some(error);
            false
        }
    }
}

fn invoke(function: &HostFunc, caller: &mut Guest, slots: &mut [Slot]) -> Result<(), Error> {
    let types = function.ty().params().iter();
    let args = types.zip(&*slots).filter_map(|(ty, slot)| slot.to_val(*ty));
    let args: Vec<Val> = args.collect();
    let results = function.ty().results().iter();
    let mut results: Vec<Val> = results.map(|ty| Val::zero(*ty)).collect();
    function.invoke(caller, &args, &mut results)?;
    for (slot, result) in slots.iter_mut().zip(&results) {
        *slot = Slot::of(result).unwrap_or_default();
    }
    Ok(())
}

impl Drop for Live {
    fn drop(&mut self) {
        lock(&LIVE).remove(&self.key);
    }
}

impl Deref for Guest {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.0
    }
}

impl Guest {
    /// Makes an instance, in which nothing has run.
    ///
    /// # Errors
    ///
    /// [`Error::Trap`]; [`Error::Runtime`].
    pub(crate) fn new(
        module: &Object,
        info: &Arc<ModuleInfo>,
        parts: &Arc<Parts>,
        given: &[&Extern],
        pages_max: u64,
        mut spec: Value,
    ) -> Result<Self, Error> {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let key = LAST.fetch_add(1, Ordering::Relaxed);
        spec["key"] = json!(key);
        spec["pagesMax"] = json!(pages_max);
        let object = module
            .instantiate(&spec.to_string())
            .map_err(|message| failed("instantiate the module", message))?;
        let host = given.iter().filter_map(|given| match given {
            Extern::Func(function) => Some(function.clone()),
            _ => None,
        });
        let live = Arc::new(Live {
            key,
            object,
            info: Arc::clone(info),
            parts: Arc::clone(parts),
            host: host.collect(),
            meter: MemoryMeter::default(),
            pages_max,
            failure: Mutex::default(),
        });
        lock(&LIVE).insert(key, Arc::downgrade(&live));
        live.measure();
        Ok(Self(live))
    }

    /// Calls a function by its place in the list that the instance was made with. The caller has
    /// checked that there are enough slots.
    pub(crate) fn run(&mut self, function: u32, slots: &mut [Slot]) -> Result<(), Error> {
        let mut after = After::default();
        let ended = self.object.call(function, slots, &mut after);
        self.shown(after);
        match ended {
            Ended::Returned => Ok(()),
            Ended::Threw(message) => Err(failed("run a call", message)),
            Ended::HostFailed => {
                let failure = lock(&self.failure).take();
                Err(failure.unwrap_or_else(|| failed("run a call", "no reason".to_owned())))
            }
        }
    }

    /// Puts the state of a snapshot of the same module into an instance in which nothing has run.
    pub(crate) fn restore(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        for index in (0..self.parts.memories).map(MemoryIndex) {
            let missing = snapshot.growth(index, self.object.size(index.0))?;
            if self.memory_grow(index, missing / PAGE_BYTES).is_err() {
                return Err(Error::Limit {
                    what: "bytes of memory",
                    needed: self.object.size(index.0).saturating_add(missing),
                    limit: self.pages_max.saturating_mul(PAGE_BYTES),
                });
            }
            self.fill(index, snapshot.memory(index)?)?;
        }
        for (place, (index, _)) in (0..).zip(&self.parts.globals) {
            if let Some(slot) = Slot::of(snapshot.global(*index)?) {
                self.object.set_global(place, &slot);
            }
        }
        // Growth by the host is no refusal of the guest's.
        let _ = self.growth_refused();
        Ok(())
    }

    fn fill(&mut self, memory: MemoryIndex, image: &MemoryImage) -> Result<(), Error> {
        let view = image.view();
        let mut copy = Vec::new();
        let mut offset = 0;
        while offset < image.bytes() {
            let left = usize::try_from(image.bytes() - offset).unwrap_or(usize::MAX);
            let bytes = view.bytes(offset, left.min(CHUNK_BYTES), &mut copy)?;
            self.memory_write(memory, offset, bytes)?;
            offset += bytes.len() as u64;
        }
        Ok(())
    }

    /// Where a range of a memory lies.
    fn range(&self, memory: MemoryIndex, offset: u64, len: usize) -> Result<usize, Error> {
        let range = memory_range(offset, len, self.memory_size(memory)?)?;
        Ok(range.start)
    }

    /// The place of a global in the list that JavaScript has, for the host.
    fn place(&self, global: GlobalIndex) -> Option<(u32, engine_api::GlobalType)> {
        let mut places = (0..).zip(&self.parts.globals);
        let found = places.find(|(_, (index, _))| *index == global);
        found.map(|(place, (_, ty))| (place, *ty))
    }
}

/// Images are copied into a memory in pieces of this size.
const CHUNK_BYTES: usize = 1 << 20;

impl Live {
    fn measure(&self) {
        let sizes = (0..self.parts.memories).map(|memory| self.object.size(memory));
        self.meter.set(sizes.sum());
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes are whole numbers far below 2^53"
    )]
    fn shown(&self, after: After) {
        self.meter.set(after.bytes as u64);
        if after.pages_refused > 0.0 {
            let bytes = (after.pages_refused as u64).saturating_mul(PAGE_BYTES);
            self.meter.note_refused(bytes);
        }
    }
}

/// The error for a message of the browser's.
fn failed(action: &'static str, message: String) -> Error {
    match trap_of(&message) {
        Some(trap) => Error::Trap(trap),
        None => Error::Runtime {
            engine: ID,
            action,
            source: message.into(),
        },
    }
}

impl Caller for Guest {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.0.info
    }

    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
        self.info.check_call(func, args, results)?;
        let mut slots = vec![Slot::default(); args.len().max(results.len())];
        for (slot, arg) in slots.iter_mut().zip(args) {
            *slot = Slot::of(arg).ok_or_else(|| unsupported("references in calls"))?;
        }
        self.run(func.0, &mut slots)?;
        let types = self.info.functions()[func.0 as usize].ty.results();
        for ((result, ty), slot) in results.iter_mut().zip(types).zip(&slots) {
            *result = slot
                .to_val(*ty)
                .ok_or_else(|| unsupported("references in calls"))?;
        }
        Ok(())
    }

    fn may_go_on(&self) -> Result<(), Error> {
        Ok(())
    }

    fn memory_size(&self, memory: MemoryIndex) -> Result<u64, Error> {
        if memory.0 < self.parts.memories {
            Ok(self.object.size(memory.0))
        } else {
            Err(Error::no_such_index("memory", memory.0))
        }
    }

    fn memory_read(
        &self,
        memory: MemoryIndex,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let at = self.range(memory, offset, buffer.len())?;
        self.object.read(memory.0, at, buffer);
        Ok(())
    }

    fn memory_write(
        &mut self,
        memory: MemoryIndex,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let at = self.range(memory, offset, bytes.len())?;
        self.object.write(memory.0, at, bytes);
        Ok(())
    }

    fn memory_grow(&mut self, memory: MemoryIndex, pages_delta: u64) -> Result<u64, Error> {
        let current = self.memory_size(memory)? / PAGE_BYTES;
        let wanted = current.saturating_add(pages_delta);
        let delta = u32::try_from(pages_delta).ok();
        let delta = delta.filter(|_| wanted <= self.pages_max);
        if delta.is_some_and(|delta| self.object.grow(memory.0, delta)) {
            self.measure();
            return Ok(current);
        }
        self.meter.note_refused(wanted.saturating_mul(PAGE_BYTES));
        Err(Error::Growth {
            current,
            delta: pages_delta,
        })
    }

    fn global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        let no_such = || Error::no_such_index("global", global.0);
        let (place, ty) = self.place(global).ok_or_else(no_such)?;
        self.object
            .global(place)
            .to_val(ty.value)
            .ok_or_else(no_such)
    }

    fn set_global(&mut self, global: GlobalIndex, value: &Val) -> Result<(), Error> {
        let no_such = || Error::no_such_index("global", global.0);
        let (place, _) = self.place(global).ok_or_else(no_such)?;
        self.info.check_set_global(global, value)?;
        self.object
            .set_global(place, &Slot::of(value).ok_or_else(no_such)?);
        Ok(())
    }

    fn table_size(&self, _table: TableIndex) -> Result<u64, Error> {
        Err(unsupported("tables"))
    }

    fn table_grow(&mut self, _table: TableIndex, _delta: u64, _value: &Val) -> Result<u64, Error> {
        Err(unsupported("tables"))
    }

    fn table_get(&mut self, _table: TableIndex, _element: u64) -> Result<Val, Error> {
        Err(unsupported("tables"))
    }

    fn table_set(&mut self, _table: TableIndex, _element: u64, _value: &Val) -> Result<(), Error> {
        Err(unsupported("tables"))
    }
}

impl Instance for Guest {
    fn call_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Error> {
        self.info.check_numbers(func, ty, slots)?;
        self.run(func.0, slots)
    }

    fn memory_meter(&self) -> Option<MemoryMeter> {
        Some(self.meter.clone())
    }

    fn memory_bytes(&self) -> u64 {
        self.meter.bytes()
    }

    fn growth_refused(&mut self) -> Option<u64> {
        self.meter.take_refused()
    }

    fn watched_global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        self.global(global)
    }

    fn interrupter(&self) -> Result<Interrupter, Error> {
        Err(unsupported("ending a call"))
    }

    fn fuel_left(&mut self) -> Option<u64> {
        None
    }

    fn capture(&mut self) -> Result<Snapshot, Error> {
        let mut parts = SnapshotParts::empty(self.info.hash());
        for index in (0..self.parts.memories).map(MemoryIndex) {
            let size = usize::try_from(self.memory_size(index)?).unwrap_or(usize::MAX);
            let mut bytes = vec![0; size];
            self.memory_read(index, 0, &mut bytes)?;
            parts.memories.push((index, MemoryImage::of_bytes(&bytes)));
        }
        let globals: Vec<GlobalIndex> =
            self.parts.globals.iter().map(|(index, _)| *index).collect();
        for index in globals {
            parts.globals.push((index, self.global(index)?));
        }
        Ok(Snapshot::new(parts))
    }

    /// Nothing gives pages back: the memory goes when the browser collects it.
    fn discard_memories(&mut self) {}
}
