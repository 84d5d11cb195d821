//! Makes the instance of a thread, and links its imports to the functions that serve them.

use std::sync::Arc;

use engine_api::{
    Error, Extern, ExternType, Import, Imports, Instance, Limits, Snapshot, TableType, Val,
};

use crate::call::{self, Served};
use crate::facade::Facade;
use crate::heap::Heap;
use crate::realm::{Realm, Thread};
use crate::system::SYSTEM;
use crate::{imports, names};

/// The instance of one thread, whose start function has run.
pub(crate) struct Started {
    pub(crate) instance: Box<dyn Instance>,
    pub(crate) thread: Arc<Thread>,
    /// The number that [`Realm::unregister`] takes when the instance ends.
    pub(crate) registered: Option<u64>,
}

impl Realm {
    /// Makes an instance for one more thread, under the guest's limits. A worker has no deadline,
    /// because its one call lasts as long as its pool.
    ///
    /// The instance can be interrupted before it runs anything: the guest's start function waits
    /// for a lock, and a thread that died at its start never gives it back.
    pub(crate) fn instantiate(self: &Arc<Self>, is_worker: bool) -> Result<Started, Error> {
        let thread = Arc::new(Thread::new(self, Heap::new(self.surface.constants)));
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
            // The main thread keeps the stack that the linker gave it. Only workers use the
            // argument.
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

    /// Makes the main thread's instance in the state of a snapshot, with this heap.
    pub(crate) fn restore(
        self: &Arc<Self>,
        snapshot: &Snapshot,
        heap: Heap,
    ) -> Result<Started, Error> {
        let thread = Arc::new(Thread::new(self, heap));
        let imports = self.imports(&thread);
        let instance = self.module.restore(&imports, &self.limits, snapshot)?;
        let interrupter = instance.interrupter().ok();
        Ok(Started {
            instance,
            thread,
            registered: interrupter.and_then(|interrupter| self.register(interrupter)),
        })
    }

    fn imports(self: &Arc<Self>, thread: &Arc<Thread>) -> Imports {
        let mut imports = Imports::new();
        for import in self.surface.inner.imports() {
            let (module, name) = (import.module.as_str(), import.name.as_str());
            match (&import.ty, self.given.get(module, name)) {
                // The user's functions go before the host's.
                (_, Some(Extern::Func(function))) => {
                    let (inner, realm) = (function.clone(), Arc::clone(self));
                    let called = name.to_owned();
                    let function = function.replaced(move |caller, args, results| {
                        realm.call_outside(&called)?;
                        inner.invoke(&mut Facade::new(&realm.surface, caller), args, results)
                    });
                    imports.define(module, name, Extern::Func(function));
                }
                (_, Some(item)) => {
                    imports.define(module, name, item.clone());
                }
                (ExternType::Func(ty), None) => {
                    let Some(serve) = imports::find(name, ty) else {
                        continue;
                    };
                    let base = names::base(name).unwrap_or_default();
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
        imports.stub_missing_where(&self.surface.inner, is_stub);
        imports
    }
}

/// Whether an import that nobody gives is a stub. What is not JavaScript's is refused as in any other
/// module, and so is what [`system`](crate::system()) gives.
pub(crate) fn is_stub(import: &Import) -> bool {
    !import.module.starts_with("wasi_") && !import.module.starts_with(SYSTEM)
}

/// The least number of elements of a table that the host makes, where the table's type allows it.
/// Guests written for JavaScript count on tables that they need not grow.
const TABLE_ELEMENTS_MIN: u64 = 4096;

fn roomy(ty: TableType) -> TableType {
    let wanted = TABLE_ELEMENTS_MIN.min(ty.elements_max.unwrap_or(u64::MAX));
    TableType {
        elements_min: ty.elements_min.max(wanted),
        ..ty
    }
}
