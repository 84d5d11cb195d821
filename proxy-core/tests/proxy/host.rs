//! Host functions are recorded during journaled calls, and not asked again on replay.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use engine_api::{
    Caller, Error as EngineError, ExportKind, FuncType, MemoryIndex, Trap, Val, ValType,
};
use proxy_core::{DivergenceKind, Error, Proxy, args};

use super::world::{World, add, counter, swap, value, within};
use crate::fake::{address, number};

const CLOCK: &str = "(result i64)";

fn clock_type() -> FuncType {
    FuncType::new(&[], &[ValType::I64])
}

/// Adds a clock that gives another number each time.
fn clock(world: World) -> (World, Arc<AtomicI64>) {
    let time = Arc::new(AtomicI64::new(1000));
    let world = world.import("clock", (CLOCK, clock_type()), {
        let time = Arc::clone(&time);
        move |_, _, results| {
            results[0] = Val::from(time.fetch_add(1, Ordering::SeqCst));
            Ok(())
        }
    });
    (world, time)
}

#[test]
fn the_clock_of_a_journaled_call_stands_still_on_replay() {
    let (world, time) = clock(World::new());
    let world = world
        .func(
            "stamp",
            "(param i32) (result i64)",
            "role = \"mutate\"\nargs = [\"handle\"]\nmutates = [0]",
            |guest, args| {
                let now = guest.host("env", "clock", &[])?;
                let then = guest.host("env", "clock", &[])?;
                *guest.object(&args[0])? =
                    now[0].i64().expect("a time") + then[0].i64().expect("a time");
                Ok(now)
            },
        )
        .func("now", "(result i64)", "role = \"pure\"", |guest, _| {
            guest.host("env", "clock", &[])
        });
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    let stamped = proxy.call("stamp", args![one]).unwrap().i64().unwrap();
    assert_eq!(stamped, 1000);
    for round in 0..3 {
        swap(&proxy);
        assert_eq!(
            time.load(Ordering::SeqCst),
            1002 + round,
            "replay does not ask"
        );
        assert_eq!(value(&proxy, one), 2001);
        let now = proxy.call("now", args![]).unwrap().i64().unwrap();
        assert_eq!(now, 1002 + round, "pure calls do");
    }
}

#[test]
fn bytes_that_a_host_function_wrote_are_written_again() {
    let written = Arc::new(AtomicUsize::new(0));
    let world = World::new()
        .import(
            "random",
            ("(param i32 i32)", FuncType::new(&[ValType::I32; 2], &[])),
            {
                let written = Arc::clone(&written);
                move |caller, args, _| {
                    let seed = written.fetch_add(1, Ordering::SeqCst);
                    let bytes = vec![
                        u8::try_from(seed + 7).expect("few calls");
                        address(&args[1]) as usize
                    ];
                    caller.memory_write(MemoryIndex(0), u64::from(address(&args[0])), &bytes)
                }
            },
        )
        .func(
            "seed",
            "(result i32)",
            "role = \"create\"\nresults = [\"handle:seed\"]",
            |guest, _| {
                // A fixed address, because replay compares the arguments of host calls.
                let buffer = 2048 + u32::try_from(guest.count("seeds")).expect("few calls") * 16;
                guest.host("env", "random", &[Val::from(buffer), Val::I32(16)])?;
                Ok(vec![Val::from(buffer)])
            },
        )
        .func(
            "seed_bytes",
            "(param i32) (result i64)",
            "role = \"pure\"\nargs = [\"handle:seed\"]\nresults = [\"bytes:borrowed\"]",
            |_, args| Ok(vec![Val::from(i64::from(address(&args[0])) | (16 << 32))]),
        );
    let (proxy, _) = world.build();
    let seed = || proxy.call("seed", args![]).unwrap().handle().unwrap();
    let seeds = [seed(), seed()];
    for _ in 0..3 {
        for (expected, seed) in [[7; 16], [8; 16]].into_iter().zip(seeds) {
            let bytes = proxy.call("seed_bytes", args![seed]).unwrap();
            assert_eq!(bytes.bytes().unwrap(), expected);
        }
        swap(&proxy);
    }
    assert_eq!(written.load(Ordering::SeqCst), 2);
}

