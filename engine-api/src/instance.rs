//! Instances, and the access that host functions have to them.

use std::fmt;
use std::sync::Arc;

use crate::{
    Error, ExportKind, FuncIndex, GlobalIndex, MemoryIndex, MemoryMeter, ModuleInfo, NumericType,
    Slot, Snapshot, TableIndex, Val,
};

/// Access to a guest: what a host function gets for the length of its call, and what the owner of
/// an [`Instance`] has between calls.
///
/// Offsets and lengths come from the guest and are checked here; nothing outside a memory is ever
/// read or written. An index that the module neither imports nor exports is
/// [`Error::NoSuchExport`].
pub trait Caller {
    /// Names, types and indexes of the module.
    fn info(&self) -> &Arc<ModuleInfo>;

    /// Calls an exported function. `args` and `results` must fit its type in number and kind;
    /// `results` is overwritten, and unspecified after an error.
    ///
    /// Does not allocate for functions of numbers, if the runtime's interface allows that. From a
    /// host function this is a nested call, which shares deadline and fuel with the outermost one.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`], [`Error::Signature`] or [`Error::ForeignReference`] before the
    /// guest ran; [`Error::Trap`], [`Error::Host`] or [`Error::HostPanicked`] if the call ended
    /// early.
    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error>;

    /// Whether the call in flight may go on, for host functions that wait: they ask every few
    /// milliseconds, and return the error.
    ///
    /// # Errors
    ///
    /// [`Error::Trap`]: [`crate::Trap::DeadlineExceeded`] or [`crate::Trap::Interrupted`].
    fn may_go_on(&self) -> Result<(), Error>;

    /// The size of a linear memory in bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`].
    fn memory_size(&self, memory: MemoryIndex) -> Result<u64, Error>;

    /// Copies `buffer.len()` bytes out of a linear memory, from `offset`.
    ///
    /// Other threads may be writing to a shared memory: each byte copied was there at some moment.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], with nothing copied; [`Error::NoSuchExport`].
    fn memory_read(&self, memory: MemoryIndex, offset: u64, buffer: &mut [u8])
    -> Result<(), Error>;

    /// Copies `bytes` into a linear memory at `offset`.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], with nothing written; [`Error::NoSuchExport`].
    fn memory_write(&mut self, memory: MemoryIndex, offset: u64, bytes: &[u8])
    -> Result<(), Error>;

    /// Keeps bytes with the record of a host function's call, for the host's own part in replays:
    /// [`crate::ReplayObserver::replayed`] is given them. The guest does not see them. A call has
    /// one note, the first. Where nothing is recorded, nothing is kept.
    fn note(&mut self, _bytes: &[u8]) {}

    /// Grows a linear memory by `pages_delta` pages and returns how many it had. The same limits
    /// apply as for the guest.
    ///
    /// # Errors
    ///
    /// [`Error::Growth`]; [`Error::NoSuchExport`].
    fn memory_grow(&mut self, memory: MemoryIndex, pages_delta: u64) -> Result<u64, Error>;

    /// Reads a global.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`].
    fn global(&mut self, global: GlobalIndex) -> Result<Val, Error>;

    /// Sets a mutable global.
    ///
    /// # Errors
    ///
    /// [`Error::ImmutableGlobal`]; [`Error::ValueType`]; [`Error::ForeignReference`];
    /// [`Error::NoSuchExport`].
    fn set_global(&mut self, global: GlobalIndex, value: &Val) -> Result<(), Error>;

    /// The size of a table in elements.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`].
    fn table_size(&self, table: TableIndex) -> Result<u64, Error>;

    /// Grows a table by `elements_delta` elements, each set to `initial`, and returns how many it
    /// had. The same limits apply as for the guest.
    ///
    /// # Errors
    ///
    /// [`Error::Growth`]; [`Error::ValueType`]; [`Error::ForeignReference`];
    /// [`Error::NoSuchExport`].
    fn table_grow(
        &mut self,
        table: TableIndex,
        elements_delta: u64,
        initial: &Val,
    ) -> Result<u64, Error>;

    /// Reads an element of a table.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchElement`]; [`Error::NoSuchExport`].
    fn table_get(&mut self, table: TableIndex, element: u64) -> Result<Val, Error>;

    /// Sets an element of a table.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchElement`]; [`Error::ValueType`]; [`Error::ForeignReference`];
    /// [`Error::NoSuchExport`].
    fn table_set(&mut self, table: TableIndex, element: u64, value: &Val) -> Result<(), Error>;
}

