;; Thin exports over WASI. Folders and files have names of one letter. What is no number of a
;; descriptor or of bytes is an error number with a minus.
(module
    (import "wasi_snapshot_preview1" "fd_prestat_get"
        (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
        (func $dir_name (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_rename"
        (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_unlink_file"
        (func $path_unlink (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_tell" (func $fd_tell (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get"
        (func $clock (param i32 i64 i32) (result i32)))
    (memory (export "memory") 1)

    ;; As wasi-libc: each folder's name is asked for once. That of number n lies at 16 n.
    (func (export "_initialize") (local $fd i32)
        (local.set $fd (i32.const 3))
        (loop $next
            (if (i32.eqz (call $prestat (local.get $fd) (i32.const 1024)))
                (then
                    (drop (call $dir_name (local.get $fd)
                        (i32.mul (local.get $fd) (i32.const 16)) (i32.load (i32.const 1028))))
                    (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
                    (br $next)))))

    ;; The number of a folder, by its name.
    (func $folder (param $name i32) (result i32) (local $fd i32)
        (loop $next
            (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
            (br_if $next (i32.ne (local.get $name)
                (i32.load8_u (i32.mul (local.get $fd) (i32.const 16))))))
        (local.get $fd))

    ;; The result of a function, if it gave no error number.
    (func $outcome (param $errno i32) (result i32)
        (if (result i32) (local.get $errno)
            (then (i32.sub (i32.const 0) (local.get $errno)))
            (else (i32.load (i32.const 1024)))))

    ;; Opens for writing, with these flags of `path_open` and of the descriptor.
    (func (export "open") (param $folder i32) (param $name i32) (param $create i32)
        (param $flags i32) (result i32)
        (i32.store8 (i32.const 1040) (local.get $name))
        (call $outcome (call $path_open (call $folder (local.get $folder)) (i32.const 0)
            (i32.const 1040) (i32.const 1) (local.get $create) (i64.const 102) (i64.const 0)
            (local.get $flags) (i32.const 1024))))

    ;; Writes a letter.
    (func (export "write") (param $fd i32) (param $letter i32) (result i32)
        (i32.store8 (i32.const 1040) (local.get $letter))
        (i32.store (i32.const 1048) (i32.const 1040))
        (i32.store (i32.const 1052) (i32.const 1))
        (call $outcome (call $fd_write (local.get $fd) (i32.const 1048) (i32.const 1)
            (i32.const 1024))))

    (func (export "tell") (param $fd i32) (result i32)
        (call $outcome (call $fd_tell (local.get $fd) (i32.const 1024))))

    (func (export "renumber") (param $from i32) (param $to i32) (result i32)
        (call $fd_renumber (local.get $from) (local.get $to)))

    (func (export "rename") (param $folder i32) (param $from i32) (param $to i32) (result i32)
        (i32.store8 (i32.const 1040) (local.get $from))
        (i32.store8 (i32.const 1041) (local.get $to))
        (call $path_rename (call $folder (local.get $folder)) (i32.const 1040) (i32.const 1)
            (call $folder (local.get $folder)) (i32.const 1041) (i32.const 1)))

    (func (export "unlink") (param $folder i32) (param $name i32) (result i32)
        (i32.store8 (i32.const 1040) (local.get $name))
        (call $path_unlink (call $folder (local.get $folder)) (i32.const 1040) (i32.const 1)))

    (func (export "monotonic") (result i64)
        (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 1024)))
        (i64.load (i32.const 1024))))
