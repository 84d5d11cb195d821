//! The state of one guest in this process.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;

use engine_api::{Error, FuncRef, Limits, MemoryImage, Val, ValType};
use wasmer_compiler::InstantiationError;
use wasmer_types::{ExportIndex, GlobalIndex, MemoryIndex, TableIndex};
use wasmer_vm::{
    InternalStoreHandle, LinearMemory, StoreObjects, VMCallerCheckedAnyfunc, VMExtern,
    VMGlobalDefinition, VMInstance, VMMemory, VMMemoryDefinition, VMTable,
};

use crate::compiled::Compiled;
use crate::convert::References;
use crate::interrupt::{Watch, Watched};
use crate::libcalls;
use crate::limits::{Account, InstanceTunables};
use crate::shared_memory::SharedState;
use crate::traps::{self, Imposed};

/// The state of one guest. Host functions reach it while a call is in flight, so it is only ever
/// borrowed shared. Everything that changes is in cells, borrowed for no longer than a statement.
pub(crate) struct InstanceState {
    pub(crate) compiled: Arc<Compiled>,
    objects: NonNull<StoreObjects>,
    parts: OnceCell<Parts>,
    pub(crate) callees: Box<[Cell<Option<Callee>>]>,
    pub(crate) references: RefCell<References>,
    /// The addresses of references to functions that were looked up, by the function's index.
    pub(crate) functions: RefCell<HashMap<u32, usize>>,
    pub(crate) account: Arc<Account>,
    /// The image that each memory was last restored from or captured to.
    pub(crate) images: RefCell<HashMap<engine_api::MemoryIndex, MemoryImage>>,
    pub(crate) watched: Arc<Watched>,
    pub(crate) watch: OnceCell<Watch>,
    pub(crate) limits: Limits,
    /// Calls in flight, one inside the other.
    pub(crate) depth: Cell<u32>,
    pub(crate) fuel_left: Cell<Option<u64>>,
    /// How often its shared memories had been refused growth when that was last asked.
    refusals_seen: Cell<u64>,
    /// Whether the call in flight recursed through host functions until the host's stack was used
    /// up.
    pub(crate) recursed: Cell<bool>,
}

/// The parts of an instance that exist once its code is joined with memories, tables and globals.
pub(crate) struct Parts {
    pub(crate) instance: NonNull<VMInstance>,
    memories: Box<[Option<MemoryParts>]>,
    tables: Box<[Option<InternalStoreHandle<VMTable>>]>,
    globals: Box<[Option<NonNull<VMGlobalDefinition>>]>,
    pub(crate) shared: Box<[Arc<SharedState>]>,
    pub(crate) fuel: Option<Fuel>,
}

/// A memory that the host reaches by its index.
pub(crate) struct MemoryParts {
    pub(crate) handle: InternalStoreHandle<VMMemory>,
    pub(crate) definition: NonNull<VMMemoryDefinition>,
    pub(crate) shared: Option<Arc<SharedState>>,
}

/// A function, with everything that a call needs.
#[derive(Clone, Copy)]
pub(crate) struct Callee(pub(crate) VMCallerCheckedAnyfunc);

#[derive(Clone, Copy)]
pub(crate) struct Fuel {
    remaining: NonNull<VMGlobalDefinition>,
    exhausted: NonNull<VMGlobalDefinition>,
}

impl Fuel {
    pub(crate) fn fill(self, units: u64) {
        // SAFETY: the globals live as long as the instance, and no guest code is running.
        unsafe {
            (*self.remaining.as_ptr()).val.u64 = units;
            (*self.exhausted.as_ptr()).val.i32 = 0;
        }
    }

    pub(crate) fn left(self) -> u64 {
        // SAFETY: as above.
        unsafe { self.remaining.as_ref().val.u64 }
    }

    pub(crate) fn is_exhausted(self) -> bool {
        // SAFETY: as above.
        unsafe { self.exhausted.as_ref().val.i32 != 0 }
    }
}

impl Drop for InstanceState {
    fn drop(&mut self) {
        // SAFETY: both came from `Box`es that nobody else frees; the instance points into the
        // objects, hence the order, and the code of both lives in `compiled`, which is dropped
        // later.
        unsafe {
            if let Some(parts) = self.parts.take() {
                drop(Box::from_raw(parts.instance.as_ptr()));
            }
            drop(Box::from_raw(self.objects.as_ptr()));
        }
    }
}

