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
        Self::calls_importing("")
    }

    /// The same, with imports of WASI that these exports do not use.
    #[must_use]
    pub fn calls_with_wasi() -> Self {
        Self::calls_importing(
            r#"(import "wasi_snapshot_preview1" "fd_write"
                 (func $write (param i32 i32 i32 i32) (result i32)))
               (import "wasi_snapshot_preview1" "clock_time_get"
                 (func $clock (param i32 i64 i32) (result i32)))
               (func (export "report") (result i32)
                 (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 16)))
                 (call $write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 24)))"#,
        )
    }

    fn calls_importing(imports: &str) -> Self {
        let exports = r#"
                 (memory (export "memory") 1)
                 (func (export "add") (param i32 i32) (result i32)
                   (i32.add (local.get 0) (local.get 1)))
                 (func (export "add_journaled") (param i32 i32) (result i32)
                   (i32.add (local.get 0) (local.get 1)))
                 (func (export "object_new") (result i32) (i32.const 1024))
                 (func (export "object_read") (param i32) (result i32)
                   (i32.load (local.get 0)))
                 (func (export "object_free") (param i32))"#;
        Self::new(
            &format!("(module {imports} {exports})"),
            r#"strict = true
               [[export]]
               match = "repor[t]"
               role = "pure"

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

    /// Wires that gates use up, and a vector that uses up gates, as a circuit is handed to a prover:
    /// ten calls for each gate, each of which takes a block of memory or gives one back.
    #[must_use]
    pub fn gates() -> Self {
        Self::new(
            r#"(module
                 (memory (export "memory") 1)
                 ;; Blocks of 32 bytes: the first free one, and the end of those that were taken.
                 (global $free (mut i32) (i32.const 0))
                 (global $top (mut i32) (i32.const 1024))
                 (func $take (result i32)
                   (local $at i32)
                   (local.set $at (global.get $free))
                   (if (local.get $at)
                     (then
                       (global.set $free (i32.load (local.get $at)))
                       (return (local.get $at))))
                   (local.set $at (global.get $top))
                   (global.set $top (i32.add (local.get $at) (i32.const 32)))
                   (if (i32.gt_u (global.get $top) (i32.shl (memory.size) (i32.const 16)))
                     (then
                       (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1))
                         (then (unreachable)))))
                   (local.get $at))
                 (func $give (param $at i32)
                   (i32.store (local.get $at) (global.get $free))
                   (global.set $free (local.get $at)))
                 (func (export "wire_new") (param $row i32) (param $column i32) (result i32)
                   (local $at i32)
                   (i32.store (local.tee $at (call $take)) (local.get $row))
                   (i32.store offset=4 (local.get $at) (local.get $column))
                   (local.get $at))
                 (func (export "wires_new") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
                   (local $at i32)
                   (i32.store (local.tee $at (call $take)) (i32.load (local.get 0)))
                   (call $give (local.get 0)) (call $give (local.get 1)) (call $give (local.get 2))
                   (call $give (local.get 3)) (call $give (local.get 4)) (call $give (local.get 5))
                   (call $give (local.get 6))
                   (local.get $at))
                 (func (export "gate_new") (param $kind i32) (param $wires i32) (result i32)
                   (local $at i32)
                   (i32.store offset=4 (local.tee $at (call $take)) (local.get $kind))
                   (call $give (local.get $wires))
                   (local.get $at))
                 (func (export "gates_new") (result i32)
                   (local $at i32)
                   (i64.store (local.tee $at (call $take)) (i64.const 0))
                   (local.get $at))
                 (func (export "gates_add") (param $gates i32) (param $gate i32)
                   (i32.store (local.get $gate) (i32.load (local.get $gates)))
                   (i32.store (local.get $gates) (local.get $gate))))"#,
            r#"strict = true
               [[export]]
               match = "wire_new"
               role = "create"
               args = ["value", "value"]
               results = ["handle:wire"]

               [[export]]
               match = "wires_new"
               role = "create"
               args = ["handle:wire", "handle:wire", "handle:wire", "handle:wire", "handle:wire",
                       "handle:wire", "handle:wire"]
               results = ["handle:wires"]
               consumes = [0, 1, 2, 3, 4, 5, 6]

               [[export]]
               match = "gate_new"
               role = "create"
               args = ["value", "handle:wires"]
               results = ["handle:gate"]
               consumes = [1]

               [[export]]
               match = "gates_new"
               role = "create"
               results = ["handle:gates"]

               [[export]]
               match = "gates_add"
               role = "mutate"
               args = ["handle:gates", "handle:gate"]
               consumes = [1]
               mutates = [0]"#,
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
