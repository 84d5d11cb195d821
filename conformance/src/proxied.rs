//! Proxies on the engines under test.

use std::sync::Arc;

use proxy_core::{Builder, Policy, Proxy};

use crate::engines::EngineUnderTest;
use crate::expect::binary;

impl EngineUnderTest {
    /// A builder of a proxy on this engine. The policy is the text of a file.
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

    /// A builder of a proxy for a module in the text format.
    #[track_caller]
    pub fn proxied_wat(&self, text: &str, policy: &str) -> Builder {
        self.proxied(&binary(text), policy)
    }
}

/// A guest of `guests/prebuilt` with its policy, both compiled in.
#[derive(Clone, Copy, Debug)]
pub struct BuiltInGuest {
    /// The module in binary form.
    pub wasm: &'static [u8],
    /// The text of the policy file.
    pub policy: &'static str,
}

macro_rules! guest {
    ($name:ident, $file:literal, $doc:literal) => {
        #[doc = $doc]
        pub const $name: BuiltInGuest = BuiltInGuest {
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
guest!(
    SQLITE,
    "sqlite",
    "Databases, in which each statement depends on all before it."
);

impl BuiltInGuest {
    /// A builder of a proxy for the guest.
    #[track_caller]
    pub fn on(&self, engine: &EngineUnderTest) -> Builder {
        engine.proxied(self.wasm, self.policy)
    }
}

/// A module in the text format with a state of any size. `fill` adds MiB to the state, `look` reads
/// every system page of it, and `touch` writes to its first pages. `leak` adds pages that are never
/// used, and `crash` traps.
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

/// The policy of [`STATE`]: `fill` makes state, everything else is pure.
pub const STATE_POLICY: &str = "[[export]]\nmatch = \"fill\"\nrole = \"mutate\"\n\
                                [[export]]\nmatch = \"*\"\nrole = \"pure\"";