impl InstanceState {
    pub(crate) fn new(
        compiled: &Arc<Compiled>,
        watched: Arc<Watched>,
        tunables: &InstanceTunables,
        limits: &Limits,
    ) -> Self {
        Self {
            objects: NonNull::from(Box::leak(Box::<StoreObjects>::default())),
            parts: OnceCell::new(),
            callees: vec![Cell::new(None); compiled.info.functions().len()].into(),
            references: RefCell::new(References::new(FuncRef::new_instance())),
            functions: RefCell::default(),
            account: Arc::clone(&tunables.account),
            images: RefCell::default(),
            watched,
            watch: OnceCell::new(),
            limits: limits.clone(),
            depth: Cell::new(0),
            fuel_left: Cell::new(limits.fuel),
            refusals_seen: Cell::new(0),
            recursed: Cell::new(false),
            compiled: Arc::clone(compiled),
        }
    }

    /// Makes the calls to come interruptible.
    pub(crate) fn keep_watch(&self) -> Result<&Watch, Error> {
        let watch = Watch::new(&self.watched);
        let settings = &self.compiled.settings;
        let watch = watch.map_err(|error| settings.failed("start its watchdog", error))?;
        Ok(self.watch.get_or_init(|| watch))
    }

    /// Wasmer's objects of this guest, for the length of a statement.
    ///
    /// # Safety
    ///
    /// The result must be gone before the guest's code runs or another one is asked for.
    #[expect(
        clippy::mut_from_ref,
        reason = "wasmer reaches the same objects through a raw pointer whenever guest code runs"
    )]
    pub(crate) unsafe fn objects(&self) -> &mut StoreObjects {
        // SAFETY: it lives until the guest is dropped; the caller keeps borrows apart.
        unsafe { &mut *self.objects.as_ptr() }
    }

    pub(crate) fn parts(&self) -> &Parts {
        self.parts.get().expect("set before any guest code runs")
    }

    pub(crate) fn memory(&self, index: u32) -> Result<&MemoryParts, Error> {
        find(&self.parts().memories, "memory", index)
    }

    pub(crate) fn table(&self, index: u32) -> Result<InternalStoreHandle<VMTable>, Error> {
        find(&self.parts().tables, "table", index).copied()
    }

    pub(crate) fn global(&self, index: u32) -> Result<NonNull<VMGlobalDefinition>, Error> {
        find(&self.parts().globals, "global", index).copied()
    }

    /// The value of a global of this guest, whose type is `ty`.
    pub(crate) fn value(&self, definition: NonNull<VMGlobalDefinition>, ty: ValType) -> Val {
        // SAFETY: callers pass a global of this guest with its own type. It lives as long as the
        // guest, and holds a value of that type.
        unsafe {
            let raw = definition.as_ref().val;
            self.references.borrow_mut().lift(ty, raw)
        }
    }

    /// Sets a global of this guest. The caller has checked the value's type.
    pub(crate) fn set_value(
        &self,
        definition: NonNull<VMGlobalDefinition>,
        value: &Val,
    ) -> Result<(), Error> {
        let raw = self.references.borrow_mut().lower(value)?;
        // SAFETY: callers pass a global of this guest, and a value that they have checked to be of
        // its type. The global lives as long as the guest, whose code is not running.
        unsafe { (*definition.as_ptr()).val = raw };
        Ok(())
    }

    /// Joins the module's code with its imports and with memories, tables and globals of its own.
    pub(crate) fn populate(
        &self,
        tunables: &InstanceTunables,
        externs: &[VMExtern],
    ) -> Result<(), Error> {
        let machine_code = self.compiled.machine_code();
        // SAFETY: the imports are objects of this guest, in the module's order, with types that
        // have been checked. The objects stay where they are until the instance is gone.
        let instance = unsafe { machine_code.instantiate(tunables, externs, self.objects()) };
        let instance = instance.map_err(|error| self.instantiation_error(error))?;
        let instance = NonNull::from(Box::leak(Box::new(instance)));
        // SAFETY: it is complete and has not run.
        unsafe { libcalls::install(instance) };

        let reach = &self.compiled.reach;
        let shared = self.account.take_shared();
        let memories = each(&reach.memories, |index| {
            match lookup(instance, ExportIndex::Memory(MemoryIndex::from_u32(index))) {
                VMExtern::Memory(handle) => self.memory_parts(handle, &shared),
                _ => unreachable!("asked for a memory"),
            }
        });
        let tables = each(&reach.tables, |index| {
            match lookup(instance, ExportIndex::Table(TableIndex::from_u32(index))) {
                VMExtern::Table(handle) => handle,
                _ => unreachable!("asked for a table"),
            }
        });
        let globals = each(&reach.globals, |index| {
            self.global_definition(instance, GlobalIndex::from_u32(index))
        });
        let fuel = self.compiled.fuel.map(|globals| Fuel {
            remaining: self.global_definition(instance, globals.remaining),
            exhausted: self.global_definition(instance, globals.exhausted),
        });
        let parts = Parts {
            instance,
            memories,
            tables,
            globals,
            shared,
            fuel,
        };
        assert!(self.parts.set(parts).is_ok(), "populated once");
        // The refusals of a shared memory before this instance are not its own.
        let (refusals, _) = self.shared_refused();
        self.refusals_seen.set(refusals);
        Ok(())
    }

    /// How often its shared memories were refused growth, and the smallest of the sizes that they
    /// were refused last.
    fn shared_refused(&self) -> (u64, Option<u64>) {
        let shared = self.parts().shared.iter().map(|shared| shared.refused());
        shared.fold((0, None), |(refusals, smallest), (more, bytes)| {
            let refused = (more > 0).then_some(bytes);
            (refusals + more, smallest.into_iter().chain(refused).min())
        })
    }

    /// The growth that was refused since this was last asked: see
    /// [`engine_api::Instance::growth_refused`].
    pub(crate) fn take_refused(&self) -> Option<u64> {
        let own = self.account.meter.take_refused();
        if self.parts().shared.is_empty() {
            return own;
        }
        let (refusals, bytes) = self.shared_refused();
        let is_news = self.refusals_seen.replace(refusals) != refusals;
        let shared = bytes.filter(|_| is_news);
        own.into_iter().chain(shared).min()
    }

    pub(crate) fn instantiation_error(&self, error: InstantiationError) -> Error {
        match error {
            InstantiationError::Start(trap) => traps::error(trap, Imposed::default()),
            error => self
                .compiled
                .settings
                .failed("instantiate the module", error),
        }
    }

    pub(crate) fn global_definition(
        &self,
        instance: NonNull<VMInstance>,
        index: GlobalIndex,
    ) -> NonNull<VMGlobalDefinition> {
        match lookup(instance, ExportIndex::Global(index)) {
            // SAFETY: the borrow ends with the expression.
            VMExtern::Global(handle) => unsafe { handle.get(self.objects()).vmglobal() },
            _ => unreachable!("asked for a global"),
        }
    }

    fn memory_parts(
        &self,
        handle: InternalStoreHandle<VMMemory>,
        shared: &[Arc<SharedState>],
    ) -> MemoryParts {
        // SAFETY: the borrow ends with the expression; a memory's definition is initialised.
        let (definition, base) = unsafe {
            let definition = handle.get(self.objects()).vmmemory();
            (definition, definition.as_ref().base)
        };
        let shared = shared.iter().find(|state| state.is_at(base));
        MemoryParts {
            handle,
            definition,
            shared: shared.map(Arc::clone),
        }
    }
}

fn find<'a, T>(parts: &'a [Option<T>], kind: &'static str, index: u32) -> Result<&'a T, Error> {
    let part = parts.get(index as usize).and_then(Option::as_ref);
    part.ok_or_else(|| Error::no_such_index(kind, index))
}

pub(crate) fn lookup(instance: NonNull<VMInstance>, index: ExportIndex) -> VMExtern {
    // SAFETY: the instance is boxed, and nobody else borrows it: guest code reaches it through its
    // context only.
    unsafe { (*instance.as_ptr()).lookup_by_declaration(index) }
}

/// Looks up the parts that the host can reach, in the order of their indexes.
fn each<T>(reach: &[bool], mut part: impl FnMut(u32) -> T) -> Box<[Option<T>]> {
    let indexes = 0_u32..;
    indexes
        .zip(reach)
        .map(|(index, reachable)| reachable.then(|| part(index)))
        .collect()
}
