;; What C functions take and give: strings that end in a zero byte, buffers whose length nobody says,
;; places for results, options, and results at a return pointer. `live` counts the blocks of the
;; allocator that nobody has freed.
(module
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 8192))
  (global $live (mut i32) (i32.const 0))
  (global $stack (mut i32) (i32.const 4096))
  (global $word (mut i32) (i32.const 0))
  (data (i32.const 1024) "lent\00")
  (data (i32.const 1040) "\ff\00")

  (func $malloc (export "malloc") (param $len i32) (result i32)
    (global.set $live (i32.add (global.get $live) (i32.const 1)))
    (global.get $heap)
    (global.set $heap
      (i32.add (global.get $heap)
        (i32.and (i32.add (local.get $len) (i32.const 7)) (i32.const -8)))))
  (func (export "free") (param i32)
    (global.set $live (i32.sub (global.get $live) (i32.const 1))))
  (func (export "live") (result i32) (global.get $live))
  (func (export "__wbindgen_add_to_stack_pointer") (param i32) (result i32)
    (global.set $stack (i32.add (global.get $stack) (local.get 0)))
    (global.get $stack))
  (func (export "stack") (result i32) (global.get $stack))

  ;; The length of a C string.
  (func $strlen (export "strlen") (param $at i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $at))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $end) (local.get $at)))
  ;; The first byte.
  (func (export "first") (param $at i32) (result i32) (i32.load8_u (local.get $at)))
  ;; The sum of two i32, and of two f64.
  (func (export "sum32") (param $at i32) (result i32)
    (i32.add (i32.load (local.get $at)) (i32.load offset=4 (local.get $at))))
  (func (export "sum64") (param $at i32) (result f64)
    (f64.add (f64.load (local.get $at)) (f64.load offset=8 (local.get $at))))
  ;; Whether the string is null, else its length.
  (func (export "maybe_len") (param $at i32) (result i32)
    (if (result i32) (local.get $at)
      (then (call $strlen (local.get $at)))
      (else (i32.const -1))))
  ;; As wasm-bindgen passes an optional text.
  (func (export "maybe_text") (param $at i32) (param $len i32) (result i32)
    (if (result i32) (local.get $at) (then (local.get $len)) (else (i32.const -1))))
  ;; An object with the number of another one, or -1 without.
  (func (export "object_new") (param $number i32) (result i32)
    (local $at i32)
    (local.set $at (call $malloc (i32.const 4)))
    (i32.store (local.get $at) (local.get $number))
    (local.get $at))
  (func (export "object_or") (param $at i32) (result i32)
    (if (result i32) (local.get $at)
      (then (i32.load (local.get $at)))
      (else (i32.const -1))))

  ;; A copy of the string, which the caller frees.
  (func (export "strdup") (param $from i32) (result i32)
    (local $to i32) (local $len i32)
    (local.set $len (i32.add (call $strlen (local.get $from)) (i32.const 1)))
    (local.set $to (call $malloc (local.get $len)))
    (memory.copy (local.get $to) (local.get $from) (local.get $len))
    (local.get $to))
  ;; A string of the guest's own, a part of the argument, none, and hostile ones.
  (func (export "lent") (result i32) (i32.const 1024))
  (func (export "rest") (param $at i32) (result i32)
    (i32.add (local.get $at) (i32.const 1)))
  (func (export "none") (result i32) (i32.const 0))
  (func (export "latin1") (result i32) (i32.const 1040))
  (func (export "beyond") (result i32) (i32.const 65536))
  (func (export "endless") (result i32)
    (memory.fill (i32.const 65000) (i32.const 65) (i32.const 536))
    (i32.const 65000))

  ;; `int open(const char *name, object **out)`: 0, and an object with the name's length.
  (func (export "open") (param $name i32) (param $out i32) (result i32)
    (local $at i32)
    (local.set $at (call $malloc (i32.const 4)))
    (i32.store (local.get $at) (call $strlen (local.get $name)))
    (i32.store (local.get $out) (local.get $at))
    (i32.const 0))
  (func (export "object_free") (param i32)
    (global.set $live (i32.sub (global.get $live) (i32.const 1))))
  ;; `const char *data(unsigned *len)`, and places for numbers.
  (func (export "data") (param $len i32) (result i32)
    (i32.store (local.get $len) (i32.const 2))
    (i32.const 1024))
  (func (export "numbers") (param $a i32) (param $x i32) (param $b i32)
    (i64.store (local.get $a) (i64.extend_i32_s (local.get $x)))
    (f64.store (local.get $b) (f64.convert_i32_s (local.get $x))))
  ;; A pointer, and the length from another export.
  (func (export "column_blob") (param $object i32) (param $column i32) (result i32)
    (i32.const 1024))
  (func (export "column_bytes") (param $object i32) (param $column i32) (result i32)
    (local.get $column))
  (func (export "last_bytes") (result i32) (i32.const 3))
  (func (export "huge_bytes") (result i32) (i32.const -1))

  ;; wasm-bindgen: an optional f64, an i64 beside an i32, and many fields.
  (func (export "maybe") (param $ret i32) (param $x f64)
    (i32.store (local.get $ret) (i32.const 1))
    (f64.store offset=8 (local.get $ret) (local.get $x)))
  (func (export "mixed") (param $ret i32)
    (i64.store (local.get $ret) (i64.const -2))
    (i32.store offset=8 (local.get $ret) (i32.const 3))
    (f32.store offset=12 (local.get $ret) (f32.const 0.5))
    (i64.store offset=16 (local.get $ret) (i64.const 4))
    (i32.store offset=24 (local.get $ret) (i32.const 5))))
