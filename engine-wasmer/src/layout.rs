//! The layout of all memories of this crate.

use wasmer_compiler::BaseTunables;
use wasmer_types::target::Target;

/// Tunables that reserve each memory at its largest possible size, so its base never moves.
pub(crate) fn base() -> BaseTunables {
    BaseTunables::for_target(&Target::default())
}