/// `outer(counter)` calls `env.around`, which calls back `inner(counter)`, which asks `env.clock`.
fn nested(
    around: fn(&mut dyn Caller, &[Val]) -> Result<(), EngineError>,
) -> (World, Arc<AtomicI64>) {
    let (world, time) = clock(World::new());
    let world = world
        .import(
            "around",
            ("(param i32)", FuncType::new(&[ValType::I32], &[])),
            move |caller, args, _| around(caller, args),
        )
        .func(
            "outer",
            "(param i32)",
            "role = \"mutate\"\nargs = [\"handle\"]\nmutates = [0]",
            |guest, args| {
                *guest.object(&args[0])? *= 2;
                // The host names the object by a number that is the same on every instance.
                guest
                    .counters
                    .insert("current", i64::from(address(&args[0])));
                guest.host("env", "around", &[Val::I32(5)])?;
                *guest.object(&args[0])? *= 2;
                Ok(vec![])
            },
        )
        .func(
            "inner",
            "(param i32) (result i64)",
            "role = \"pure\"",
            |guest, args| {
                let now = guest.host("env", "clock", &[])?;
                let current = u32::try_from(guest.counters["current"]).expect("an address");
                let object = guest.object(&Val::from(current))?;
                *object += now[0].i64().expect("a time") + i64::from(number(&args[0]));
                if *object < 0 {
                    return Err(EngineError::Trap(Trap::Unreachable));
                }
                Ok(now)
            },
        );
    (world, time)
}

fn call_inner(caller: &mut dyn Caller, args: &[Val]) -> Result<(), EngineError> {
    let (inner, _) = caller.info().function("inner")?;
    let mut results = [Val::I64(0)];
    caller.call(inner, args, &mut results)?;
    assert!(results[0].i64() >= Some(1000));
    Ok(())
}

#[test]
fn callbacks_into_the_guest_are_made_again_in_order() {
    let (world, time) = nested(|caller, args| {
        call_inner(caller, args)?;
        call_inner(caller, &[Val::I32(100)])
    });
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 1);
    proxy.call("outer", args![one]).unwrap();
    let expected = (2 + 1000 + 5 + 1001 + 100) * 2;
    for _ in 0..3 {
        assert_eq!(value(&proxy, one), expected);
        assert_eq!(time.load(Ordering::SeqCst), 1002);
        swap(&proxy);
    }
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[test]
fn a_trap_that_a_host_function_swallows_costs_the_generation() {
    let (world, _) = nested(|caller, _| {
        let (inner, _) = caller.info().function("inner")?;
        let swallowed = caller.call(inner, &[Val::I32(-1_000_000)], &mut [Val::I64(0)]);
        assert!(swallowed.is_err());
        Ok(())
    });
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    let outcome = proxy.call("outer", args![one]);
    assert!(
        outcome.is_err(),
        "the instance is corrupt, whatever the host function thinks"
    );
    assert_eq!(value(&proxy, one), 0);
    swap(&proxy);
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn growth_and_globals_that_a_host_function_changed_are_changed_again() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let world = World::new()
        .script(|script| {
            script
                .item("(global (export \"level\") (mut i64) (i64.const 0))")
                .item("(table (export \"t\") 2 funcref)")
        })
        .import("change", ("", FuncType::default()), |caller, _, _| {
            caller.memory_grow(MemoryIndex(0), 3)?;
            caller.table_grow(engine_api::TableIndex(0), 5, &Val::FuncRef(None))?;
            let Some(ExportKind::Global(level)) = caller.info().export("level").map(|e| e.kind)
            else {
                panic!("it is exported");
            };
            let before = caller.global(level)?.i64().expect("it is an i64");
            caller.set_global(level, &Val::from(before + 11))
        })
        .func("change", "", "role = \"mutate\"", |guest, _| {
            guest.host("env", "change", &[])
        })
        .func("look", "", "role = \"pure\"", {
            let seen = Arc::clone(&seen);
            move |guest, _| {
                let level = guest.global(engine_api::GlobalIndex(0))?;
                let table = guest.table_size(engine_api::TableIndex(0))?;
                seen.lock()
                    .expect("no panic")
                    .push((level.i64(), table, guest.memory.len()));
                Ok(vec![])
            }
        });
    let (proxy, _) = world.build();
    proxy.call("change", args![]).unwrap();
    proxy.call("change", args![]).unwrap();
    proxy.call("look", args![]).unwrap();
    swap(&proxy);
    proxy.call("look", args![]).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0], (Some(22), 12, 7 * 65_536));
    assert_eq!(seen[1], seen[0]);
}