/// Writes the named methods of a [`Caller`], each of which asks the caller in one field of `self`.
#[macro_export]
macro_rules! delegate_caller {
    ($field:ident: $($method:ident),+ $(,)?) => {
        $($crate::delegate_caller!(@$method $field);)+
    };
    (@may_go_on $field:ident) => {
        fn may_go_on(&self) -> Result<(), $crate::Error> {
            self.$field.may_go_on()
        }
    };
    (@memory_size $field:ident) => {
        $crate::delegate_caller!(@ self (&self) $field memory_size(
            memory: $crate::MemoryIndex) u64);
    };
    (@memory_read $field:ident) => {
        $crate::delegate_caller!(@ self (&self) $field memory_read(
            memory: $crate::MemoryIndex, offset: u64, buffer: &mut [u8]) ());
    };
    (@memory_write $field:ident) => {
        $crate::delegate_caller!(@ self (&mut self) $field memory_write(
            memory: $crate::MemoryIndex, offset: u64, bytes: &[u8]) ());
    };
    (@memory_grow $field:ident) => {
        $crate::delegate_caller!(@ self (&mut self) $field memory_grow(
            memory: $crate::MemoryIndex, pages: u64) u64);
    };
    (@global $field:ident) => {
        $crate::delegate_caller!(@ self (&mut self) $field global(
            global: $crate::GlobalIndex) $crate::Val);
    };
    (@set_global $field:ident) => {
        $crate::delegate_caller!(@ self (&mut self) $field set_global(
            global: $crate::GlobalIndex, value: &$crate::Val) ());
    };
    (@table_size $field:ident) => {
        $crate::delegate_caller!(@ self (&self) $field table_size(table: $crate::TableIndex) u64);
    };
    (@table_grow $field:ident) => {
        $crate::delegate_caller!(@ self (&mut self) $field table_grow(
            table: $crate::TableIndex, elements: u64, initial: &$crate::Val) u64);
    };
    (@table_get $field:ident) => {
        $crate::delegate_caller!(@ self (&mut self) $field table_get(
            table: $crate::TableIndex, element: u64) $crate::Val);
    };
    (@table_set $field:ident) => {
        $crate::delegate_caller!(@ self (&mut self) $field table_set(
            table: $crate::TableIndex, element: u64, value: &$crate::Val) ());
    };
    (@ $self:ident ($($receiver:tt)+) $field:ident $method:ident(
        $($arg:ident: $ty:ty),+) $ok:ty) => {
        fn $method($($receiver)+, $($arg: $ty),+) -> Result<$ok, $crate::Error> {
            $self.$field.$method($($arg),+)
        }
    };
}

/// An instance of a module. It can move between threads; one thread uses it at a time.
///
/// Dropping it frees its memories.
pub trait Instance: Caller + Send {
    /// Calls an exported function of numbers whose type the caller looked up before: the shortest
    /// way into a guest. `slots` holds the arguments in order, and the results take their places.
    /// After an error the slots are unspecified. More slots than the call needs are no error.
    ///
    /// The engine compares `ty` with the function's own type, in one comparison of two words. So
    /// any type, index and slots are safe to pass, as with [`Caller::call`]. It does not allocate.
    ///
    /// # Errors
    ///
    /// As [`Caller::call`]; [`Error::Signature`] also for too few slots.
    fn call_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Error>;

    /// A handle that reads [`Instance::memory_bytes`] without the instance, or `None` for an
    /// instance with shared memories, which other instances can grow.
    fn memory_meter(&self) -> Option<MemoryMeter>;

    /// The size of all its linear memories at this moment, in bytes, including shared memories and
    /// those that the host cannot reach by an index. Costs a few loads: it is read after every
    /// call.
    fn memory_bytes(&self) -> u64;

    /// The growth of memories that was refused since this was last asked, or since the instance was
    /// made: to the guest's `memory.grow`, or to [`Caller::memory_grow`]. The number is the size in
    /// bytes that all memories would have had together; of several refusals it is the smallest.
    /// `None` if there was none.
    ///
    /// It does not matter why growth was refused: the limits, the memory's own maximum, the size of
    /// its addresses (the number is then `u64::MAX` if it is not known), or a system that had no
    /// memory left. Growth of tables does not count.
    ///
    /// A shared memory counts for itself, with its latest refusal to any of its instances, if the
    /// runtime reports that at all.
    fn growth_refused(&mut self) -> Option<u64>;

