//! The instance that the host gives out: the guest's main thread, and its pool.

use std::sync::Arc;

use engine_api::{
    Caller, EngineId, Error, ExternRef, FuncIndex, GlobalIndex, GuestError, Instance, Interrupt,
    Interrupter, JsValue, MemoryMeter, ModuleInfo, NumericType, SharedMemory, Slot, Snapshot, Val,
};

use crate::call::{self, from_externref, to_externref};
use crate::convert;
use crate::error::HostError;
use crate::image::{PoolImage, RealmImage, ThreadsImage};
use crate::link::Started;
use crate::pool::{self, Pool};
use crate::realm::{Realm, Thread};
use crate::surface::Added;
use crate::value::{Buffer, Bytes, Js};
use crate::{FORGET_JS, GIVE_JS, TAKE_ERROR, TAKE_JS, THREAD_POOL_START, THREAD_POOL_STOP};

/// An instance with its realm.
pub(crate) struct HostedInstance {
    // The fields are dropped in this order, and no worker outlives the main thread's instance.
    pool: Option<Pool>,
    main: Box<dyn Instance>,
    realm: Arc<Realm>,
    thread: Arc<Thread>,
    pools_started: i32,
    engine: EngineId,
    _memory: Option<OwnMemory>,
}

/// The memory that the host made for an instance. Dropped after everything that uses it, it gives
/// its pages back a few MiB at a time.
struct OwnMemory(SharedMemory);

impl Drop for OwnMemory {
    fn drop(&mut self) {
        // Somebody who still has the memory keeps it, and it goes as a whole when that ends.
        let _ = self.0.discard();
    }
}

impl HostedInstance {
    pub(crate) fn new(realm: Arc<Realm>, engine: EngineId) -> Result<Self, Error> {
        let started = realm.instantiate(false)?;
        Ok(Self::of(realm, started, engine))
    }

    /// An instance in the state of a snapshot, with objects and a pool of its own.
    pub(crate) fn restored(
        realm: Arc<Realm>,
        engine: EngineId,
        snapshot: &Snapshot,
    ) -> Result<Self, Error> {
        let image = snapshot
            .host()
            .and_then(|host| host.as_any().downcast_ref());
        let image: &RealmImage = image.ok_or_else(|| Error::Snapshot {
            reason: "it holds no realm: it was taken without the host for wasm-bindgen".to_owned(),
        })?;
        let (heap, objects) = image.copy(realm.surface.constants);
        let started = realm.restore(&snapshot.clone().with_objects(objects), heap)?;
        let mut restored = Self::of(realm, started, engine);
        restored.realm.set_builder(image.threads.builder);
        restored.pools_started = image.threads.pools_started;
        if let Some(pool) = image.threads.pool {
            restored.realm.set_outside_closed(true);
            let resumed = restored.resume_pool(pool);
            restored.realm.set_outside_closed(false);
            resumed?;
        }
        Ok(restored)
    }

    fn of(realm: Arc<Realm>, started: Started, engine: EngineId) -> Self {
        Self {
            pool: None,
            main: started.instance,
            thread: started.thread,
            pools_started: 0,
            engine,
            _memory: realm.memory.clone().map(OwnMemory),
            realm,
        }
    }

    /// Stops the pool, if one runs, for a snapshot.
    fn rest_pool(&mut self) -> Result<Option<PoolImage>, Error> {
        let Some(pool) = &self.pool else {
            return Ok(None);
        };
        if let Some(fault) = self.realm.fault() {
            return Err(fault);
        }
        let exports = self.realm.surface.pool.as_ref();
        if exports.is_none_or(|exports| exports.exit.is_none()) {
            return Err(Error::Unsupported {
                engine: self.engine,
                what: "snapshots while a pool runs that cannot be stopped: the module exports no \
                       `exitThreadPool`"
                    .to_owned(),
            });
        }
        let image = PoolImage {
            number: pool.number,
            threads: pool.threads(),
        };
        pool.tidy_up();
        self.stop_pool(image.number)?;
        Ok(Some(image))
    }

    /// Starts a pool like this, under the same number. Without its pool the instance is lost.
    fn resume_pool(&mut self, image: PoolImage) -> Result<(), Error> {
        let PoolImage { number, threads } = image;
        pool::check(threads)?;
        let started = Pool::start(&self.realm, &mut *self.main, &self.thread, number, threads);
        let started = started.map_err(|error| self.realm.fault().unwrap_or(error));
        let pool = started.inspect_err(|_| self.realm.interrupt())?;
        // The host has started it, and to end it without a leak is the host's business too: most
        // such pools are replaced by the guest's next one before they have anything to do.
        pool.tidy_up();
        self.pool = Some(pool);
        Ok(())
    }

    /// The state while no thread of a pool is in the memory.
    fn capture_at_rest(&mut self, pool: Option<PoolImage>) -> Result<Snapshot, Error> {
        let snapshot = self.main.capture()?;
        let threads = ThreadsImage {
            builder: self.realm.builder(),
            pools_started: self.pools_started,
            pool,
        };
        let image = RealmImage::of(&self.thread.heap(), snapshot.objects(), threads);
        Ok(snapshot.with_host(Arc::new(image)))
    }

