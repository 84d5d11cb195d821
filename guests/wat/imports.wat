;; Host functions of every number type and shape. v128 is in simd.wat, externref in externref.wat.
(module
  (import "env" "i32" (func $i32 (param i32) (result i32)))
  (import "env" "i64" (func $i64 (param i64) (result i64)))
  (import "env" "f32" (func $f32 (param f32) (result f32)))
  (import "env" "f64" (func $f64 (param f64) (result f64)))
  (import "env" "none" (func $none))
  (import "env" "mixed" (func $mixed (param i32 i64 f32 f64) (result f64)))
  ;; Multi-value: gives its arguments back in the opposite order.
  (import "env" "swap" (func $swap (param i32 i64) (result i64 i32)))
  ;; Reads `len` bytes at `from`, writes them reversed to `to`.
  (import "env" "reverse" (func $reverse (param $from i32) (param $to i32) (param $len i32)))
  ;; Calls the export "double" of this instance and returns what that returned.
  (import "env" "call_back" (func $call_back (param i32) (result i32)))
  (import "env" "fail" (func $fail))

  (memory (export "memory") 1)
  (data (i32.const 0) "wasm")

  (func (export "call_i32") (param i32) (result i32) (call $i32 (local.get 0)))
  (func (export "call_i64") (param i64) (result i64) (call $i64 (local.get 0)))
  (func (export "call_f32") (param f32) (result f32) (call $f32 (local.get 0)))
  (func (export "call_f64") (param f64) (result f64) (call $f64 (local.get 0)))
  (func (export "call_none") (call $none))
  (func (export "call_mixed") (param i32 i64 f32 f64) (result f64)
    (call $mixed (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "call_swap") (param i32 i64) (result i64 i32)
    (call $swap (local.get 0) (local.get 1)))

  ;; The word at 16 after the host reversed "wasm" into it: "msaw", 0x7761736D.
  (func (export "call_reverse") (result i32)
    (call $reverse (i32.const 0) (i32.const 16) (i32.const 4))
    (i32.load (i32.const 16)))

  (func (export "double") (param i32) (result i32)
    (i32.mul (local.get 0) (i32.const 2)))
  (func (export "call_call_back") (param i32) (result i32) (call $call_back (local.get 0)))

  ;; A host function that returns an error: the store after it must not happen.
  (func (export "call_fail")
    (call $fail)
    (i32.store (i32.const 32) (i32.const 1)))
  (func (export "after_fail") (result i32) (i32.load (i32.const 32)))
)
