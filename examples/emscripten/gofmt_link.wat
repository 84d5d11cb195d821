;; One function around the three of gofmt's module: text in, text out.
(module
  (import "gofmt" "memory" (memory 1))
  (import "gofmt" "format" (func $format (result i32)))
  (import "gofmt" "output_ptr" (func $output (result i32)))
  (import "gofmt" "output_len" (func $output_len (result i32)))
  (import "gofmt" "dispose" (func $dispose))
  (import "gofmt" "alloc" (func $alloc (param i32) (result i32)))
  ;; What is formatted is the block that was taken last.
  (export "text_alloc" (func $alloc))
  (func (export "text_free") (param i32 i32) (call $dispose))
  ;; The text, its length in the upper half: as it came, formatted, or what is wrong with it.
  (func (export "format_text") (param $at i32) (param $len i32) (result i64)
    (if (call $format)
      (then
        (local.set $at (call $output))
        (local.set $len (call $output_len))))
    (i64.or
      (i64.extend_i32_u (local.get $at))
      (i64.shl (i64.extend_i32_u (local.get $len)) (i64.const 32)))))
