;; A table that the host made beside one of the module's own. Both hold functions.
(module
  (type $unary (func (param i32) (result i32)))
  (table $imported (import "env" "table") 2 funcref)
  (table $own (export "own") 3 8 funcref)
  (export "imported" (table $imported))
  (elem (table $own) (i32.const 0) func $double $square)   ;; 2 stays null
  (elem (table $imported) (i32.const 0) func $negate)
  (elem declare func $increment)

  (func $double (export "double") (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func $square (type $unary) (i32.mul (local.get 0) (local.get 0)))
  (func $negate (type $unary) (i32.sub (i32.const 0) (local.get 0)))
  (func $increment (type $unary) (i32.add (local.get 0) (i32.const 1)))

  ;; Index, then argument.
  (func (export "call_own") (param $i i32) (param $x i32) (result i32)
    (call_indirect $own (type $unary) (local.get $x) (local.get $i)))
  (func (export "call_imported") (param $i i32) (param $x i32) (result i32)
    (call_indirect $imported (type $unary) (local.get $x) (local.get $i)))

  (func (export "size_own") (result i32) (table.size $own))
  (func (export "size_imported") (result i32) (table.size $imported))
  ;; New elements are filled with $increment. The own table ends at 8 elements.
  (func (export "grow_own") (param i32) (result i32)
    (table.grow $own (ref.func $increment) (local.get 0)))
  (func (export "grow_imported") (param i32) (result i32)
    (table.grow $imported (ref.func $increment) (local.get 0)))
  ;; Copies one function over another.
  (func (export "set_own") (param $to i32) (param $from i32)
    (table.set $own (local.get $to) (table.get $own (local.get $from))))

  ;; An opaque function reference on its way through the host and back.
  (func (export "function") (param i32) (result funcref) (table.get $own (local.get 0)))
  (func (export "put_function") (param i32 funcref) (table.set $own (local.get 0) (local.get 1)))
)
