;; One export per kind of trap, named after it. Misaligned atomics are in threads.wat.
(module
  (type $nothing (func))
  (type $number (func (result i32)))

  (memory (export "memory") 1 1)
  (table $functions 2 2 funcref)   ;; 0: a function, 1: null
  (elem (i32.const 0) func $one)

  (func $one (type $number) (i32.const 1))

  (func (export "no_trap") (result i32)
    (call_indirect (type $number) (i32.const 0)))

  (func (export "unreachable") (unreachable))

  ;; Dividend and divisor are arguments, so that no compiler folds the trap away.
  (func (export "integer_divide") (param $a i32) (param $b i32) (result i32)
    (i32.div_s (local.get $a) (local.get $b)))
  (func (export "integer_divide_by_zero") (result i32)
    (i32.div_s (i32.const 1) (i32.const 0)))
  (func (export "integer_remainder_by_zero") (result i64)
    (i64.rem_u (i64.const 1) (i64.const 0)))
  ;; The only quotient that does not fit: the smallest integer divided by -1.
  (func (export "integer_overflow") (result i32)
    (i32.div_s (i32.const 0x80000000) (i32.const -1)))

  ;; A float out of the range of the integer traps as overflow, NaN as a bad conversion.
  (func (export "float_to_integer") (param $x f64) (result i32)
    (i32.trunc_f64_s (local.get $x)))
  (func (export "float_to_integer_overflow") (result i32)
    (i32.trunc_f64_s (f64.const 1e300)))
  (func (export "bad_conversion_to_integer") (result i32)
    (i32.trunc_f32_s (f32.const nan)))

  ;; The last word that is inside is at 65532.
  (func (export "memory_out_of_bounds") (result i32)
    (i32.load (i32.const 65533)))
  (func (export "memory_store_out_of_bounds")
    (i32.store (i32.const 65533) (i32.const 1)))
  (func (export "memory_load") (param $address i32) (result i32)
    (i32.load (local.get $address)))
  ;; A bulk operation that ends one byte too late writes nothing at all.
  (func (export "memory_fill_out_of_bounds")
    (memory.fill (i32.const 65530) (i32.const 0xFF) (i32.const 7)))

  (func (export "table_out_of_bounds") (result i32)
    (call_indirect (type $number) (i32.const 2)))
  (func (export "table_access_out_of_bounds") (result i32)
    (ref.is_null (table.get $functions (i32.const 2))))
  (func (export "indirect_call_to_null") (result i32)
    (call_indirect (type $number) (i32.const 1)))
  (func (export "bad_signature")
    (call_indirect (type $nothing) (i32.const 0)))

  ;; The addition keeps the call from being a tail call.
  (func $recurse (export "stack_overflow") (result i32)
    (i32.add (i32.const 1) (call $recurse)))

  ;; Not a trap by itself: ends when the host interrupts it or the fuel is used up.
  (func (export "spin") (loop $forever (br $forever)))
)
