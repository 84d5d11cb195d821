//! All engines live in one process, with their signal handlers, in any order.
//!
//! Handlers are installed once for a whole process. So every order of two engines has a process of
//! its own: the probe makes them in that order, lets each trap, then both in turn and at once on
//! several threads.

use conformance::prelude::*;

#[apply(every_engine)]
fn traps_are_caught_after_any_other_engine_was_initialised(engine: &EngineUnderTest) {
    for other in engines::all() {
        conformance::probe::run(crate::PROBE, &["order", other.name(), engine.name()]);
    }
}

#[test]
fn all_engines_trap_at_once_in_one_process() {
    let mut names: Vec<_> = engines::all().iter().map(|engine| engine.name()).collect();
    let run = |names: &[&str]| {
        let arguments: Vec<_> = ["order"].iter().chain(names).copied().collect();
        conformance::probe::run(crate::PROBE, &arguments);
    };
    run(&names);
    names.reverse();
    run(&names);
}

#[test]
fn every_engine_of_the_list_has_its_own_name_and_fingerprint() {
    let all = engines::all();
    let names: std::collections::BTreeSet<_> = all.iter().map(|engine| engine.name()).collect();
    let prints: std::collections::BTreeSet<_> =
        all.iter().map(|engine| engine.fingerprint()).collect();
    assert_eq!((names.len(), prints.len()), (all.len(), all.len()));
    for engine in all {
        assert_eq!(
            engines::by_name(engine.name()).unwrap().name(),
            engine.name()
        );
    }
}

#[apply(every_engine)]
fn a_trap_passes_through_the_host_functions_of_two_engines(engine: &EngineUnderTest) {
    // A guest of one engine calls the host, which calls a guest of another engine, which traps.
    for other in engines::all() {
        let mut imports = Imports::new();
        imports.func("env", "nest", FuncType::default(), move |_, _, _| {
            let mut inner = other.instantiate(
                r#"(module (memory 1)
                    (func (export "oops") (result i32) (i32.load (i32.const 70000))))"#,
            );
            inner.invoke("oops", &[]).map(drop)
        });
        let mut outer = engine.instantiate_importing(
            r#"(module
                (import "env" "nest" (func $nest))
                (func (export "outer") (call $nest))
                (func (export "oops") unreachable))"#,
            &imports,
        );
        for _ in 0..5 {
            assert_eq!(trap_of(outer.invoke("outer", &[])), Trap::MemoryOutOfBounds);
            assert_eq!(trap_of(outer.invoke("oops", &[])), Trap::Unreachable);
        }
    }
}
