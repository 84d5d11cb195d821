;; What links web-tree-sitter 0.27.2 and the grammar tree-sitter-json 0.24.8 into one module, as the
;; package's JavaScript links them when it runs: one memory and one table for both, and an address in
;; them for each. Where the numbers come from: the section `dylink.0` of both.
(module
  (import "main" "__wasm_apply_data_relocs" (func $main_relocs))
  (import "main" "__wasm_call_ctors" (func $main_ctors))
  (import "main" "ts_init" (func $init (result i32)))
  (import "main" "ts_parser_new_wasm" (func $parser_new))
  (import "main" "ts_parser_set_language" (func $set_language (param i32 i32) (result i32)))
  (import "main" "ts_parser_parse_wasm"
    (func $parse (param i32 i32 i32 i32 i32) (result i32)))
  (import "main" "ts_tree_root_node_wasm" (func $root_node (param i32)))
  (import "main" "ts_node_to_string_wasm" (func $to_string (param i32) (result i32)))
  (import "grammar" "grammar_relocs" (func $grammar_relocs))
  (import "grammar" "grammar_ctors" (func $grammar_ctors))
  (import "grammar" "tree_sitter_json" (func $json (result i32)))

  (memory (export "memory") 512 32768)
  (table (export "__indirect_function_table") 64 funcref)

  ;; 1024: data of web-tree-sitter, 15,676 bytes; its stack, 64 KiB, up to 82,240.
  (global (export "__memory_base") i32 (i32.const 1024))
  (global (export "__table_base") i32 (i32.const 1))
  (global (export "__stack_pointer") (mut i32) (i32.const 82240))
  (global (export "__stack_high") (mut i32) (i32.const 82240))
  (global (export "__stack_low") (mut i32) (i32.const 16704))
  ;; 82,240: data of the grammar, 2,928 bytes.
  (global (export "grammar_memory_base") i32 (i32.const 82240))
  (global (export "grammar_table_base") i32 (i32.const 31))
  ;; 86,016: room for the parser's input. 98,304: the text, up to 64 KiB. Then the heap.
  (global (export "__heap_base") (mut i32) (i32.const 163840))
  (global $units (mut i32) (i32.const 0))

  (func $start
    (call $main_relocs)
    (call $grammar_relocs)
    (call $main_ctors)
    (call $grammar_ctors))
  (start $start)

  ;; Gives the parser the text from a position on, as the package's JavaScript does.
  (func (export "tree_sitter_parse_callback")
    (param $to i32) (param $index i32) (param $row i32) (param $column i32) (param $length i32)
    (local $count i32)
    (if (i32.lt_u (local.get $index) (global.get $units))
      (then
        (local.set $count (i32.sub (global.get $units) (local.get $index)))
        (if (i32.gt_u (local.get $count) (i32.const 5119))
          (then (local.set $count (i32.const 5119))))
        (memory.copy
          (local.get $to)
          (i32.add (i32.const 98304) (i32.shl (local.get $index) (i32.const 1)))
          (i32.shl (local.get $count) (i32.const 1)))))
    (i32.store16 (i32.add (local.get $to) (i32.shl (local.get $count) (i32.const 1))) (i32.const 0))
    (i32.store (local.get $length) (local.get $count)))
  (func (export "tree_sitter_log_callback") (param i32 i32))
  (func (export "tree_sitter_progress_callback") (param i32 i32) (result i32) (i32.const 0))
  (func (export "tree_sitter_query_progress_callback") (param i32) (result i32) (i32.const 0))

  ;; A parser of JSON.
  (func (export "parser_new") (result i32)
    (local $at i32)
    (local.set $at (call $init))
    (call $parser_new)
    (drop (call $set_language (i32.load (local.get $at)) (call $json)))
    (i32.load (local.get $at)))

  ;; The tree of a text in UTF-16; 0 if the text is longer than 32,767 units.
  (func (export "parse") (param $parser i32) (param $text i32) (param $units i32) (result i32)
    (if (i32.gt_u (local.get $units) (i32.const 32767)) (then (return (i32.const 0))))
    (memory.copy (i32.const 98304) (local.get $text) (i32.shl (local.get $units) (i32.const 1)))
    (global.set $units (local.get $units))
    (call $parse (local.get $parser) (i32.const 86016) (i32.const 0) (i32.const 0) (i32.const 0)))

  ;; The tree as an S-expression, which the caller frees.
  (func (export "tree_string") (param $tree i32) (result i32)
    (call $root_node (local.get $tree))
    (call $to_string (local.get $tree))))
