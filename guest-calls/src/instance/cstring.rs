//! Text as C has it: a pointer, and a zero byte after the text.

use super::marshal::Buffer;
use super::{BoundInstance, CallFailure};
use crate::policy::plan::ExportPlan;
use crate::{Ownership, Value};

/// How many bytes are looked at in one step.
const STEP_BYTES: u64 = 4096;

impl BoundInstance {
    /// Reads a text that the guest returned, and frees it if it is the host's. The search for its
    /// end stops at the end of the memory.
    pub(super) fn lift_cstring(
        &mut self,
        plan: &ExportPlan,
        pointer: u64,
        ownership: Ownership,
    ) -> Result<Value, CallFailure> {
        if pointer == 0 {
            return Ok(Value::Null);
        }
        let bytes = self.read_cstring(plan, pointer)?;
        if ownership == Ownership::Host {
            self.free(Buffer::returned(pointer, bytes.len() + 1, 1))?;
        }
        self.text(plan, bytes)
    }

    /// The bytes before the next zero.
    fn read_cstring(&self, plan: &ExportPlan, pointer: u64) -> Result<Vec<u8>, CallFailure> {
        let size = self.main_memory_size(plan)?;
        let mut bytes = Vec::new();
        // Steps end at multiples of their size: most texts are read in one, and no step that is
        // not needed reaches pages that the guest never touched.
        let mut at = pointer;
        while at < size {
            let end = (at / STEP_BYTES + 1).saturating_mul(STEP_BYTES).min(size);
            let begin = bytes.len();
            self.copy_out(plan, at, end - at, &mut bytes)?;
            if let Some(len) = bytes[begin..].iter().position(|byte| *byte == 0) {
                bytes.truncate(begin + len);
                return Ok(bytes);
            }
            at = end;
        }
        let what = format!(
            "a C string at {pointer} without an end: no zero byte follows in its memory of {size} bytes"
        );
        Err(self.garbled(plan.func, &what))
    }
}
