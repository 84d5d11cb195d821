;; A start function that traps: no instance comes into being.
(module
  (func $start (unreachable))
  (start $start)
  (func (export "never") (result i32) (i32.const 1))
)
