//! An instance, as its owner sees it.

use engine_api::{
    Error, FuncIndex, GlobalIndex, Instance, Interrupter, MemoryMeter, NumericType, Slot, Snapshot,
    Val,
};
use wasmtime::Store;

use crate::caller::GuestAccess;
use crate::exports;
use crate::state::State;

impl Instance for GuestAccess<Store<State>> {
    fn call_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Error> {
        self.run_numbers(func, ty, slots).map_err(|error| *error)
    }

    fn memory_meter(&self) -> Option<MemoryMeter> {
        let state = self.0.data();
        let is_alone = state.exports.shared_memories.is_empty();
        is_alone.then(|| state.limiter.meter.clone())
    }

    fn memory_bytes(&self) -> u64 {
        self.0.data().memory_bytes()
    }

    fn growth_refused(&mut self) -> Option<u64> {
        self.0.data().limiter.meter.take_refused()
    }

    fn watched_global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        self.any_global(global)
    }

    fn interrupter(&self) -> Result<Interrupter, Error> {
        let state = self.0.data();
        if !state.engine.tuning.interruption {
            let what = "interrupters with `Tuning::interruption` off";
            return Err(state.engine.unsupported(what));
        }
        if exports::hides_shared_memory(&state.info) {
            return Err(exports::unwakeable(&state.engine));
        }
        Ok(state.clock.interrupter(&state.engine.engine))
    }

    fn fuel_left(&mut self) -> Option<u64> {
        self.0.data().fuel?;
        self.0.get_fuel().ok()
    }

    fn capture(&mut self) -> Result<Snapshot, Error> {
        self.capture_state()
    }

    fn discard_memories(&mut self) {
        self.discard_pages();
    }
}
