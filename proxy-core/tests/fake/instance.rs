//! The instance that a script's functions run on: a memory that only grows, an allocator, objects
//! and counters.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use engine_api::{
    Caller, Engine, EngineId, Error, FuncIndex, GlobalIndex, HostFunc, Instance, Interrupt,
    Interrupter, Limits, MemoryImage, MemoryIndex, MemoryMeter, ModuleInfo, NumericType,
    PAGE_BYTES, Slot, Snapshot, SnapshotParts, TableIndex, Trap, Val,
};

use super::{Behaviour, FakeModule, Probe, address, unsupported};

/// An instance, as its functions see it.
pub(crate) struct FakeInstance {
    /// Which instance of its engine it is, from 1.
    pub(crate) number: u64,
    pub(crate) memory: Vec<u8>,
    /// Objects by their address, which differs from one instance to the next.
    pub(crate) objects: HashMap<u32, i64>,
    /// Numbers that the module keeps, by name.
    pub(crate) counters: HashMap<&'static str, i64>,
    /// Whether it has state that no snapshot holds.
    pub(crate) has_unheld_state: bool,
    heap_end: u64,
    /// Freed blocks by their size.
    freed: HashMap<u32, Vec<u32>>,
    pub(super) tables: Vec<u64>,
    pub(super) globals: Vec<Val>,
    info: Arc<ModuleInfo>,
    behaviours: Arc<[Option<Behaviour>]>,
    hosts: HashMap<(String, String), HostFunc>,
    limits: Limits,
    pages_max: u64,
    growth_refused: Option<u64>,
    interruption: Option<Arc<Interruption>>,
    deadline: Option<Instant>,
    depth: u32,
    engine: EngineId,
    probe: Probe,
}

#[derive(Debug, Default)]
struct Interruption(AtomicBool);

