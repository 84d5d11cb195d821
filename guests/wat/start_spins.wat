;; A start function that never ends: instantiation, too, has to keep its deadline and its fuel.
(module
  (func $start (loop $forever (br $forever)))
  (start $start)
  (func (export "never") (result i32) (i32.const 1))
)
