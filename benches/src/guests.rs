//! The modules under measurement.

use proxy_core::Policy;

/// A module with its policy.
#[derive(Clone, Debug)]
pub struct GuestModule {
    /// The module, in the binary format.
    pub wasm: Vec<u8>,
    /// The roles of its exports.
    pub policy: Policy,
}

impl GuestModule {
    fn new(text: &str, policy: &str) -> Self {
        Self {
            wasm: wat::parse_str(text).expect("the text is a module"),
            policy: policy.parse().expect("the text is a policy"),
        }
    }

    /// The prover, a real module that `guests/README.md` describes.
    #[must_use]
    pub fn prover() -> Self {
        Self {
            wasm: include_bytes!("../../guests/prebuilt/prover.wasm").to_vec(),
            policy: include_str!("../../guests/policies/prover.toml")
                .parse()
                .expect("the guest's policy is one"),
        }
    }

    /// SQLite, which `guests/README.md` describes.
    #[must_use]
    pub fn sqlite() -> Self {
        Self {
            wasm: include_bytes!("../../guests/prebuilt/sqlite.wasm").to_vec(),
            policy: include_str!("../../guests/policies/sqlite.toml")
                .parse()
                .expect("the guest's policy is one"),
        }
    }

    /// Exports that do next to nothing, one per way of calling.
    #[must_use]
    pub fn calls() -> Self {
        Self::new(
            r#"(module
                 (memory (export "memory") 1)
                 (func (export "add") (param i32 i32) (result i32)
                   (i32.add (local.get 0) (local.get 1)))
                 (func (export "add_journaled") (param i32 i32) (result i32)
                   (i32.add (local.get 0) (local.get 1)))
                 (func (export "object_new") (result i32) (i32.const 1024))
                 (func (export "object_read") (param i32) (result i32)
                   (i32.load (local.get 0)))
                 (func (export "object_free") (param i32)))"#,
            r#"strict = true
               [[export]]
               match = "add"
               role = "pure"
               args = ["value", "value"]
               results = ["value"]

               [[export]]
               match = "add_journaled"
               role = "mutate"
               args = ["value", "value"]
               results = ["value"]

               [[export]]
               match = "object_new"
               role = "create"
               results = ["handle:object"]

               [[export]]
               match = "object_read"
               role = "pure"
               args = ["handle:object"]
               results = ["value"]

               [[export]]
               match = "object_free"
               role = "free"
               args = ["handle:object"]"#,
        )
    }

    /// A pure export `mebibyte` that returns a buffer of 1 MiB, which stays the guest's.
    #[must_use]
    pub fn buffer() -> Self {
        Self::new(
            r#"(module
                 (memory (export "memory") 17)
                 ;; The pointer is 64 KiB, and the length is in the upper half.
                 (func (export "mebibyte") (result i64) (i64.const 0x00100000_00010000)))"#,
            r#"strict = true
               [[export]]
               match = "mebibyte"
               role = "pure"
               results = ["bytes:borrowed"]"#,
        )
    }

    /// A state of any size, made by few calls or by many, and a call that only takes time.
    #[must_use]
    pub fn state() -> Self {
        Self::new(
            r#"(module
                 (memory (export "memory") 1)
                 (global $count (mut i32) (i32.const 0))
                 ;; Grows the memory and writes to all of it.
                 (func (export "fill_mib") (param $mib i32) (result i32)
                   (local $at i32)
                   (local.set $at
                     (i32.shl (memory.grow (i32.shl (local.get $mib) (i32.const 4))) (i32.const 16)))
                   (memory.fill (local.get $at) (i32.const 0x5a)
                     (i32.shl (local.get $mib) (i32.const 20)))
                   (local.get $at))
                 (func (export "count") (result i32)
                   (global.set $count (i32.add (global.get $count) (i32.const 1)))
                   (global.get $count))
                 (func (export "spin") (param $rounds i64) (result i64)
                   (local $sum i64)
                   (loop $again
                     (local.set $sum
                       (i64.rotl (i64.add (local.get $sum) (local.get $rounds)) (i64.const 7)))
                     (br_if $again (i64.ne (i64.const 0)
                       (local.tee $rounds (i64.sub (local.get $rounds) (i64.const 1))))))
                   (local.get $sum))
                 (func (export "look") (result i32) (global.get $count)))"#,
            r#"strict = true
               [[export]]
               match = "fill_mib"
               role = "mutate"
               args = ["value"]
               results = ["value"]

               [[export]]
               match = "count"
               role = "mutate"
               results = ["value"]

               [[export]]
               match = "spin"
               role = "pure"
               args = ["value"]
               results = ["value"]

               [[export]]
               match = "look"
               role = "pure"
               results = ["value"]"#,
        )
    }

    /// The smallest module with a function to call.
    #[must_use]
    pub fn tiny() -> Self {
        Self::new(
            r#"(module (memory (export "memory") 1) (func (export "nothing")))"#,
            "",
        )
    }
}
