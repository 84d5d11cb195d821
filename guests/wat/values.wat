;; Every number type in and out, several results at once, and NaNs whose bits are left to the engine.
(module
  (func (export "i32") (param i32) (result i32) (local.get 0))
  (func (export "i64") (param i64) (result i64) (local.get 0))
  (func (export "f32") (param f32) (result f32) (local.get 0))
  (func (export "f64") (param f64) (result f64) (local.get 0))

  (func (export "none"))
  (func (export "swap") (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))
  (func (export "all") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
    (local.get 3) (local.get 2) (local.get 1) (local.get 0))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))

  ;; The specification allows either sign and, for some operands, other payloads. With canonicalisation
  ;; these are 0x7FC00000 and 0x7FF8000000000000 on every engine.
  (func (export "nan_f32") (param $zero f32) (result i32)
    (i32.reinterpret_f32 (f32.div (local.get $zero) (local.get $zero))))
  (func (export "nan_f64") (param $zero f64) (result i64)
    (i64.reinterpret_f64 (f64.div (local.get $zero) (local.get $zero))))
  ;; The sum of a NaN with a payload and a number.
  (func (export "nan_payload_f32") (param $bits i32) (result i32)
    (i32.reinterpret_f32 (f32.add (f32.reinterpret_i32 (local.get $bits)) (f32.const 1))))
  (func (export "nan_payload_f64") (param $bits i64) (result i64)
    (i64.reinterpret_f64 (f64.add (f64.reinterpret_i64 (local.get $bits)) (f64.const 1))))
)