impl Interrupt for Interruption {
    fn interrupt(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl FakeInstance {
    pub(super) fn new(
        module: &FakeModule,
        hosts: HashMap<(String, String), HostFunc>,
        limits: Limits,
        number: u64,
    ) -> Self {
        let probe = module.engine.probe();
        probe.born();
        let script = &module.engine.script;
        Self {
            number,
            memory: Vec::new(),
            objects: HashMap::new(),
            counters: HashMap::new(),
            has_unheld_state: false,
            heap_end: 4096
                + if script.snapshots {
                    0
                } else {
                    64 * (number % 256)
                },
            freed: HashMap::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            info: Arc::clone(&module.info),
            behaviours: Arc::clone(&module.behaviours),
            hosts,
            limits,
            pages_max: script.memory.and_then(|(_, max)| max).unwrap_or(1 << 16),
            growth_refused: None,
            interruption: script.interruption.then(Arc::default),
            deadline: None,
            depth: 0,
            engine: module.engine.id(),
            probe,
        }
    }

    pub(super) fn outermost(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<Vec<Val>, Error>,
    ) -> Result<Vec<Val>, Error> {
        if self.depth == 0 {
            self.deadline = self.limits.deadline.map(|limit| Instant::now() + limit);
        }
        self.depth += 1;
        let outcome = self.check_time().and_then(|()| run(self));
        self.depth -= 1;
        outcome
    }

    /// Ends an interrupted call, and one past its deadline. A real engine would look at its epoch
    /// here.
    pub(crate) fn check_time(&self) -> Result<(), Error> {
        if let Some(interruption) = &self.interruption
            && interruption.0.load(Ordering::SeqCst)
        {
            return Err(Error::Trap(Trap::Interrupted));
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                Err(Error::Trap(Trap::DeadlineExceeded))
            }
            _ => Ok(()),
        }
    }

    /// Allocates a block. The memory grows for it if it must; a memory that cannot grow is a trap.
    pub(crate) fn alloc(&mut self, len: u32) -> Result<u32, Error> {
        self.try_alloc(len).ok_or(Error::Trap(Trap::Unreachable))
    }

    pub(crate) fn try_alloc(&mut self, len: u32) -> Option<u32> {
        if let Some(address) = self.freed.get_mut(&len).and_then(Vec::pop) {
            return Some(address);
        }
        let address = u32::try_from(self.heap_end).ok()?;
        let end = self.heap_end + u64::from(len.next_multiple_of(8));
        let missing = end.saturating_sub(self.memory.len() as u64);
        if missing > 0 {
            self.memory_grow(MemoryIndex(0), missing.div_ceil(PAGE_BYTES))
                .ok()?;
        }
        self.heap_end = end;
        Some(address)
    }

    pub(crate) fn free(&mut self, address: u32, len: u32) {
        self.freed.entry(len).or_default().push(address);
    }

    pub(crate) fn object(&mut self, handle: &Val) -> Result<&mut i64, Error> {
        self.objects
            .get_mut(&address(handle))
            .ok_or(Error::Trap(Trap::MemoryOutOfBounds))
    }

    pub(crate) fn read(&self, address: u32, len: u32) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len as usize];
        self.memory_read(MemoryIndex(0), u64::from(address), &mut bytes)
            .map_err(|_| Error::Trap(Trap::MemoryOutOfBounds))?;
        Ok(bytes)
    }

    pub(crate) fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Error> {
        self.memory_write(MemoryIndex(0), u64::from(address), bytes)
            .map_err(|_| Error::Trap(Trap::MemoryOutOfBounds))
    }

    /// Adds to a counter and returns what it was before.
    pub(crate) fn count(&mut self, name: &'static str) -> i64 {
        let counter = self.counters.entry(name).or_default();
        *counter += 1;
        *counter - 1
    }

    /// Calls an import, as the guest does.
    pub(crate) fn host(
        &mut self,
        module: &str,
        name: &str,
        args: &[Val],
    ) -> Result<Vec<Val>, Error> {
        let function = self
            .hosts
            .get(&(module.to_owned(), name.to_owned()))
            .cloned()
            .expect("the script imports it");
        let types = function.ty().results().iter();
        let mut results: Vec<Val> = types.map(|ty| Val::zero(*ty)).collect();
        function.invoke(self, args, &mut results)?;
        Ok(results)
    }

    /// The state that a real instance would have in its memory, as lines of text.
    fn describe(&self) -> String {
        let mut lines = Vec::new();
        lines.extend(
            self.objects
                .iter()
                .map(|(at, value)| format!("object {at} {value}")),
        );
        lines.extend(
            self.counters
                .iter()
                .map(|(name, value)| format!("counter {name} {value}")),
        );
        let freed = self.freed.iter();
        lines.extend(freed.map(|(len, blocks)| format!("freed {len} {blocks:?}")));
        lines.sort();
        lines.push(format!("heap {}", self.heap_end));
        lines.push(format!("tables {:?}", self.tables));
        lines.join("\n")
    }

    /// Takes the state over from a snapshot: the reverse of [`FakeInstance::describe`].
    pub(super) fn take_over(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let read = |index| {
            let image = snapshot.memory(MemoryIndex(index))?;
            let mut bytes = vec![0; usize::try_from(image.bytes()).expect("it is small")];
            image.read(0, &mut bytes)?;
            Ok::<_, Error>(bytes)
        };
        self.memory = read(0)?;
        let numbers = |text: &str| -> Vec<u64> {
            let numbers = text.trim_matches(['[', ']']).split(", ");
            numbers.filter_map(|number| number.parse().ok()).collect()
        };
        let small = |number: &str| number.parse().expect("a number");
        let described = String::from_utf8(read(1)?).expect("it is text");
        for line in described.trim_end_matches('\0').lines() {
            let (kind, rest) = line.split_once(' ').expect("a kind and more");
            let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
            match kind {
                "object" => drop(
                    self.objects
                        .insert(small(key), value.parse().expect("a number")),
                ),
                "counter" => {
                    let name: &'static str = Box::leak(key.to_owned().into_boxed_str());
                    self.counters.insert(name, value.parse().expect("a number"));
                }
                "freed" => {
                    let blocks = numbers(value).into_iter();
                    let blocks = blocks.map(|block| u32::try_from(block).expect("an address"));
                    self.freed.insert(small(key), blocks.collect());
                }
                "heap" => self.heap_end = key.parse().expect("a number"),
                _ => self.tables = numbers(rest),
            }
        }
        for (index, value) in snapshot.globals() {
            self.globals[index.0 as usize] = value.clone();
        }
        Ok(())
    }

    fn range(&self, memory: MemoryIndex, offset: u64, len: u64) -> Result<usize, Error> {
        let size = self.memory_size(memory)?;
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(usize::try_from(offset).expect("it is in the memory")),
            _ => Err(Error::OutOfBounds { offset, len, size }),
        }
    }
}

impl Drop for FakeInstance {
    fn drop(&mut self) {
        self.probe.dead();
    }
}

fn no_such(kind: &'static str, index: u32) -> Error {
    Error::NoSuchExport {
        kind,
        name: index.to_string(),
    }
}