#[test]
fn the_start_function_gets_the_same_answers_in_every_generation() {
    let (world, time) = clock(World::new());
    let world = world
        .script(|script| {
            script.start(|guest, _| {
                let now = guest.host("env", "clock", &[])?;
                guest.counters.insert("born", now[0].i64().expect("a time"));
                Ok(vec![])
            })
        })
        .func("born", "(result i64)", "role = \"pure\"", |guest, _| {
            Ok(vec![Val::from(guest.counters["born"])])
        });
    let (proxy, _) = world.build();
    for _ in 0..3 {
        assert_eq!(proxy.call("born", args![]).unwrap().i64().unwrap(), 1000);
        swap(&proxy);
    }
    assert_eq!(time.load(Ordering::SeqCst), 1001);
}

#[test]
fn another_start_is_a_divergence_at_the_instantiation() {
    let (world, _) = clock(World::new());
    let world = world.script(|script| {
        script.start(|guest, _| {
            for _ in 0..guest.number {
                guest.host("env", "clock", &[])?;
            }
            Ok(vec![])
        })
    });
    let (proxy, engine) = world.build();
    let Err(Error::Divergence(divergence)) = proxy.prepare_standby() else {
        panic!("the second start asks twice");
    };
    assert_eq!(divergence.entry, proxy_core::SequenceNumber::ZERO);
    assert_eq!(divergence.what, DivergenceKind::HostCalls);
    assert_eq!(engine.probe().live(), 1);
}

#[test]
fn a_host_function_that_fails_in_the_start_function_fails_the_build() {
    let world = World::new()
        .import("fail", ("", FuncType::default()), |_, _, _| {
            Err(EngineError::ForeignReference)
        })
        .script(|script| script.start(|guest, _| guest.host("env", "fail", &[])));
    let engine = world.script.engine();
    let error = world.builder(&engine).build().unwrap_err();
    assert!(
        matches!(&error, Error::Engine(source) if matches!(**source, EngineError::Host { .. })),
        "{error}"
    );
    assert_eq!(engine.probe().live(), 0);
}

#[test]
fn a_refused_instantiation_is_no_divergence_of_the_start_function() {
    let (world, _) = clock(World::new());
    let world = world.script(|script| {
        script
            .start(|guest, _| guest.host("env", "clock", &[]).map(|_| vec![]))
            .before_instantiate(|number| match number {
                2 => Err(EngineError::Growth {
                    current: 0,
                    delta: 1,
                }),
                _ => Ok(()),
            })
    });
    let (proxy, _) = world.build();
    let error = proxy.prepare_standby().unwrap_err();
    assert!(matches!(error, Error::Preparation { .. }), "{error}");
}

/// For each call of `env.back`, whether everything it tried was refused.
type Refused = Arc<Mutex<Vec<bool>>>;

