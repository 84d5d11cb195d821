//! A generation that dies is rebuilt from the journal, and the call is repeated where that is safe.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::{Error as EngineError, FuncType, Trap, Val};
use proxy_core::{CallError, Error, Event, Patience, Reason, SwapState, args};

use super::world::{
    PATIENCE, World, add, counter, instance_number, leak_pages, swap, until, until_live, value,
    within,
};
use crate::fake::{Gate, number};

/// `add_and_die(counter, n)` adds half of `n`. Then it traps on instances for which `dies` is true,
/// and adds the rest on others.
fn dying(dies: impl Fn(u64) -> bool + Send + Sync + 'static) -> World {
    World::new().func(
        "add_and_die",
        "(param i32 i32)",
        "role = \"mutate\"\nargs = [\"handle:counter\", \"value\"]\nmutates = [0]",
        move |guest, args| {
            for _ in 0..2 {
                *guest.object(&args[0])? += i64::from(number(&args[1]) / 2);
                if dies(guest.number) {
                    return Err(EngineError::Trap(Trap::Unreachable));
                }
            }
            Ok(vec![])
        },
    )
}

#[test]
fn a_trap_costs_the_generation_but_not_the_call() {
    let world = World::new().booming(|number| number == 1);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 5);
    assert_eq!(proxy.call("boom", args![]).unwrap().i32().unwrap(), 2);
    assert_eq!(value(&proxy, one), 5);
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.emergencies, info.retries), (1, 1, 1));
    assert_eq!(info.last_swap.unwrap().reason, Reason::Emergency);
    let names = world.events.names();
    assert_eq!(
        &names[..6],
        [
            "generation-tainted",
            "call-retried",
            "standby-prepare-start",
            "standby-prepare-complete",
            "swap-start",
            "swap-complete"
        ]
    );
    assert!(world.events.all().iter().any(|event| matches!(
        event,
        Event::CallRetried { export, reason } if &**export == "boom" && *reason == "integer_division_by_zero"
    )));
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_dead_generation_is_freed_when_its_call_has_moved_on() {
    let world = World::new().booming(|number| number == 1);
    let (proxy, engine) = world.build();
    proxy.call("boom", args![]).unwrap();
    assert_eq!(engine.probe().live(), 1);
    assert_eq!(proxy.debug_info().state, SwapState::Idle);
}

#[test]
fn half_of_a_call_leaves_no_trace() {
    let (proxy, _) = dying(|number| number == 1).build();
    let one = counter(&proxy);
    add(&proxy, one, 100);
    proxy.call("add_and_die", args![one, 10]).unwrap();
    assert_eq!(value(&proxy, one), 110, "once, and whole");
    assert_eq!(proxy.journal_digests().len(), 3);
    swap(&proxy);
    assert_eq!(value(&proxy, one), 110);
}

#[test]
fn a_call_that_always_traps_is_tried_twice_and_never_journaled() {
    let (proxy, engine) = dying(|_| true).build();
    let one = counter(&proxy);
    add(&proxy, one, 100);
    for _ in 0..3 {
        let error = proxy.call("add_and_die", args![one, 10]).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Call(CallError::Trapped {
                    trap: Trap::Unreachable,
                    retried: true,
                    side_effects: false,
                    ..
                })
            ),
            "{error}"
        );
        assert_eq!(value(&proxy, one), 100);
    }
    assert_eq!(proxy.journal_digests().len(), 2);
    until_live(&proxy, &engine, 1);
    assert!(engine.probe().peak() <= 3);
}

