//! Whether checkpoints of a module are possible.

use std::fmt::Write;

use anyhow::Result;
use engine_api::ModuleInfo;
use module_bytes::Instrumented;

/// Says whether an instance of the module can be restored from a checkpoint. If not, it gives each
/// reason, and the consequence.
pub(super) fn checkpoints(text: &mut String, wasm: &[u8], info: &ModuleInfo) -> Result<()> {
    if let Err(error) = Instrumented::new(wasm, info) {
        let _ = writeln!(text, "checkpoints: no engine takes the module: {error}");
        return Ok(());
    }
    let reasons = module_bytes::obstacles(wasm)?;
    if reasons.is_empty() {
        let _ = writeln!(text, "checkpoints: possible");
        return Ok(());
    }
    let _ = writeln!(
        text,
        "checkpoints: not possible, so standbys are made by replay of the journal:"
    );
    for reason in reasons {
        let _ = writeln!(text, "  {reason}");
    }
    Ok(())
}