    /// The value of a mutable global of numbers, exported or not, by its index in the module's
    /// bytes: to watch what a guest keeps for itself, such as its stack pointer.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`] for any other index, and from an engine that reaches exported
    /// globals alone.
    fn watched_global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        Err(Error::NoSuchExport {
            kind: "global",
            name: global.0.to_string(),
        })
    }

    /// A handle with which other threads can end the instance's calls.
    ///
    /// Requires [`crate::Capabilities::interruption`].
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`].
    fn interrupter(&self) -> Result<Interrupter, Error>;

    /// The fuel that the last outermost call left, or `None` if the instance runs without
    /// [`crate::Limits::fuel`].
    fn fuel_left(&mut self) -> Option<u64>;

    /// Captures the state, to make other instances like it. The instance goes on as it was, and
    /// shares its pages with the snapshot, if the system supports that. Pages that have not changed
    /// since it was restored or last captured are shared with that snapshot, and not copied again.
    /// Tables that can change are copied, 8 bytes for each element.
    ///
    /// A shared memory is captured if no other instance has it at that moment. Other threads may
    /// hold the [`crate::SharedMemory`]: their accesses wait.
    ///
    /// # Errors
    ///
    /// [`Error::Image`]; [`Error::Unsupported`] if
    /// [`Module::snapshots`](crate::Module::snapshots) refuses, for a shared memory that other
    /// instances have too, and for references to functions of other instances.
    fn capture(&mut self) -> Result<Snapshot, Error>;

    /// Gives the memories' pages back to the system, a few MiB at a time: no other thread waits for
    /// long. Afterwards the instance is useless, and dropping it is quick. Shared memories stay,
    /// because others may have them; see [`crate::SharedMemory::discard`].
    fn discard_memories(&mut self);
}

/// The engine's side of an [`Interrupter`].
pub trait Interrupt: Send + Sync {
    /// See [`Interrupter::interrupt`].
    fn interrupt(&self);
}

/// Ends a guest's computation from another thread.
///
/// The request sticks: a call in flight ends with [`crate::Trap::Interrupted`] within two ticks of
/// 10 ms, and so does every later call of that instance. A host function in flight runs to its end.
#[derive(Clone)]
pub struct Interrupter(Arc<dyn Interrupt>);

impl Interrupter {
    /// For engines: wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Interrupt>) -> Self {
        Self(inner)
    }

    /// Ends the call in flight, if there is one, and every later call of the instance.
    pub fn interrupt(&self) {
        self.0.interrupt();
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}

/// Access by the names of exports, for tests and tools.
pub trait InstanceExt: Caller {
    /// Calls an export by its name and returns its results.
    ///
    /// # Errors
    ///
    /// As [`Caller::call`].
    fn invoke(&mut self, name: &str, args: &[Val]) -> Result<Vec<Val>, Error> {
        let info = Arc::clone(self.info());
        let (func, function) = info.function(name)?;
        let types = function.ty.results().iter();
        let mut results: Vec<Val> = types.map(|ty| Val::zero(*ty)).collect();
        self.call(func, args, &mut results)?;
        Ok(results)
    }

    /// The index of an exported linear memory.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`].
    fn memory_index(&self, name: &str) -> Result<MemoryIndex, Error> {
        match self.info().export(name).map(|export| export.kind) {
            Some(ExportKind::Memory(index)) => Ok(index),
            _ => Err(no_such("memory", name)),
        }
    }

    /// The index of an exported table.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`].
    fn table_index(&self, name: &str) -> Result<TableIndex, Error> {
        match self.info().export(name).map(|export| export.kind) {
            Some(ExportKind::Table(index)) => Ok(index),
            _ => Err(no_such("table", name)),
        }
    }

    /// The index of an exported global.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchExport`].
    fn global_index(&self, name: &str) -> Result<GlobalIndex, Error> {
        match self.info().export(name).map(|export| export.kind) {
            Some(ExportKind::Global(index)) => Ok(index),
            _ => Err(no_such("global", name)),
        }
    }
}

fn no_such(kind: &'static str, name: &str) -> Error {
    Error::NoSuchExport {
        kind,
        name: name.to_owned(),
    }
}

impl<T: Caller + ?Sized> InstanceExt for T {}