/// `ring_and_die(counter)`, with this role, rings a bell outside and traps on the first instance.
fn ringing(role: &str) -> (World, Arc<AtomicUsize>) {
    let rung = Arc::new(AtomicUsize::new(0));
    let world = World::new()
        .import("ring", ("", FuncType::default()), {
            let rung = Arc::clone(&rung);
            move |_, _, _| {
                rung.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .func(
            "ring_and_die",
            "(param i32)",
            &format!("role = \"{role}\"\nargs = [\"handle\"]"),
            |guest, args| {
                *guest.object(&args[0])? += 1;
                guest.host("env", "ring", &[])?;
                if guest.number == 1 {
                    return Err(EngineError::Trap(Trap::Unreachable));
                }
                *guest.object(&args[0])? -= 1;
                Ok(vec![])
            },
        );
    (world, rung)
}

#[test]
fn a_journaled_call_that_had_a_side_effect_is_not_repeated() {
    for role in ["mutate", "pure"] {
        let (world, rung) = ringing(role);
        let (proxy, _) = world.build();
        let one = counter(&proxy);
        let error = proxy.call("ring_and_die", args![one]).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Call(CallError::Trapped {
                    retried: false,
                    side_effects: true,
                    ..
                })
            ),
            "{role}: {error}"
        );
        assert_eq!(rung.load(Ordering::SeqCst), 1, "{role}");
        assert_eq!(
            value(&proxy, one),
            0,
            "{role}: the next call is on a clean generation"
        );
        assert_eq!(proxy.debug_info().emergencies, 1);
    }
}

#[test]
fn a_call_whose_host_functions_have_no_effect_is_repeated() {
    for role in ["mutate", "pure"] {
        let (world, rung) = ringing(role);
        let (proxy, _) = world.effect_none("ring").build();
        let one = counter(&proxy);
        proxy.call("ring_and_die", args![one]).unwrap();
        assert_eq!(rung.load(Ordering::SeqCst), 2, "{role}");
        assert_eq!(proxy.debug_info().retries, 1, "{role}");
    }
}

#[test]
fn a_host_function_says_itself_that_it_may_run_twice_and_a_policy_overrides_it() {
    let (world, rung) = ringing("mutate");
    let (proxy, _) = world.repeatable("ring").build();
    let one = counter(&proxy);
    proxy.call("ring_and_die", args![one]).unwrap();
    assert_eq!(rung.load(Ordering::SeqCst), 2);

    let (world, rung) = ringing("mutate");
    let external = "\n[[import]]\nmatch = \"env.ring\"\neffect = \"external\"\n";
    let (proxy, _) = world.repeatable("ring").policy(external).build();
    let one = counter(&proxy);
    proxy.call("ring_and_die", args![one]).unwrap_err();
    assert_eq!(rung.load(Ordering::SeqCst), 1);
}

#[test]
fn a_guest_that_exits_is_not_called_again_and_its_state_is_made_again() {
    for role in ["mutate", "pure"] {
        let world = World::new()
            .import("exit", ("", FuncType::default()), |_, _, _| {
                Err(EngineError::Exit { code: 3 })
            })
            .repeatable("exit")
            .func(
                "leave",
                "(param i32)",
                &format!("role = \"{role}\"\nargs = [\"handle\"]"),
                |guest, args| {
                    *guest.object(&args[0])? += 1;
                    guest.host("env", "exit", &[])
                },
            );
        let (proxy, _) = world.build();
        let one = counter(&proxy);
        let error = proxy.call("leave", args![one]).unwrap_err();
        assert!(
            matches!(&error, Error::Call(CallError::Exited { export, code: 3 }) if export == "leave"),
            "{role}: {error}"
        );
        assert_eq!(value(&proxy, one), 0, "{role}");
        let info = proxy.debug_info();
        assert_eq!((info.retries, info.emergencies), (0, 1), "{role}");
    }
}

#[test]
fn a_side_effect_of_an_earlier_call_does_not_count() {
    let (world, _) = ringing("mutate");
    let (proxy, _) = world
        .func("ring", "", "role = \"mutate\"", |guest, _| {
            guest.host("env", "ring", &[])
        })
        .booming(|number| number == 1)
        .build();
    proxy.call("ring", args![]).unwrap();
    proxy
        .call("boom", args![])
        .expect("it had none itself, so it is repeated");
}

#[test]
fn a_host_function_that_fails_or_panics_ends_the_call_and_not_the_proxy() {
    for role in ["mutate", "pure"] {
        let world = World::new()
            .import(
                "fail",
                (
                    "(param i32)",
                    FuncType::new(&[engine_api::ValType::I32], &[]),
                ),
                |_, args, _| match number(&args[0]) {
                    0 => Err(EngineError::ForeignReference),
                    1 => panic!("on purpose"),
                    _ => Ok(()),
                },
            )
            .func(
                "try",
                "(param i32 i32)",
                &format!("role = \"{role}\"\nargs = [\"handle\", \"value\"]"),
                |guest, args| {
                    *guest.object(&args[0])? += 1;
                    guest.host("env", "fail", &args[1..])?;
                    *guest.object(&args[0])? -= 1;
                    Ok(vec![])
                },
            );
        let (proxy, _) = world.build();
        let one = counter(&proxy);
        let error = proxy.call("try", args![one, 0]).unwrap_err();
        let Error::Call(CallError::HostFailed { export, source }) = &error else {
            panic!("{error}");
        };
        assert_eq!(export, "try");
        assert!(
            source.to_string().contains("`env` `fail` failed"),
            "{source}"
        );
        assert_eq!(value(&proxy, one), 0, "half of the call is undone");
        let error = proxy.call("try", args![one, 1]).unwrap_err();
        assert!(
            matches!(&error, Error::Call(CallError::HostFailed { source, .. }) if source.to_string().contains("on purpose")),
            "{error}"
        );
        assert_eq!(value(&proxy, one), 0);
        assert_eq!(proxy.debug_info().retries, 0);
        proxy.call("try", args![one, 2]).unwrap();
        swap(&proxy);
        assert_eq!(value(&proxy, one), 0);
    }
}

#[test]
fn a_host_function_may_trap_in_the_guests_name() {
    let deny = FuncType::default();
    let world = World::new()
        .import("deny", ("", deny), |_, _, _| {
            Err(EngineError::Trap(Trap::OutOfFuel))
        })
        .func("try", "", "role = \"mutate\"", |guest, _| {
            guest.host("env", "deny", &[])
        });
    let (proxy, _) = world.build();
    let error = proxy.call("try", args![]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Call(CallError::Trapped {
                trap: Trap::OutOfFuel,
                side_effects: true,
                ..
            })
        ),
        "{error}"
    );
}

