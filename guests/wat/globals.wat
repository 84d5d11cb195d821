;; Globals: imported and own, mutable and not, exported and hidden.
(module
  (global $imported (import "env" "constant") i32)
  (global $shared (import "env" "variable") (mut i64))

  (global $counter (export "counter") (mut i32) (i32.const 10))
  (global (export "constant_i64") i64 (i64.const -1))
  (global (export "mutable_f32") (mut f32) (f32.const 1.5))
  (global (export "mutable_f64") (mut f64) (f64.const -2.5))
  (global (export "from_import") i32 (global.get $imported))
  ;; Not exported: state that only a rewrite of the module can see.
  (global $hidden (mut i32) (i32.const 0))

  (func (export "increment") (result i32)
    (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
    (global.set $hidden (i32.add (global.get $hidden) (i32.const 1)))
    (global.get $counter))
  (func (export "hidden") (result i32) (global.get $hidden))
  (func (export "imported") (result i32) (global.get $imported))
  (func (export "shared") (result i64) (global.get $shared))
  (func (export "set_shared") (param i64) (global.set $shared (local.get 0)))
)
