//! The part of upkeep in a move to better code: a standby on the other engine, and the swap.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_api::{EngineId, Module};

use super::Upkeep;
use crate::event::Event;
use crate::generation::Blueprint;
use crate::{Error, Reason, Swapped};

impl Upkeep {
    /// The module's bytes.
    pub(crate) fn wasm(&self) -> &[u8] {
        &self.options.wasm
    }

    pub(crate) fn note_compiled(&self, engine: EngineId, duration: Duration) {
        self.shared
            .ledger
            .emit(&Event::TierUpCompiled { engine, duration });
    }

    pub(crate) fn note_tier_up_failed(&self, engine: EngineId, error: &Error) {
        let error = error.to_string();
        self.shared
            .ledger
            .emit(&Event::TierUpError { engine, error });
    }

    /// Prepares a standby from a module that another engine has compiled, and swaps to it. A
    /// standby that waits is given up for it.
    ///
    /// # Errors
    ///
    /// Those of a preparation and of a swap by hand. The active generation goes on.
    pub(crate) fn tier_up(
        &self,
        engine: EngineId,
        module: &Arc<dyn Module>,
    ) -> Result<Swapped, Error> {
        let mut state = self.by_hand()?;
        self.reap(&mut state, Instant::now());
        if state.draining.is_some() {
            return Err(Error::StillDraining);
        }
        // The one of the attempt before may still wait for turns to end.
        let is_ready = state.standby.as_ref().is_some_and(|standby| {
            standby.reason == Reason::TierUp && standby.blueprint.engine == engine
        });
        if !is_ready {
            let blueprint = Blueprint {
                engine,
                module: Arc::clone(module),
                ..state.blueprint.clone()
            };
            self.discard(&mut state);
            let prepared = self.prepare_from(&mut state, blueprint, Reason::TierUp, Instant::now());
            self.publish(&state);
            prepared?;
        }
        self.promote_between_turns(state, Reason::TierUp)
    }
}
