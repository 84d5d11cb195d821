;; what a pool's start does with its objects in the slot ABI: the glue takes the module and the memory from the guest
;; (`startWorkers(takeObject(arg0), takeObject(arg1), PoolBuilder.__wrap(arg2))`), so both slots are free again. `next` says
;; which slot the next object gets: one of these two after each start.
(module
  (import "wbg" "__wbindgen_number_new" (func $number (param f64) (result i32)))
  (import "wbg" "__wbindgen_object_drop_ref" (func $drop (param i32)))
  (import "wbg" "__wbg_startWorkers_f430e3766320935f" (func $start (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "__wbindgen_malloc") (param i32 i32) (result i32) i32.const 1024)
  (func (export "next") (result i32) (local $slot i32)
    (call $drop (call $start
      (call $number (f64.const 1)) (call $number (f64.const 2)) (i32.const 64)))
    (local.set $slot (call $number (f64.const 3)))
    (call $drop (local.get $slot))
    (local.get $slot)))
