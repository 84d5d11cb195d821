//! What belongs to one guest, and to each of its threads.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_api::{
    Caller, Error, Extern, ExternType, FuncIndex, GlobalIndex, GuestError, Imports, Instance,
    Interrupt, Interrupter, Limits, MemoryIndex, Module, ModuleInfo, SharedMemory, TableIndex,
    TableType, Trap, Val,
};

use crate::heap::Heap;
use crate::imports::{self, Served};
use crate::surface::Surface;
use crate::system::System;
use crate::{Options, call, names};

/// What the threads of one guest share.
pub(crate) struct Realm {
    pub(crate) module: Arc<dyn Module>,
    pub(crate) surface: Arc<Surface>,
    pub(crate) options: Options,
    pub(crate) system: System,
    /// What the instance was given, beyond what the host serves.
    given: Imports,
    limits: Limits,
    memory: Option<SharedMemory>,
    /// Where the guest has put its pool builder: the argument of `startWorkers`.
    builder: AtomicU32,
    running: Mutex<Running>,
}

/// Who runs in the guest, and what went wrong there.
#[derive(Default)]
struct Running {
    interrupters: Vec<(u64, Interrupter)>,
    last: u64,
    interrupted: bool,
    fault: Option<Fault>,
}

/// How a worker ended when it should not have.
#[derive(Clone, Debug)]
struct Fault {
    worker: u32,
    trap: Option<Trap>,
    message: String,
}

impl Realm {
    pub(crate) fn new(
        module: &Arc<dyn Module>,
        surface: &Arc<Surface>,
        options: &Options,
        given: &Imports,
        limits: &Limits,
        memory: Option<SharedMemory>,
    ) -> Result<Self, Error> {
        Ok(Self {
            system: System::find(given)?,
            module: Arc::clone(module),
            surface: Arc::clone(surface),
            options: options.clone(),
            given: given.clone(),
            limits: limits.clone(),
            memory,
            builder: AtomicU32::new(0),
            running: Mutex::default(),
        })
    }

    /// An instance for one more thread, and that thread's objects. `limits` are the guest's, but for
    /// the deadline of a worker, whose one call lasts as long as its pool.
    ///
    /// It can be interrupted before it runs anything: the guest's own start waits for a lock, which a
    /// thread that died at its start has taken with it.
    pub(crate) fn instantiate(self: &Arc<Self>, is_worker: bool) -> Result<Started, Error> {
        let thread = Arc::new(Thread {
            realm: Arc::clone(self),
            heap: Mutex::new(Heap::new()),
        });
        let imports = self.imports(&thread);
        let limits = Limits {
            deadline: self.limits.deadline.filter(|_| !is_worker),
            ..self.limits.clone()
        };
        let mut instance = self.module.instantiate(&imports, &limits)?;
        let registered = match instance.interrupter() {
            Ok(interrupter) => self.register(interrupter),
            Err(error) if is_worker => return Err(error),
            Err(_) => None,
        };
        if let Some((start, takes_stack)) = self.surface.start {
            // The main thread keeps the stack that the linker gave it, whatever is asked for.
            let stack = [Val::from(self.options.worker_stack_bytes)];
            let args = if takes_stack { &stack[..] } else { &[] };
            if let Err(error) = instance.call(start, args, &mut []) {
                self.unregister(registered);
                return Err(error);
            }
        }
        Ok(Started {
            instance,
            thread,
            registered,
        })
    }

    fn imports(self: &Arc<Self>, thread: &Arc<Thread>) -> Imports {
        let mut imports = Imports::new();
        for import in self.surface.inner.imports() {
            let (module, name) = (import.module.as_str(), import.name.as_str());
            match (&import.ty, self.given.get(module, name)) {
                // What the user gives goes before what the host would do.
                (_, Some(Extern::Func(function))) => {
                    let (inner, realm) = (function.clone(), Arc::clone(self));
                    let function = function.replaced(move |caller, args, results| {
                        inner.invoke(&mut Facade::new(&realm.surface, caller), args, results)
                    });
                    imports.define(module, name, Extern::Func(function));
                }
                (_, Some(item)) => {
                    imports.define(module, name, item.clone());
                }
                (ExternType::Func(ty), None) => {
                    let base = names::base(name).unwrap_or_default();
                    let Some(serve) = imports::find(base, ty) else {
                        continue;
                    };
                    let served = Served::new(name, base, ty, serve);
                    let thread = Arc::clone(thread);
                    imports.func(module, name, ty.clone(), move |caller, args, results| {
                        call::serve(&thread, &served, caller, args, results)
                    });
                }
                (ExternType::Memory(_), None) => {
                    if let Some(memory) = &self.memory {
                        imports.define(module, name, Extern::SharedMemory(memory.clone()));
                    }
                }
                (ExternType::Table(ty), None) => {
                    imports.define(module, name, Extern::Table(roomy(*ty)));
                }
                _ => {}
            }
        }
        imports.stub_missing(&self.surface.inner);
        imports
    }

    pub(crate) fn shared_memory(&self) -> Option<&SharedMemory> {
        self.memory.as_ref()
    }

    pub(crate) fn set_builder(&self, pointer: u32) {
        self.builder.store(pointer, Ordering::Release);
    }

    /// The pool builder that the guest has made since the last time.
    pub(crate) fn take_builder(&self) -> Option<u32> {
        let pointer = self.builder.swap(0, Ordering::AcqRel);
        (pointer != 0).then_some(pointer)
    }