#[test]
fn a_call_past_its_deadline_is_ended_and_repeated() {
    let gate = Gate::closed();
    let mut world = World::new().blocking(&gate);
    world.limits.deadline = Some(Duration::from_millis(30));
    let (proxy, _) = world.build();
    let error = proxy.call("block", args![]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Call(CallError::Trapped {
                trap: Trap::DeadlineExceeded,
                retried: true,
                ..
            })
        ),
        "{error}"
    );
    gate.open();
    assert_eq!(proxy.call("block", args![]).unwrap().i32().unwrap(), 3);
}

#[test]
fn a_call_that_runs_out_of_memory_is_made_again_where_there_is_some() {
    let world = World::new().leaking().pages(16);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    for round in 1..=100 {
        add(&proxy, one, 1);
        proxy.call("leak", args![1]).unwrap();
        assert_eq!(value(&proxy, one), round);
    }
    let info = proxy.debug_info();
    assert!(info.emergencies >= 5, "{info}");
    assert_eq!(info.emergencies, info.retries);
    assert!(world.events.all().iter().any(|event| matches!(
        event,
        Event::CallRetried {
            reason: "out_of_memory",
            ..
        }
    )));
    assert!(engine.probe().peak() <= 3);
    until_live(&proxy, &engine, 1);
}

#[test]
fn an_allocator_with_nothing_left_is_out_of_memory() {
    let world = World::new().leaking().pages(8).func(
        "take",
        "(param i32 i32) (result i32)",
        "role = \"pure\"\nargs = [\"bytes\"]",
        |_, args| Ok(vec![args[1].clone()]),
    );
    let (proxy, _) = world.build();
    leak_pages(&proxy, 6);
    let bytes = vec![1_u8; 3 * 65_536];
    let taken = proxy.call("take", args![&bytes]).unwrap();
    assert_eq!(
        taken.i32().unwrap(),
        3 * 65_536,
        "on a clean generation there was room"
    );
    let too_many = vec![1_u8; 9 * 65_536];
    let error = proxy.call("take", args![&too_many]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Call(CallError::OutOfMemory { retried: true, .. })
        ),
        "{error}"
    );
    assert_eq!(value(&proxy, counter(&proxy)), 0);
}

