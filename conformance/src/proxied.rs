//! Proxies on the engines under test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine_api::{
    Capabilities, Engine, EngineId, Error, MemoryType, Module, ModuleHash, Precompiled,
    SharedMemory,
};
use proxy_core::{Builder, Policy, Proxy};

use crate::engines::EngineUnderTest;
use crate::expect::binary;

/// An engine that compiles each module once. Replay asks an engine for a module again and again.
#[derive(Debug)]
pub struct Remembering {
    inner: Arc<dyn Engine>,
    modules: Mutex<HashMap<ModuleHash, Arc<dyn Module>>>,
}

impl Remembering {
    /// Remembers what `inner` has compiled.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>) -> Self {
        Self {
            inner,
            modules: Mutex::new(HashMap::new()),
        }
    }
}

impl Engine for Remembering {
    fn id(&self) -> EngineId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        // Held while compiling: cases that need the same module wait for it instead of compiling too.
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = ModuleHash::of(wasm);
        if let Some(module) = modules.get(&hash) {
            return Ok(Arc::clone(module));
        }
        let module = self.inner.compile(wasm)?;
        modules.insert(hash, Arc::clone(&module));
        Ok(module)
    }

    fn load(&self, wasm: &[u8], precompiled: &Precompiled) -> Result<Arc<dyn Module>, Error> {
        self.inner.load(wasm, precompiled)
    }

    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, Error> {
        self.inner.shared_memory(ty)
    }
}

impl EngineUnderTest {
    /// Starts to build a proxy on this engine. The policy is a file's text.
    #[track_caller]
    pub fn proxied(&self, wasm: &[u8], policy: &str) -> Builder {
        let policy: Policy = policy
            .parse()
            .unwrap_or_else(|error| panic!("{error}\n{policy}"));
        Proxy::builder(Arc::clone(self.remembering()))
            .name(self.name())
            .module(wasm)
            .policy(policy)
    }

    /// Starts to build a proxy for a module of the text format.
    #[track_caller]
    pub fn proxied_wat(&self, text: &str, policy: &str) -> Builder {
        self.proxied(&binary(text), policy)
    }
}

/// A guest that is built in: its module and its policy.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// The module.
    pub wasm: &'static [u8],
    /// The policy file.
    pub policy: &'static str,
}

macro_rules! guest {
    ($name:ident, $file:literal, $doc:literal) => {
        #[doc = $doc]
        pub const $name: Guest = Guest {
            wasm: include_bytes!(concat!("../../guests/prebuilt/", $file, ".wasm")),
            policy: include_str!(concat!("../../guests/policies/", $file, ".toml")),
        };
    };
}

guest!(PROVER, "prover", "A proof system whose every proof leaks.");
guest!(
    CHAIN,
    "chain",
    "A hash chain: every call changes every later result."
);
guest!(
    KV,
    "kv",
    "Stores, snapshots and views that depend on each other."
);

impl Guest {
    /// Starts to build a proxy for the guest.
    #[track_caller]
    pub fn on(&self, engine: &EngineUnderTest) -> Builder {
        engine.proxied(self.wasm, self.policy)
    }
}

/// A module in the text format with a state of any size: `fill` adds so many MiB to it, `look` reads each of its pages,
/// `touch` writes to so many. `leak` adds pages that nobody needs, and `crash` traps.
pub const STATE: &str = r#"(module
    (memory 1)
    (func (export "fill") (param $mib i32)
        (memory.fill
            (i32.shl (memory.grow (i32.shl (local.get $mib) (i32.const 4))) (i32.const 16))
            (i32.const 0x5a)
            (i32.shl (local.get $mib) (i32.const 20))))
    (func (export "leak") (param $pages i32)
        (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1)) (then (unreachable))))
    (func (export "crash") unreachable)
    (func (export "look") (result i32)
        (local $at i32) (local $sum i32)
        (loop $next
            (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 4096)))
            (br_if $next (i32.lt_u (local.get $at) (i32.shl (memory.size) (i32.const 16)))))
        (local.get $sum))
    (func (export "touch") (param $pages i32)
        (loop $next
            (i32.store8 (i32.shl (local.get $pages) (i32.const 12)) (i32.const 1))
            (br_if $next
                (local.tee $pages (i32.sub (local.get $pages) (i32.const 1)))))))"#;

/// The policy of [`STATE`]: what `fill` does is state.
pub const STATE_POLICY: &str = "[[export]]\nmatch = \"fill\"\nrole = \"mutate\"\n\
                                [[export]]\nmatch = \"*\"\nrole = \"pure\"";
