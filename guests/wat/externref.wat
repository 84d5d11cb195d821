;; Host objects that the guest holds but cannot look into.
(module
  (import "env" "inspect" (func $inspect (param externref) (result i32)))

  (table $kept (export "kept") 4 externref)
  (global $last (mut externref) (ref.null extern))

  (func (export "identity") (param externref) (result externref) (local.get 0))
  (func (export "is_null") (param externref) (result i32) (ref.is_null (local.get 0)))
  (func (export "null") (result externref) (ref.null extern))
  (func (export "call_inspect") (param externref) (result i32) (call $inspect (local.get 0)))

  (func (export "keep") (param i32 externref) (table.set $kept (local.get 0) (local.get 1)))
  (func (export "kept_at") (param i32) (result externref) (table.get $kept (local.get 0)))
  ;; Forgets the object, which the host may then drop.
  (func (export "forget") (param i32) (table.set $kept (local.get 0) (ref.null extern)))
  (func (export "grow") (param externref i32) (result i32)
    (table.grow $kept (local.get 0) (local.get 1)))

  (func (export "set_last") (param externref) (global.set $last (local.get 0)))
  (func (export "last") (result externref) (global.get $last))
)