#[test]
fn an_allocator_that_had_a_side_effect_before_it_failed_is_not_asked_again() {
    let rung = Arc::new(AtomicUsize::new(0));
    let world = World::new()
        .import("ring", ("", FuncType::default()), {
            let rung = Arc::clone(&rung);
            move |_, _, _| {
                rung.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .func("guest_alloc", "(param i32) (result i32)", "", |guest, _| {
            guest.host("env", "ring", &[])?;
            Ok(vec![Val::I32(0)])
        })
        .func(
            "take",
            "(param i32 i32)",
            "role = \"mutate\"\nargs = [\"bytes\"]",
            |_, _| Ok(vec![]),
        );
    let (proxy, _) = world.build();
    let error = proxy.call("take", args![&[1_u8][..]]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Call(CallError::OutOfMemory { retried: false, .. })
        ),
        "{error}"
    );
    assert_eq!(rung.load(Ordering::SeqCst), 1);
}

#[test]
fn a_ready_standby_takes_over_in_an_emergency() {
    let world = World::new().booming(|number| number == 1);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    add(&proxy, one, 3);
    assert_eq!(proxy.call("boom", args![]).unwrap().i32().unwrap(), 2);
    assert_eq!(engine.probe().made(), 2, "no other was made");
    assert_eq!(value(&proxy, one), 3, "it caught up first");
    assert_eq!(world.events.count("standby-prepare-start"), 1);
}

#[test]
fn a_standby_that_fails_in_an_emergency_is_replaced() {
    let world = World::new().booming(|number| number == 1).func(
        "shy",
        "",
        "role = \"mutate\"",
        |guest, _| match guest.number {
            2 => Err(EngineError::Trap(Trap::Unreachable)),
            _ => Ok(vec![]),
        },
    );
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    proxy.call("shy", args![]).unwrap();
    assert_eq!(proxy.call("boom", args![]).unwrap().i32().unwrap(), 3);
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn earlier_failures_of_standbys_do_not_forbid_the_rescue() {
    let fails = Arc::new(AtomicBool::new(true));
    let world = World::new().booming(|number| number == 1).script(|script| {
        let fails = Arc::clone(&fails);
        script.before_instantiate(move |number| {
            if number > 1 && fails.load(Ordering::SeqCst) {
                return Err(EngineError::Growth {
                    current: 0,
                    delta: 1,
                });
            }
            Ok(())
        })
    });
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    for _ in 0..3 {
        proxy.prepare_standby().unwrap_err();
    }
    fails.store(false, Ordering::SeqCst);
    assert!(proxy.call("boom", args![]).unwrap().i32().unwrap() > 1);
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn a_rescue_that_fails_is_not_tried_for_every_call() {
    let fails = Arc::new(AtomicBool::new(true));
    let world = World::new().booming(|number| number == 1).script(|script| {
        let fails = Arc::clone(&fails);
        script.before_instantiate(move |number| {
            if number > 1 && fails.load(Ordering::SeqCst) {
                return Err(EngineError::Growth {
                    current: 0,
                    delta: 1,
                });
            }
            Ok(())
        })
    });
    let engine = world.script.engine();
    let patience = Patience {
        retry_after: Duration::from_millis(400),
        ..Patience::default()
    };
    let proxy = world.builder(&engine).patience(patience).build().unwrap();
    let one = counter(&proxy);
    add(&proxy, one, 4);
    let error = proxy.call("boom", args![]).unwrap_err();
    assert!(matches!(error, Error::Preparation { .. }), "{error}");
    let made = engine.probe().made();
    for _ in 0..5 {
        let error = proxy.call("counter_value", args![one]).unwrap_err();
        assert!(matches!(error, Error::BackingOff { .. }), "{error}");
    }
    assert_eq!(engine.probe().made(), made);
    assert!(proxy.debug_info().tainted.is_some());
    fails.store(false, Ordering::SeqCst);
    until("the state is back", || {
        proxy.call("counter_value", args![one]).is_ok()
    });
    assert_eq!(value(&proxy, one), 4);
}

#[test]
fn emergencies_of_many_callers_do_not_wait_for_each_other() {
    let (proxy, engine) = World::new().booming(|number| number % 3 != 0).build();
    let one = counter(&proxy);
    let started = Instant::now();
    thread::scope(|scope| {
        for caller in 0..8 {
            let proxy = &proxy;
            scope.spawn(move || {
                for _ in 0..40 {
                    match proxy.call("boom", args![]) {
                        Ok(_) | Err(Error::Call(CallError::Trapped { retried: true, .. })) => {}
                        Err(error) => panic!("{error}"),
                    }
                    if caller % 2 == 0 {
                        add(proxy, one, 1);
                    }
                    value(proxy, one);
                }
            });
        }
    });
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(value(&proxy, one), 4 * 40);
    assert!(engine.probe().peak() <= 3, "{}", engine.probe().peak());
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_tick_that_waited_for_a_recovery_does_not_recover_again() {
    let gate = Gate::closed();
    let world = World::new().booming(|number| number == 1).script(|script| {
        let gate = Arc::clone(&gate);
        script.before_instantiate(move |number| {
            if number == 2 {
                gate.pass_host();
            }
            Ok(())
        })
    });
    let (proxy, engine) = world.build();
    let caller = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("boom", args![])
    });
    gate.wait_for(1);
    let ticking = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.tick(Instant::now())
    });
    // Most likely the tick waits by now. If it is late, the case is only easier.
    thread::sleep(Duration::from_millis(30));
    let started = Instant::now();
    gate.open();
    caller.join().unwrap().unwrap();
    ticking.join().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(proxy.debug_info().swaps, 1);
    assert_eq!(engine.probe().made(), 2);
}

#[test]
fn shutdown_does_not_wait_for_callers_that_wait_for_it() {
    let gate = Gate::closed();
    let world = World::new().booming(|number| number == 1).script(|script| {
        let gate = Arc::clone(&gate);
        script.before_instantiate(move |number| {
            if number == 2 {
                gate.pass_host();
            }
            Ok(())
        })
    });
    let (proxy, engine) = world.build();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let proxy = proxy.clone();
            thread::spawn(move || proxy.call("boom", args![]))
        })
        .collect();
    gate.wait_for(1);
    let down = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.shutdown()
    });
    thread::sleep(Duration::from_millis(30));
    gate.open();
    assert!(within("the shutdown", Duration::from_secs(4), move || down
        .join()
        .unwrap()));
    for caller in callers {
        match caller.join().unwrap() {
            Ok(_) | Err(Error::ShutDown) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(engine.probe().live(), 0);
}

#[test]
fn a_long_call_on_the_old_generation_survives_the_death_of_the_new_one() {
    let gate = Gate::closed();
    let world = World::new().booming(|number| number == 2).func(
        "block_first",
        "(result i32)",
        "role = \"pure\"",
        {
            let gate = Arc::clone(&gate);
            move |guest, _| {
                if guest.number == 1 {
                    gate.pass(guest)?;
                }
                Ok(vec![Val::from(instance_number(guest))])
            }
        },
    );
    let (proxy, engine) = world.build();
    let blocked = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block_first", args![])
    });
    gate.wait_for(1);
    swap(&proxy);
    let other = proxy.clone();
    let number = within("the rescue", PATIENCE, move || other.call("boom", args![]));
    assert_eq!(number.unwrap().i32().unwrap(), 3);
    // It was ended to make room, and repeated, because it is pure.
    assert_eq!(blocked.join().unwrap().unwrap().i32().unwrap(), 3);
    assert!(engine.probe().peak() <= 3);
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_panic_of_the_engine_costs_the_generation() {
    let world = World::new().func(
        "panic",
        "(param i32)",
        "role = \"mutate\"\nargs = [\"handle\"]",
        |guest, args| {
            *guest.object(&args[0])? += 1;
            assert!(guest.number > 1, "on purpose");
            Ok(vec![])
        },
    );
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    let other = proxy.clone();
    thread::spawn(move || other.call("panic", args![one]))
        .join()
        .unwrap_err();
    assert!(proxy.debug_info().tainted.is_some());
    assert_eq!(value(&proxy, one), 0);
    proxy.call("panic", args![one]).unwrap();
    assert_eq!(value(&proxy, one), 1);
    until_live(&proxy, &engine, 1);
}

