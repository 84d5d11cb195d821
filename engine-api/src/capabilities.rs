//! What an engine can do beyond the core of the contract.

/// What an engine can do. The conformance suite compares each field with what the engine really
/// does: for a `false` the engine must return [`crate::Error::Unsupported`], at the latest when it
/// compiles a module that needs the capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent yes or no that the suite checks by its name"
)]
pub struct Capabilities {
    /// 128-bit SIMD.
    pub simd: bool,
    /// `externref` values, also in tables.
    pub externref: bool,
    /// Several linear memories in a module.
    pub multi_memory: bool,
    /// Linear memories with 64-bit offsets.
    pub memory64: bool,
    /// Tail calls.
    pub tail_calls: bool,
    /// Atomic instructions, and shared memories given to several instances on several threads.
    pub threads: bool,
    /// [`crate::Limits::fuel`].
    pub fuel: bool,
    /// [`crate::Limits::deadline`] and [`crate::Interrupter`].
    pub interruption: bool,
    /// Each engine of the process has its own [`crate::EngineConfig::stack_bytes_max`]. Otherwise
    /// the last engine that was made sets it for all engines of its runtime.
    pub stack_limit: bool,
    /// [`crate::Module::precompiled`] and [`crate::Engine::load`].
    pub precompiled: bool,
    /// Floating-point operations that produce a NaN produce the canonical one.
    pub nan_canonicalization: bool,
}

impl Capabilities {
    /// Every capability with its name in kebab case, in the order of the fields.
    #[must_use]
    pub fn list(&self) -> [(&'static str, bool); 11] {
        [
            ("simd", self.simd),
            ("externref", self.externref),
            ("multi-memory", self.multi_memory),
            ("memory64", self.memory64),
            ("tail-calls", self.tail_calls),
            ("threads", self.threads),
            ("fuel", self.fuel),
            ("interruption", self.interruption),
            ("stack-limit", self.stack_limit),
            ("precompiled", self.precompiled),
            ("nan-canonicalization", self.nan_canonicalization),
        ]
    }
}
