//! Small modules, each of which stands for a kind of failure in the field.

use std::sync::Arc;

use bindgen_host::{BindgenHost, Options};
use engine_api::Limits;
use proxy_core::{Builder, Policy, Proxy};

use crate::engines::EngineUnderTest;
use crate::expect::binary;

/// A module of `conformance/cases` with its policy.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    wat: &'static str,
    policy: &'static str,
}

macro_rules! case {
    ($name:ident, $wat:literal, $policy:expr, $doc:literal) => {
        #[doc = $doc]
        pub const $name: Case = Case {
            wat: include_str!(concat!("../cases/", $wat, ".wat")),
            policy: $policy,
        };
    };
    ($name:ident, $file:literal, $doc:literal) => {
        case!(
            $name,
            $file,
            include_str!(concat!("../cases/", $file, ".toml")),
            $doc
        );
    };
}

case!(
    PANIC_HOOK,
    "panic_hook",
    "Out of memory, with a line on the console before the trap."
);
case!(
    OOM_SAYS_PANIC,
    "oom_says_panic",
    "Needs more than its limit at once."
);
case!(
    STANDBY_OOM,
    "standby_oom",
    "Takes more memory in a replay than it took at first."
);
case!(
    FIXED_MEMORY,
    "fixed_memory",
    "Leaks inside a memory that cannot grow."
);
case!(
    STACK_LEAK,
    "stack_leak",
    "Loses 16 bytes of its stack with each call."
);
case!(
    FORGOT_FREE,
    "forgot_free",
    "Objects that nobody frees, as the policy knows them."
);
case!(
    FORGOT_FREE_PINNED,
    "forgot_free",
    include_str!("../cases/forgot_free_pinned.toml"),
    "Objects that nobody frees, used within pinned scopes."
);
case!(
    FAILS_SOFTLY,
    "fails_softly",
    "",
    "Goes on at the limit and says so."
);
case!(PEAK, "peak", "Takes much memory once.");

impl Case {
    /// The same module with more in its policy.
    #[must_use]
    pub fn with_policy(self, policy: &'static str) -> Self {
        Self { policy, ..self }
    }

    /// A builder of a proxy with a limit of so many KiB.
    #[track_caller]
    pub fn on(&self, engine: &EngineUnderTest, kib: u64) -> Builder {
        engine
            .proxied_wat(self.wat, self.policy)
            .limits(limits(kib))
    }

    /// The same for a module that wasm-bindgen made.
    #[track_caller]
    pub fn hosted_on(&self, engine: &EngineUnderTest, kib: u64) -> Builder {
        let policy: Policy = self
            .policy
            .parse()
            .unwrap_or_else(|error| panic!("{error}"));
        let host = BindgenHost::new(Arc::clone(engine.remembering()), Options::default());
        Proxy::builder(host)
            .module(binary(self.wat))
            .policy(policy)
            .imports(bindgen_host::system())
            .limits(limits(kib))
    }
}

fn limits(kib: u64) -> Limits {
    Limits {
        memory_bytes_max: Some(kib << 10),
        ..Limits::default()
    }
}
