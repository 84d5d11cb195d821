;; The smallest leaking module: each call takes pages, touches them, and never gives them back.
(module
  (memory (export "memory") 1)
  (global $calls (mut i32) (i32.const 0))

  ;; Returns how many calls there were before this one; traps when there is no memory left. As in real
  ;; modules the count has changed by then.
  (func (export "leak") (param $pages i32) (result i32)
    (local $start i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (local.set $start (memory.grow (local.get $pages)))
    (if (i32.eq (local.get $start) (i32.const -1)) (then (unreachable)))
    ;; Written to, or the host would never have to back them.
    (memory.fill
      (i32.shl (local.get $start) (i32.const 16))
      (i32.const 0xA5)
      (i32.shl (local.get $pages) (i32.const 16)))
    (i32.sub (global.get $calls) (i32.const 1)))

  (func (export "calls") (result i32) (global.get $calls))
  (func (export "memory_usage_mb") (result f64)
    (f64.div (f64.convert_i32_u (memory.size)) (f64.const 16)))
)