/// A world whose host function `env.back` calls the proxy it belongs to.
fn reentrant(world: World) -> (World, Arc<OnceLock<Proxy>>, Refused) {
    let proxy: Arc<OnceLock<Proxy>> = Arc::default();
    let refused = Refused::default();
    let world = world.import("back", ("", FuncType::default()), {
        let (proxy, refused) = (Arc::clone(&proxy), Arc::clone(&refused));
        move |_, _, _| {
            let Some(proxy) = proxy.get() else {
                return Ok(());
            };
            let outcomes = [
                proxy.call("counter_new", args![]).map(drop),
                proxy.call("guest_alloc", args![8]).map(drop),
                proxy.pinned(|pinned| pinned.call("guest_alloc", args![8]).map(drop)),
            ];
            let all = outcomes
                .iter()
                .all(|outcome| matches!(outcome, Err(Error::Reentrant)));
            refused.lock().expect("no panic").push(all);
            Ok(())
        }
    });
    (world, proxy, refused)
}

#[test]
fn a_host_function_cannot_call_its_own_proxy() {
    let (world, slot, refused) = reentrant(World::new());
    let world = world
        .func("go", "", "role = \"mutate\"", |guest, _| {
            guest.host("env", "back", &[])
        })
        .func("go_pure", "", "role = \"pure\"", |guest, _| {
            guest.host("env", "back", &[])
        });
    let (proxy, _) = world.build();
    slot.set(proxy.clone()).unwrap();
    let caller = proxy.clone();
    within("a reentrant call", super::world::PATIENCE, move || {
        caller.call("go", args![]).unwrap();
        caller.call("go_pure", args![]).unwrap();
        caller
            .pinned(|pinned| pinned.call("go_pure", args![]))
            .unwrap();
        caller.typed::<(), ()>("go_pure").unwrap().call(()).unwrap();
    });
    assert_eq!(*refused.lock().unwrap(), [true; 4]);
    assert_eq!(proxy.journal_digests().len(), 1, "only `go` itself");
}

#[test]
fn a_memory_report_cannot_reenter() {
    let (world, slot, refused) = reentrant(World::new());
    let world = world
        .policy("[module]\nmemory_usage_export = \"usage\"\n")
        .func("usage", "(result i32)", "role = \"pure\"", |guest, _| {
            guest.host("env", "back", &[])?;
            Ok(vec![Val::I32(1)])
        });
    let (proxy, _) = world.build();
    slot.set(proxy.clone()).unwrap();
    within("a tick", Duration::from_secs(5), move || {
        proxy.tick(std::time::Instant::now());
    });
    assert_eq!(*refused.lock().unwrap(), [true]);
}

#[test]
fn a_host_function_may_call_another_proxy() {
    let (other, _) = World::new().build();
    let theirs = counter(&other);
    let world = World::new()
        .import("there", ("", FuncType::default()), {
            let other = other.clone();
            move |_, _, _| {
                add(&other, theirs, 1);
                Ok(())
            }
        })
        .func("go", "", "role = \"mutate\"", |guest, _| {
            guest.host("env", "there", &[])
        });
    let (proxy, _) = world.build();
    proxy.call("go", args![]).unwrap();
    swap(&proxy);
    assert_eq!(value(&other, theirs), 1, "replay has no effect there");
}

#[test]
fn replay_has_no_effect_outside() {
    let printed = Arc::new(Mutex::new(Vec::new()));
    let world = World::new()
        .import(
            "print",
            ("(param i32)", FuncType::new(&[ValType::I32], &[])),
            {
                let printed = Arc::clone(&printed);
                move |_, args, _| {
                    printed.lock().expect("no panic").push(number(&args[0]));
                    Ok(())
                }
            },
        )
        .func("say", "(param i32)", "role = \"mutate\"", |guest, args| {
            guest.host("env", "print", args)
        });
    let (proxy, _) = world.build();
    for line in 0..5 {
        proxy.call("say", args![line]).unwrap();
        swap(&proxy);
        proxy.verify_on(world.script.engine()).unwrap();
    }
    assert_eq!(*printed.lock().unwrap(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_missing_host_function_fails_the_build() {
    let mut world = World::new();
    world.script = world.script.import("env", "missing", "");
    let engine = world.script.engine();
    let error = world.builder(&engine).build().unwrap_err();
    assert!(error.to_string().contains("`env` `missing`"), "{error}");
}
