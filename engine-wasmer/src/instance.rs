//! An instance, as its owner sees it.

use std::ptr::NonNull;
use std::sync::Arc;

use engine_api::{
    Error, FuncIndex, GlobalIndex, Instance, Interrupter, Limits, MemoryMeter, NumericType, Slot,
    Snapshot, Val,
};

use crate::compiled::Compiled;
use crate::interrupt::{self, Watched};
use crate::limits::InstanceTunables;
use crate::state::InstanceState;

/// The instance behind [`engine_api::Instance`].
pub(crate) struct WasmerInstance {
    /// The instance's host functions have this pointer too.
    pub(crate) state: NonNull<InstanceState>,
}

// SAFETY: everything a guest consists of is owned by its instance, except what is shared through
// atomics and locks (`Watched`, `SharedState`, the compiled module). wasmer's own objects are tied
// to no thread: `wasmer::Store`, which is made of the same, is `Send`.
unsafe impl Send for WasmerInstance {}

impl Drop for WasmerInstance {
    fn drop(&mut self) {
        // SAFETY: it came from a leaked `Box`, and no call is in flight: a host function sees its
        // instance only through a `ManuallyDrop` for the length of the call.
        drop(unsafe { Box::from_raw(self.state.as_ptr()) });
    }
}

impl WasmerInstance {
    /// An instance of a guest that does not have its code and its imports yet.
    pub(crate) fn new(
        compiled: &Arc<Compiled>,
        watched: Arc<Watched>,
        tunables: &InstanceTunables,
        limits: &Limits,
    ) -> Self {
        let state = Box::new(InstanceState::new(compiled, watched, tunables, limits));
        Self {
            state: NonNull::from(Box::leak(state)),
        }
    }

    /// The view that a host function has of the guest that called it.
    ///
    /// # Safety
    ///
    /// The guest must outlive the view, and the view must not be dropped as an instance.
    pub(crate) unsafe fn view(state: NonNull<InstanceState>) -> std::mem::ManuallyDrop<Self> {
        std::mem::ManuallyDrop::new(Self { state })
    }

    #[inline]
    pub(crate) fn state(&self) -> &InstanceState {
        // SAFETY: the guest lives until `drop`, and is only ever borrowed shared.
        unsafe { self.state.as_ref() }
    }
}

impl Instance for WasmerInstance {
    fn call_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Error> {
        self.state().call_numbers(func, ty, slots)
    }

    fn memory_meter(&self) -> Option<MemoryMeter> {
        let state = self.state();
        let is_alone = state.parts().shared.is_empty();
        is_alone.then(|| state.account.meter.clone())
    }

    fn memory_bytes(&self) -> u64 {
        let state = self.state();
        let shared = state.parts().shared.iter().map(|shared| shared.bytes());
        state.account.bytes() + shared.sum::<u64>()
    }

    fn growth_refused(&mut self) -> Option<u64> {
        self.state().take_refused()
    }

    fn watched_global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        let state = self.state();
        let ty = state.compiled.info.globals().get(global.0 as usize);
        match ty {
            Some(ty) if ty.mutable && !ty.value.is_reference() => {
                Ok(state.value(state.any_global(global), ty.value))
            }
            _ => Err(Error::NoSuchExport {
                kind: "global",
                name: global.0.to_string(),
            }),
        }
    }

    fn interrupter(&self) -> Result<Interrupter, Error> {
        let state = self.state();
        if !interrupt::AVAILABLE {
            let settings = &state.compiled.settings;
            return Err(settings.unsupported("interruption on this machine"));
        }
        let watch = match state.watch.get() {
            Some(watch) => watch,
            None => state.keep_watch()?,
        };
        Ok(Interrupter::new(Arc::new(watch.handle())))
    }

    fn fuel_left(&mut self) -> Option<u64> {
        self.state().fuel_left.get()
    }

    fn capture(&mut self) -> Result<Snapshot, Error> {
        self.state().capture()
    }

    fn discard_memories(&mut self) {
        self.state().discard_pages();
    }
}
