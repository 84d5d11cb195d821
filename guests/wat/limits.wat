;; Grows what can be grown. Nothing here has a maximum of its own: the host's limits decide.
(module
  (memory (export "memory") 1)
  (table $table (export "table") 1 funcref)

  ;; The size before, or -1 where the limit forbids it.
  (func (export "grow_memory") (param $pages i32) (result i32)
    (memory.grow (local.get $pages)))
  (func (export "memory_size") (result i32) (memory.size))

  (func (export "grow_table") (param $elements i32) (result i32)
    (table.grow $table (ref.null func) (local.get $elements)))
  (func (export "table_size") (result i32) (table.size $table))

  ;; As deep as told, and returns how deep it was: the stack limit lies somewhere in between.
  (func $recurse (export "recurse") (param $depth i32) (result i32)
    (if (result i32) (local.get $depth)
      (then (i32.add (i32.const 1)
        (call $recurse (i32.sub (local.get $depth) (i32.const 1)))))
      (else (i32.const 0))))

  ;; As many rounds as told: for fuel and deadlines.
  (func (export "count") (param $rounds i64) (result i64)
    (local $done i64)
    (loop $again
      (local.set $done (i64.add (local.get $done) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $done) (local.get $rounds))))
    (local.get $done))
)