#[test]
fn an_engine_error_in_the_middle_of_a_call_costs_the_generation() {
    let world = World::new().func(
        "odd",
        "(param i32)",
        "role = \"mutate\"\nargs = [\"handle\"]",
        |guest, args| {
            *guest.object(&args[0])? += 1;
            Err(EngineError::Runtime {
                engine: engine_api::EngineId {
                    runtime: "fake",
                    compiler: "script",
                },
                action: "map a page",
                source: "no memory left".into(),
            })
        },
    );
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    let error = proxy.call("odd", args![one]).unwrap_err();
    assert!(matches!(error, Error::Engine(_)), "{error}");
    assert_eq!(value(&proxy, one), 0, "no effect that the journal lacks");
}

#[test]
fn a_module_without_memory_is_never_out_of_memory() {
    let script = crate::fake::Script::new()
        .without_memory()
        .func("step", "(result i64)", |guest, _| {
            Ok(vec![Val::from(guest.count("steps"))])
        })
        .func("boom", "", |guest, _| {
            if guest.number == 1 {
                return Err(EngineError::Trap(Trap::StackOverflow));
            }
            Ok(vec![])
        });
    let mut world = World::new();
    world.script = script;
    world.policy = "[[export]]\nmatch = \"step\"\nrole = \"mutate\"\n\
                    [[export]]\nmatch = \"boom\"\nrole = \"pure\"\n"
        .to_owned();
    let (proxy, engine) = world.build();
    for second in 0..5 {
        assert_eq!(proxy.call("step", args![]).unwrap().i64().unwrap(), second);
        proxy.tick(Instant::now() + Duration::from_secs(second.cast_unsigned()));
    }
    assert_eq!(engine.probe().made(), 1);
    assert_eq!(world.events.count("state-exceeds-budget"), 0);
    proxy.call("boom", args![]).unwrap();
    let reasons: HashSet<&str> = world
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::CallRetried { reason, .. } => Some(reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, HashSet::from(["stack_overflow"]));
    swap(&proxy);
    assert_eq!(proxy.call("step", args![]).unwrap().i64().unwrap(), 5);
}

