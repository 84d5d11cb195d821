;; Accounts, which are objects, and notes, which change the state of the module as a whole.
(module
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 8))
    (global $sum (mut i64) (i64.const 7))
    (func (export "open") (result i32)
        (global.set $next (i32.add (global.get $next) (i32.const 8)))
        (i64.store (global.get $next) (i64.const 0))
        (global.get $next))
    (func (export "add") (param $account i32) (param $amount i64) (result i64)
        (i64.store (local.get $account)
            (i64.add (i64.load (local.get $account)) (local.get $amount)))
        (i64.load (local.get $account)))
    (func (export "total") (param $account i32) (result i64) (i64.load (local.get $account)))
    (func (export "close") (param $account i32))
    (func (export "note") (param $at i32) (param $len i32) (result i64)
        (local $end i32)
        (local.set $end (i32.add (local.get $at) (local.get $len)))
        (loop $next
            (global.set $sum (i64.add
                (i64.mul (global.get $sum) (i64.const 31))
                (i64.load8_u (local.get $at))))
            (br_if $next (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 1)))
                (local.get $end))))
        (global.get $sum))
    (func (export "state") (result i64) (global.get $sum))
    (func (export "alloc") (param i32) (result i32) (i32.const 65536))
    (func (export "dealloc") (param i32 i32)))