impl Caller for FakeInstance {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.info
    }

    fn may_go_on(&self) -> Result<(), Error> {
        Ok(())
    }

    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
        self.info.check_call(func, args, results)?;
        let behaviour = self.behaviours[func.0 as usize].clone();
        let given = self.outermost(|instance| match behaviour {
            Some(behaviour) => behaviour(instance, args),
            None => Err(Error::Trap(Trap::Unreachable)),
        })?;
        results.clone_from_slice(&given);
        self.info.check_call(func, args, results)
    }

    fn memory_size(&self, memory: MemoryIndex) -> Result<u64, Error> {
        if memory.0 == 0 && !self.info.memories().is_empty() {
            Ok(self.memory.len() as u64)
        } else {
            Err(no_such("memory", memory.0))
        }
    }

    fn memory_read(
        &self,
        memory: MemoryIndex,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let from = self.range(memory, offset, buffer.len() as u64)?;
        buffer.copy_from_slice(&self.memory[from..from + buffer.len()]);
        Ok(())
    }

    fn memory_write(
        &mut self,
        memory: MemoryIndex,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let from = self.range(memory, offset, bytes.len() as u64)?;
        self.memory[from..from + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn memory_grow(&mut self, memory: MemoryIndex, pages_delta: u64) -> Result<u64, Error> {
        let current = self.memory_size(memory)? / PAGE_BYTES;
        let pages = current.saturating_add(pages_delta);
        let bytes = pages.saturating_mul(PAGE_BYTES);
        let limit = self.limits.memory_bytes_max.unwrap_or(u64::MAX);
        if pages > self.pages_max || bytes > limit {
            let smallest = self
                .growth_refused
                .map_or(bytes, |before| before.min(bytes));
            self.growth_refused = Some(smallest);
            return Err(Error::Growth {
                current,
                delta: pages_delta,
            });
        }
        let bytes = usize::try_from(bytes).expect("fake memories are small");
        self.memory.resize(bytes, 0);
        Ok(current)
    }

    fn global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        let value = self.globals.get(global.0 as usize).cloned();
        value.ok_or_else(|| no_such("global", global.0))
    }

    fn set_global(&mut self, global: GlobalIndex, value: &Val) -> Result<(), Error> {
        let slot = self
            .globals
            .get_mut(global.0 as usize)
            .ok_or_else(|| no_such("global", global.0))?;
        *slot = value.clone();
        Ok(())
    }

    fn table_size(&self, table: TableIndex) -> Result<u64, Error> {
        let size = self.tables.get(table.0 as usize).copied();
        size.ok_or_else(|| no_such("table", table.0))
    }

    fn table_grow(
        &mut self,
        table: TableIndex,
        elements_delta: u64,
        _: &Val,
    ) -> Result<u64, Error> {
        let size = self
            .tables
            .get_mut(table.0 as usize)
            .ok_or_else(|| no_such("table", table.0))?;
        *size += elements_delta;
        Ok(*size - elements_delta)
    }

    // Its tables have sizes and no elements.
    fn table_get(&mut self, table: TableIndex, element: u64) -> Result<Val, Error> {
        let size = self.table_size(table)?;
        if element < size {
            Ok(Val::FuncRef(None))
        } else {
            Err(Error::NoSuchElement { element, size })
        }
    }

    fn table_set(&mut self, table: TableIndex, element: u64, _: &Val) -> Result<(), Error> {
        self.table_get(table, element).map(drop)
    }
}

impl Instance for FakeInstance {
    fn call_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Error> {
        self.info.check_numbers(func, ty, slots)?;
        let vals = ty.params().zip(&*slots);
        let args: Vec<Val> = vals.filter_map(|(ty, slot)| slot.to_val(ty)).collect();
        let mut results: Vec<Val> = ty.results().map(Val::zero).collect();
        self.call(func, &args, &mut results)?;
        for (slot, result) in slots.iter_mut().zip(&results) {
            *slot = Slot::of(result).expect("the type is one of numbers");
        }
        Ok(())
    }

    fn memory_meter(&self) -> Option<MemoryMeter> {
        None
    }

    fn memory_bytes(&self) -> u64 {
        self.memory.len() as u64
    }

    fn watched_global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        self.global(global)
    }

    fn growth_refused(&mut self) -> Option<u64> {
        self.growth_refused.take()
    }

    fn interrupter(&self) -> Result<Interrupter, Error> {
        match &self.interruption {
            Some(interruption) => Ok(Interrupter::new(Arc::clone(interruption) as _)),
            None => Err(unsupported(self.engine, "interruption")),
        }
    }

    fn fuel_left(&mut self) -> Option<u64> {
        None
    }

    fn capture(&mut self) -> Result<Snapshot, Error> {
        if self.has_unheld_state {
            return Err(unsupported(self.engine, "snapshots of this"));
        }
        // In whole pages, as files of snapshots want memories.
        let mut described = self.describe().into_bytes();
        described.resize(described.len().next_multiple_of(65_536), 0);
        let memories = [&self.memory, &described].map(|bytes| MemoryImage::of_bytes(bytes));
        let globals = self.info.mutable_globals();
        let globals = globals.map(|(index, _)| (index, self.globals[index.0 as usize].clone()));
        Ok(Snapshot::new(SnapshotParts {
            memories: (0..).map(MemoryIndex).zip(memories).collect(),
            globals: globals.collect(),
            ..SnapshotParts::empty(self.info.hash())
        }))
    }

    fn discard_memories(&mut self) {
        self.memory.fill(0xdd);
    }
}
