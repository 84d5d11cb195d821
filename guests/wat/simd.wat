;; v128 in arguments, results, host functions, memory and globals.
(module
  (import "env" "v128" (func $v128 (param v128) (result v128)))

  (memory (export "memory") 1)
  (global (export "global") (mut v128) (v128.const i32x4 1 2 3 4))

  (func (export "identity") (param v128) (result v128) (local.get 0))
  (func (export "call_v128") (param v128) (result v128) (call $v128 (local.get 0)))
  (func (export "add_i32x4") (param v128 v128) (result v128)
    (i32x4.add (local.get 0) (local.get 1)))
  (func (export "splat") (param i32) (result v128) (i32x4.splat (local.get 0)))
  (func (export "sum") (param v128) (result i32)
    (i32.add
      (i32.add (i32x4.extract_lane 0 (local.get 0)) (i32x4.extract_lane 1 (local.get 0)))
      (i32.add (i32x4.extract_lane 2 (local.get 0)) (i32x4.extract_lane 3 (local.get 0)))))
  (func (export "load") (param i32) (result v128) (v128.load (local.get 0)))
  (func (export "store") (param i32 v128) (v128.store (local.get 0) (local.get 1)))
)
