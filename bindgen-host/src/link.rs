//! Makes the instance of a thread, and links its imports to what serves them.

use std::sync::Arc;

use engine_api::{Error, Extern, ExternType, Imports, Instance, Limits, TableType, Val};

use crate::call::{self, Served};
use crate::facade::Facade;
use crate::realm::{Realm, Thread};
use crate::{imports, names};

/// An instance for a thread of a guest, ready to be called.
pub(crate) struct Started {
    pub(crate) instance: Box<dyn Instance>,
    pub(crate) thread: Arc<Thread>,
    /// What [`Realm::unregister`] takes when it ends.
    pub(crate) registered: Option<u64>,
}

impl Realm {
    /// An instance for one more thread, and that thread's objects. `limits` are the guest's, but for
    /// the deadline of a worker, whose one call lasts as long as its pool.
    ///
    /// It can be interrupted before it runs anything: the guest's own start waits for a lock, which a
    /// thread that died at its start has taken with it.
    pub(crate) fn instantiate(self: &Arc<Self>, is_worker: bool) -> Result<Started, Error> {
        let thread = Arc::new(Thread::new(self));
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
                    if let Some(memory) = self.shared_memory() {
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
