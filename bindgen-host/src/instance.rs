//! The instance that the host gives out: the guest's main thread, and its pool.

use std::sync::Arc;

use engine_api::{
    Caller, EngineId, Error, ExternRef, FuncIndex, GuestError, Instance, Interrupt, Interrupter,
    MemoryMeter, ModuleInfo, NumericType, Slot, Snapshot, Val,
};

use crate::call::from_externref;
use crate::error::HostError;
use crate::pool::{self, Pool};
use crate::realm::{Realm, Thread};
use crate::surface::{Abi, Added};
use crate::value::Js;
use crate::{TAKE_ERROR, THREAD_POOL_START, THREAD_POOL_STOP};

/// An instance with its realm.
pub(crate) struct HostedInstance {
    // The fields are dropped in this order, and no worker outlives the main thread's instance.
    pool: Option<Pool>,
    main: Box<dyn Instance>,
    realm: Arc<Realm>,
    thread: Arc<Thread>,
    pools_started: i32,
    engine: EngineId,
}

impl HostedInstance {
    pub(crate) fn new(realm: Arc<Realm>, engine: EngineId) -> Result<Self, Error> {
        let started = realm.instantiate(false)?;
        Ok(Self {
            pool: None,
            main: started.instance,
            realm,
            thread: started.thread,
            pools_started: 0,
            engine,
        })
    }

    fn call_added(
        &mut self,
        added: Added,
        func: FuncIndex,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), Error> {
        self.realm.surface.outer.check_call(func, args, results)?;
        let number = args[0].i32().unwrap_or(0);
        match added {
            Added::TakeError => {
                let message = self.take_error(number.cast_unsigned())?;
                results[0] = Val::ExternRef(Some(ExternRef::new(GuestError { message })));
                Ok(())
            }
            Added::PoolStart => {
                results[0] = Val::I32(self.start_pool(number)?);
                Ok(())
            }
            Added::PoolStop => self.stop_pool(number),
        }
    }

    /// The message of the error object that the guest names.
    fn take_error(&mut self, index: u32) -> Result<String, Error> {
        let surface = Arc::clone(&self.realm.surface);
        let js = match (surface.abi, surface.externrefs) {
            (Abi::Externrefs, Some(refs)) => {
                let reference = self.main.table_get(refs.table, index.into())?;
                if let Some(dealloc) = refs.dealloc {
                    self.main.call(dealloc, &[Val::from(index)], &mut [])?;
                }
                match reference {
                    Val::ExternRef(reference) => from_externref(reference.as_ref())?,
                    _ => Js::Undefined,
                }
            }
            _ => self.thread.heap().take(index).ok_or_else(|| {
                let message = format!("the guest names object {index}, and holds none there");
                HostError::Abi(message).ends(TAKE_ERROR)
            })?,
        };
        Ok(js.to_string())
    }

    fn start_pool(&mut self, threads: i32) -> Result<i32, Error> {
        if let Some(pool) = &self.pool {
            let message = format!("pool {} is running; stop it first", pool.number);
            return Err(HostError::Pool(message).ends(THREAD_POOL_START));
        }
        pool::check(threads)?;
        let number = self.pools_started + 1;
        let started = Pool::start(&self.realm, &mut *self.main, &self.thread, number, threads);
        // If a worker ended, that is the cause. The main thread met only the consequence.
        self.pool = Some(started.map_err(|error| self.realm.fault().unwrap_or(error))?);
        self.pools_started = number;
        Ok(number)
    }

    fn stop_pool(&mut self, number: i32) -> Result<(), Error> {
        match self.pool.take_if(|pool| pool.number == number) {
            None => {
                let message = format!("pool {number} is not running");
                Err(HostError::Pool(message).ends(THREAD_POOL_STOP))
            }
            Some(pool) => {
                let stopped = pool.stop(&mut *self.main, &self.thread);
                stopped.map_err(|error| self.realm.fault().unwrap_or(error))
            }
        }
    }
}

impl HostedInstance {
    /// The outcome of a call of the main thread. It means nothing, and is an error, after a worker
    /// ended early and kept its locks.
    fn faultless(&self, outcome: Result<(), Error>) -> Result<(), Error> {
        let fault = self.pool.as_ref().and_then(|_| self.realm.fault());
        fault.map_or(outcome, Err)
    }
}

impl Drop for HostedInstance {
    fn drop(&mut self) {
        // A worker that nobody interrupts waits for work for ever.
        if self.pool.is_some() {
            self.realm.interrupt();
        }
    }
}

impl Caller for HostedInstance {
    engine_api::delegate_caller! {
        main: memory_size, memory_read, memory_write, memory_grow, global, set_global, table_size,
        table_grow, table_get, table_set
    }

    fn info(&self) -> &Arc<ModuleInfo> {
        &self.realm.surface.outer
    }

    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
        if let Some(added) = self.realm.surface.added(func) {
            return self.call_added(added, func, args, results);
        }
        let outcome = self.main.call(func, args, results);
        self.faultless(outcome)
    }
}

impl Instance for HostedInstance {
    fn call_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Error> {
        let Some(added) = self.realm.surface.added(func) else {
            let outcome = self.main.call_numbers(func, ty, slots);
            return self.faultless(outcome);
        };
        self.realm.surface.outer.check_numbers(func, ty, slots)?;
        let vals = ty
            .params()
            .zip(&*slots)
            .filter_map(|(ty, slot)| slot.to_val(ty));
        let args: Vec<Val> = vals.collect();
        let mut results: Vec<Val> = ty.results().map(Val::zero).collect();
        self.call_added(added, func, &args, &mut results)?;
        for (slot, result) in slots.iter_mut().zip(results.iter().filter_map(Slot::of)) {
            *slot = result;
        }
        Ok(())
    }

    fn memory_meter(&self) -> Option<MemoryMeter> {
        self.main.memory_meter()
    }

    fn memory_bytes(&self) -> u64 {
        self.main.memory_bytes()
    }

    fn growth_refused(&mut self) -> Option<u64> {
        // Its workers have the same memory.
        self.main.growth_refused()
    }

    fn interrupter(&self) -> Result<Interrupter, Error> {
        // An engine without interruption says so here.
        self.main.interrupter()?;
        Ok(Interrupter::new(Arc::clone(&self.realm) as _))
    }

    fn fuel_left(&mut self) -> Option<u64> {
        self.main.fuel_left()
    }

    fn capture(&mut self) -> Result<Snapshot, Error> {
        Err(snapshots_unsupported(self.engine))
    }

    fn discard_memories(&mut self) {
        self.main.discard_memories();
    }
}

/// A snapshot has the guest's memories. The guest's objects and threads are the host's.
pub(crate) fn snapshots_unsupported(engine: EngineId) -> Error {
    Error::Unsupported {
        engine,
        what: "snapshots of a wasm-bindgen module, whose objects and threads are with the host"
            .to_owned(),
    }
}
