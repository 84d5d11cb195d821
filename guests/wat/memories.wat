;; Two memories that must not be confused, of different sizes and with different contents.
(module
  (memory $first (export "first") 1 4)
  (memory $second (export "second") 2 8)
  (data (memory $first) (i32.const 0) "\01")
  (data (memory $second) (i32.const 0) "\02")

  (func (export "load_first") (param i32) (result i32) (i32.load $first (local.get 0)))
  (func (export "load_second") (param i32) (result i32) (i32.load $second (local.get 0)))
  (func (export "store_first") (param i32 i32) (i32.store $first (local.get 0) (local.get 1)))
  (func (export "store_second") (param i32 i32) (i32.store $second (local.get 0) (local.get 1)))
  (func (export "size_first") (result i32) (memory.size $first))
  (func (export "size_second") (result i32) (memory.size $second))
  (func (export "grow_first") (param i32) (result i32) (memory.grow $first (local.get 0)))
  (func (export "grow_second") (param i32) (result i32) (memory.grow $second (local.get 0)))
  ;; From the first to the second: destination, source, length.
  (func (export "copy") (param i32 i32 i32)
    (memory.copy $second $first (local.get 0) (local.get 1) (local.get 2)))
)