    fn call_added(
        &mut self,
        added: Added,
        func: FuncIndex,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), Error> {
        self.realm.surface.outer.check_call(func, args, results)?;
        let number = args.first().and_then(Val::i32).unwrap_or(0);
        match added {
            Added::TakeError => {
                let error = self.take_error(number.cast_unsigned())?;
                results[0] = Val::ExternRef(Some(ExternRef::new(error)));
                Ok(())
            }
            Added::PoolStart => {
                results[0] = Val::I32(self.start_pool(number)?);
                Ok(())
            }
            Added::PoolStop => self.stop_pool(number),
            Added::GiveJs => {
                let js = given(&args[0])?;
                let number = call::name_object(&self.thread, &mut *self.main, js)?;
                results[0] = Val::from(number);
                Ok(())
            }
            Added::GiveJsRef => {
                results[0] = to_externref(given(&args[0])?);
                Ok(())
            }
            Added::TakeJs => {
                let js = self.take_object(number.cast_unsigned(), TAKE_JS)?;
                results[0] = self.tree(&js)?;
                Ok(())
            }
            Added::TakeJsRef => {
                let js = match &args[0] {
                    Val::ExternRef(reference) => from_externref(reference.as_ref())?,
                    _ => Js::Undefined,
                };
                results[0] = self.tree(&js)?;
                Ok(())
            }
            Added::ForgetJs => self
                .take_object(number.cast_unsigned(), FORGET_JS)
                .map(drop),
            Added::Malloc | Added::Free => {
                let func = self.realm.surface.allocator.and_then(|own| match added {
                    Added::Malloc => Some(own.malloc.0),
                    _ => Some(own.free?.0),
                });
                let func = func.expect("the functions are added only where these are");
                let outcome = self.main.call(func, args, results);
                self.faultless(outcome)
            }
        }
    }

    /// A value of the realm by itself, for whoever called.
    fn tree(&self, js: &Js) -> Result<Val, Error> {
        let memory = self.realm.surface.memory;
        let read = |view: &Bytes| match view.buffer {
            Buffer::Host(_) => convert::host_view(view),
            Buffer::Guest => {
                let size = self.main.memory_size(memory).ok()?;
                let end = view.offset.checked_add(view.len)?;
                let mut bytes = vec![0; usize::try_from(view.len).ok().filter(|_| end <= size)?];
                let read = self.main.memory_read(memory, view.offset, &mut bytes);
                read.ok().map(|()| bytes)
            }
        };
        let tree = convert::tree(js, &read);
        let tree = tree.map_err(|reason| HostError::Value(reason).ends(TAKE_JS))?;
        Ok(Val::ExternRef(Some(ExternRef::new(tree))))
    }

    /// The error object that the guest names.
    fn take_error(&mut self, index: u32) -> Result<GuestError, Error> {
        let error = self.take_object(index, TAKE_ERROR)?;
        Ok(GuestError {
            message: error.to_string(),
            thrown: convert::thrown(&error),
        })
    }

    /// The object that the guest names by a number, and gives up. 0 is none.
    fn take_object(&mut self, index: u32, service: &str) -> Result<Js, Error> {
        if index == 0 && service != TAKE_ERROR {
            return Ok(Js::Undefined);
        }
        let held = call::numbered(&self.thread, &mut *self.main, index, true)?;
        held.ok_or_else(|| {
            let message = format!("the guest names object {index}, and holds none there");
            HostError::Abi(message).ends(service)
        })
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

/// The value that a caller gives, as one of the realm.
fn given(val: &Val) -> Result<Js, Error> {
    let value = match val {
        Val::ExternRef(Some(reference)) => reference.get::<JsValue>(),
        _ => None,
    };
    let value = value.ok_or_else(|| {
        let message = "what is given is no JavaScript value by itself".to_owned();
        HostError::Value(message).ends(GIVE_JS)
    })?;
    Ok(convert::realm_value(value.clone()))
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
        main: may_go_on, memory_size, memory_read, memory_write, memory_grow, global, set_global, table_size,
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

    fn watched_global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        self.main.watched_global(global)
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

    /// A pool that runs is stopped meanwhile, and started again. Its workers then give back their
    /// memory, whatever the options say: this end is not the guest's, so neither is its leak.
    fn capture(&mut self) -> Result<Snapshot, Error> {
        let pool = self.rest_pool()?;
        let captured = self.capture_at_rest(pool);
        let Some(pool) = pool else { return captured };
        self.realm.take_called_outside();
        self.resume_pool(pool)?;
        if self.realm.take_called_outside() {
            let message = "the start of the running pool asks for what is outside of the realm, \
                           which a restored instance could not ask again";
            return Err(HostError::Restart(message.to_owned()).ends(THREAD_POOL_START));
        }
        captured
    }

    fn discard_memories(&mut self) {
        self.main.discard_memories();
    }
}