#[test]
fn a_memory_report_that_traps_costs_the_generation() {
    let asked = Arc::new(AtomicU64::new(0));
    let world = World::new()
        .policy("[module]\nmemory_usage_export = \"usage\"\n")
        .func("usage", "(result i32)", "role = \"pure\"", {
            let asked = Arc::clone(&asked);
            move |guest, _| {
                asked.fetch_add(1, Ordering::SeqCst);
                if guest.number == 1 {
                    for value in guest.objects.values_mut() {
                        *value = 99;
                    }
                    return Err(EngineError::Trap(Trap::MemoryOutOfBounds));
                }
                Ok(vec![Val::I32(0)])
            }
        });
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    proxy.tick(Instant::now());
    assert!(asked.load(Ordering::SeqCst) > 0);
    assert_eq!(value(&proxy, one), 0);
    assert_eq!(proxy.debug_info().emergencies, 1);
}

#[test]
fn exhaustion_is_told_by_the_limit_that_the_module_reports() {
    let world = World::new()
        .leaking()
        .pages(100)
        .func("critical", "(result f64)", "role = \"pure\"", |_, _| {
            Ok(vec![Val::F64(1.0_f64.to_bits())])
        })
        .func("abort", "", "role = \"pure\"", |guest, _| {
            if guest.number == 1 {
                return Err(EngineError::Trap(Trap::Unreachable));
            }
            Ok(vec![])
        })
        .policy("\n[module]\ncritical_memory_export = \"critical\"\n");
    let (proxy, _) = world.build();
    assert_eq!(proxy.memory_limit_bytes(), 1 << 20);
    // 15 of the 16 pages that the module calls critical, and far from the configured 100.
    proxy.call("leak", args![14]).unwrap();
    proxy.call("abort", args![]).unwrap();
    let mut reasons = world
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::CallRetried { reason, .. } => Some(reason),
            _ => None,
        });
    assert_eq!(reasons.next(), Some("out_of_memory"));
}
