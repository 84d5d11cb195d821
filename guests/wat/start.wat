;; A start function that leaves traces in a global and in memory.
(module
  (memory (export "memory") 1)
  (global $started (export "started") (mut i32) (i32.const 0))

  (func $start
    (global.set $started (i32.add (global.get $started) (i32.const 1)))
    (i32.store (i32.const 0) (i32.const 42)))
  (start $start)

  ;; How often the start function ran: once.
  (func (export "starts") (result i32) (global.get $started))
  (func (export "stored") (result i32) (i32.load (i32.const 0)))
)