    /// Notes how to end an instance of the guest; `None` if it is to end at once.
    fn register(&self, interrupter: Interrupter) -> Option<u64> {
        let mut running = self.running();
        if running.interrupted {
            interrupter.interrupt();
            return None;
        }
        running.last += 1;
        let number = running.last;
        running.interrupters.push((number, interrupter));
        Some(number)
    }

    pub(crate) fn unregister(&self, registered: Option<u64>) {
        let mut running = self.running();
        running
            .interrupters
            .retain(|(number, _)| Some(*number) != registered);
    }

    /// Ends every instance of the guest, for good.
    pub(crate) fn interrupt(&self) {
        let mut running = self.running();
        running.interrupted = true;
        let interrupters: Vec<_> = running
            .interrupters
            .iter()
            .map(|(_, i)| i.clone())
            .collect();
        drop(running);
        for interrupter in interrupters {
            interrupter.interrupt();
        }
    }

    /// A worker ended early: so does everything else, because what it held is locked for ever.
    pub(crate) fn worker_failed(&self, worker: u32, error: &Error) {
        let mut running = self.running();
        let first = running.fault.is_none() && !running.interrupted;
        if first {
            running.fault = Some(Fault {
                worker,
                trap: error.trap(),
                message: describe(error),
            });
        }
        drop(running);
        if first {
            tracing::warn!(
                worker,
                error = describe(error),
                "a worker of a thread pool ended early"
            );
            self.interrupt();
        }
    }

    /// The error of a call during which, or before which, a worker ended early.
    pub(crate) fn fault(&self) -> Option<Error> {
        let fault = self.running().fault.clone()?;
        Some(match fault.trap {
            Some(trap) => Error::Trap(trap),
            None => failed(
                "worker",
                format!(
                    "worker {} of the thread pool: {}",
                    fault.worker, fault.message
                ),
            ),
        })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with everything behind it, in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// An error of the host itself, which ends the call.
pub(crate) fn failed(name: &str, message: impl Into<String>) -> Error {
    Error::Host {
        module: "bindgen-host".to_owned(),
        name: name.to_owned(),
        source: Box::new(GuestError {
            message: message.into(),
        }),
    }
}

/// Elements that a table for a guest has at least, where its type allows them: guests written for
/// JavaScript count on tables that they need not grow.
const TABLE_ELEMENTS_MIN: u64 = 4096;

fn roomy(ty: TableType) -> TableType {
    let wanted = TABLE_ELEMENTS_MIN.min(ty.elements_max.unwrap_or(u64::MAX));
    TableType {
        elements_min: ty.elements_min.max(wanted),
        ..ty
    }
}

/// Ends all instances of a guest.
pub(crate) struct InterruptAll(pub(crate) Arc<Realm>);

impl Interrupt for InterruptAll {
    fn interrupt(&self) {
        self.0.interrupt();
    }
}

/// An instance for a thread of a guest, ready to be called.
pub(crate) struct Started {
    pub(crate) instance: Box<dyn Instance>,
    pub(crate) thread: Arc<Thread>,
    /// What [`Realm::unregister`] takes when it ends.
    pub(crate) registered: Option<u64>,
}

/// One thread of a guest: its own objects.
pub(crate) struct Thread {
    pub(crate) realm: Arc<Realm>,
    heap: Mutex<Heap>,
}

impl Thread {
    pub(crate) fn heap(&self) -> MutexGuard<'_, Heap> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The guest as functions from outside see it: with the imports and exports of the outer module.
pub(crate) struct Facade<'a> {
    surface: &'a Surface,
    caller: &'a mut dyn Caller,
}

impl<'a> Facade<'a> {
    pub(crate) fn new(surface: &'a Surface, caller: &'a mut dyn Caller) -> Self {
        Self { surface, caller }
    }
}

impl Caller for Facade<'_> {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.surface.outer
    }

    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
        // The host's own functions are not for calls in the middle of another: the index is past
        // the inner module's, which says so.
        self.caller.call(func, args, results)
    }

    fn memory_size(&self, memory: MemoryIndex) -> Result<u64, Error> {
        self.caller.memory_size(memory)
    }

    fn memory_read(
        &self,
        memory: MemoryIndex,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        self.caller.memory_read(memory, offset, buffer)
    }

    fn memory_write(
        &mut self,
        memory: MemoryIndex,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.caller.memory_write(memory, offset, bytes)
    }

    fn memory_grow(&mut self, memory: MemoryIndex, pages_delta: u64) -> Result<u64, Error> {
        self.caller.memory_grow(memory, pages_delta)
    }

    fn global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        self.caller.global(global)
    }

    fn set_global(&mut self, global: GlobalIndex, value: &Val) -> Result<(), Error> {
        self.caller.set_global(global, value)
    }

    fn table_size(&self, table: TableIndex) -> Result<u64, Error> {
        self.caller.table_size(table)
    }

    fn table_grow(
        &mut self,
        table: TableIndex,
        elements_delta: u64,
        initial: &Val,
    ) -> Result<u64, Error> {
        self.caller.table_grow(table, elements_delta, initial)
    }

    fn table_get(&mut self, table: TableIndex, element: u64) -> Result<Val, Error> {
        self.caller.table_get(table, element)
    }

    fn table_set(&mut self, table: TableIndex, element: u64, value: &Val) -> Result<(), Error> {
        self.caller.table_set(table, element, value)
    }
}
