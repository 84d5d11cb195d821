//! The state that modules and instances share with their engine.

use engine_api::{Capabilities, EngineConfig, EngineId, Error};

use crate::interrupt::Ticker;

/// The compilers of wasmtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compiler {
    /// The optimising compiler.
    Cranelift,
    /// The baseline compiler, which compiles in one pass.
    Winch,
}

impl Compiler {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Compiler::Cranelift => "cranelift",
            Compiler::Winch => "winch",
        }
    }

    pub(crate) fn strategy(self) -> wasmtime::Strategy {
        match self {
            Compiler::Cranelift => wasmtime::Strategy::Cranelift,
            Compiler::Winch => wasmtime::Strategy::Winch,
        }
    }
}

/// How code is generated, beyond what every engine can be told. The results of a guest are the same
/// with any tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tuning {
    /// Whether Cranelift replaces calls of small functions by their code. Compiling takes two to
    /// three times as long, and code with many small functions runs in half of the time. Winch does
    /// not inline. On by default.
    pub inlining: bool,
    /// Whether code is compiled that can be ended from outside. It compares two numbers at every
    /// function entry and every loop, which costs up to a third of a guest's time. Without it,
    /// deadlines and interrupters are refused ([`Capabilities::interruption`]), and a proxy waits
    /// for a call however long it takes. Only for guests that are trusted to return. On by default.
    pub interruption: bool,
}

impl Tuning {
    /// This tuning with or without inlining.
    #[must_use]
    pub fn inlining(mut self, inlining: bool) -> Self {
        self.inlining = inlining;
        self
    }

    /// This tuning with or without interruption.
    #[must_use]
    pub fn interruption(mut self, interruption: bool) -> Self {
        self.interruption = interruption;
        self
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            inlining: true,
            interruption: true,
        }
    }
}

/// An engine, as its modules and instances share it.
pub(crate) struct Runtime {
    /// wasmtime's own engine.
    pub(crate) engine: wasmtime::Engine,
    pub(crate) compiler: Compiler,
    pub(crate) config: EngineConfig,
    pub(crate) tuning: Tuning,
    pub(crate) fingerprint: String,
    pub(crate) ticker: Ticker,
}

impl Runtime {
    pub(crate) fn id(&self) -> EngineId {
        EngineId {
            runtime: "wasmtime",
            compiler: self.compiler.name(),
        }
    }

    pub(crate) fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported {
            engine: self.id(),
            what: what.into(),
        }
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        let cranelift = self.compiler == Compiler::Cranelift;
        Capabilities {
            simd: cranelift || winch_has_simd(),
            externref: cranelift,
            multi_memory: true,
            memory64: true,
            tail_calls: cranelift,
            threads: has_threads(self.compiler),
            fuel: self.config.fuel,
            interruption: self.tuning.interruption,
            stack_limit: true,
            precompiled: true,
            nan_canonicalization: true,
        }
    }
}

/// Winch has atomics only on x86-64. Elsewhere it refuses to start with them.
pub(crate) fn has_threads(compiler: Compiler) -> bool {
    compiler == Compiler::Cranelift || cfg!(target_arch = "x86_64")
}

/// Winch compiles vectors only to AVX2 instructions.
fn winch_has_simd() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
