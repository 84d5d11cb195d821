;; Atomics on a memory that is shared between instances, each on a thread of its own.
(module
  (memory (import "env" "memory") 1 16 shared)

  ;; Atomic: adds and returns the old value.
  (func (export "add") (param $address i32) (param $n i32) (result i32)
    (i32.atomic.rmw.add (local.get $address) (local.get $n)))

  ;; Adds 1 as often as told, so that threads have something to race for.
  (func (export "add_many") (param $address i32) (param $times i32)
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $times)))
        (drop (i32.atomic.rmw.add (local.get $address) (i32.const 1)))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (br $again))))

  (func (export "compare_exchange")
    (param $address i32) (param $expected i32) (param $new i32) (result i32)
    (i32.atomic.rmw.cmpxchg (local.get $address) (local.get $expected) (local.get $new)))

  (func (export "load") (param $address i32) (result i32)
    (i32.atomic.load (local.get $address)))
  (func (export "store") (param $address i32) (param $value i32)
    (i32.atomic.store (local.get $address) (local.get $value)))

  ;; 0: woken, 1: the value was not the expected one, 2: timed out. The timeout is in nanoseconds, a
  ;; negative one waits for ever.
  (func (export "wait32")
    (param $address i32) (param $expected i32) (param $timeout_ns i64) (result i32)
    (memory.atomic.wait32 (local.get $address) (local.get $expected) (local.get $timeout_ns)))
  ;; How many waiters were woken.
  (func (export "notify") (param $address i32) (param $count i32) (result i32)
    (memory.atomic.notify (local.get $address) (local.get $count)))

  ;; The trap that only atomics have.
  (func (export "misaligned_atomic") (result i32)
    (i32.atomic.load (i32.const 2)))

  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param $pages i32) (result i32)
    (memory.grow (local.get $pages)))
)
