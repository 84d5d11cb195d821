//! How every memory of this crate is laid out.

use wasmer_compiler::BaseTunables;
use wasmer_types::target::Target;

/// Tunables that reserve each memory once, at its largest possible size: its base never moves.
pub(crate) fn base() -> BaseTunables {
    BaseTunables::for_target(&Target::default())
}
