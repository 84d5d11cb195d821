//! Failures in the field, each as a small module: what the proxy does about them, and what it says.

use std::sync::Mutex;
use std::thread;

use conformance::cases::{
    FAILS_SOFTLY, FIXED_MEMORY, FORGOT_FREE, FORGOT_FREE_PINNED, OOM_SAYS_PANIC, PANIC_HOOK, PEAK,
    STACK_LEAK, STANDBY_OOM,
};
use conformance::prelude::*;
use proxy_core::{
    Builder, CallError, Error, Event, Pointer, Proxy, Reason, Supervisor, SwapTriggers, args,
};

/// How long a slow machine may take for something that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Calls wait for a swap as long as that.
fn patient(builder: Builder) -> Builder {
    builder.hold_back(PATIENCE)
}

/// The names of the events of a proxy.
type Names = Arc<Mutex<Vec<&'static str>>>;

fn observed(builder: Builder) -> (Proxy, Names) {
    let names = Names::default();
    let seen = Arc::clone(&names);
    let builder = builder.on_event(move |event| seen.lock().unwrap().push(event.name()));
    (builder.build().unwrap(), names)
}

fn count(names: &Names, name: &str) -> usize {
    let names = names.lock().unwrap();
    names.iter().filter(|other| **other == name).count()
}

fn i32_of(proxy: &Proxy, export: &str) -> i32 {
    proxy.call(export, args![]).unwrap().i32().unwrap()
}

#[apply(every_engine)]
fn a_line_on_the_console_keeps_no_call_from_being_repeated(engine: &EngineUnderTest) {
    let proxy = PANIC_HOOK.hosted_on(engine, 8 << 10).build().unwrap();
    for call in 0..200 {
        assert_eq!(i32_of(&proxy, "work"), 1, "at call {call}");
    }
    let info = proxy.debug_info();
    assert!(info.emergencies >= 200 / 32, "{info}");
}

#[apply(every_engine)]
fn refused_growth_before_a_trap_is_out_of_memory_and_says_how_much(engine: &EngineUnderTest) {
    let proxy = OOM_SAYS_PANIC.on(engine, 8 << 10).build().unwrap();
    let error = proxy.call("big", args![]).unwrap_err();
    let text = error.to_string();
    let is_out_of_memory = matches!(error, Error::Call(CallError::OutOfMemory { .. }));
    assert!(is_out_of_memory, "{text}");
    let says = "`big` ran out of memory: 7.75 MiB more were asked for at 1.0 of 8.0 MiB";
    assert!(text.starts_with(says), "{text}");
}

#[apply(every_engine)]
fn a_standby_that_finds_no_room_says_so_and_is_no_divergence(engine: &EngineUnderTest) {
    let proxy = STANDBY_OOM.on(engine, 896).build().unwrap();
    let new = |pages: i32| proxy.call("new", args![pages]).unwrap().handle().unwrap();
    let first = new(10);
    proxy.call("free", args![first]).unwrap();
    let (second, _third) = (new(4), new(6));
    let error = proxy.prepare_standby().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::StandbyOutOfMemory { .. }), "{text}");
    for says in [
        "0.50 MiB more were asked for at 0.6 of 0.9 MiB",
        "raise the memory limit",
    ] {
        assert!(text.contains(says), "{text}");
    }
    let look = proxy.call("look", args![second]).unwrap();
    assert_eq!(
        (look.i32().unwrap(), proxy.debug_info().divergences),
        (0, 0)
    );
}

#[apply(every_engine)]
fn a_leak_in_a_memory_that_cannot_grow_is_no_live_state(engine: &EngineUnderTest) {
    let (proxy, names) = observed(FIXED_MEMORY.on(engine, 64 << 10));
    assert_eq!(count(&names, "growth-unseen"), 1);
    let _supervisor = Supervisor::start(&proxy, Duration::from_millis(1)).unwrap();
    let served: i32 = (0..500).map(|_| i32_of(&proxy, "work")).sum();
    assert_eq!(served, 63, "nothing tells that the rest failed");
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!(i32_of(&proxy, "work"), 1);
    assert_eq!(count(&names, "state-exceeds-budget"), 0);
}

#[apply(every_engine)]
fn a_status_code_or_a_number_of_calls_is_the_sign_of_such_a_leak(engine: &EngineUnderTest) {
    let code = "[[export]]\nmatch = \"work\"\nrole = \"pure\"\nexhausted = [0]";
    let by_code = FIXED_MEMORY.with_policy(code);
    let proxy = by_code.on(engine, 64 << 10).build().unwrap();
    for call in 0..500 {
        assert_eq!(i32_of(&proxy, "work"), 1, "at call {call}");
    }
    let triggers = SwapTriggers {
        calls_max: Some(60),
        ..SwapTriggers::default()
    };
    let builder = patient(FIXED_MEMORY.on(engine, 64 << 10)).triggers(triggers);
    let proxy = builder.build().unwrap();
    let _supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
    for call in 0..500 {
        assert_eq!(i32_of(&proxy, "work"), 1, "at call {call}");
    }
    let info = proxy.debug_info();
    assert_eq!(info.emergencies, 0);
    let reason = info.last_swap.map(|swap| swap.reason);
    assert_eq!(reason, Some(Reason::Calls));
}

#[apply(every_engine)]
fn a_stack_that_leaks_is_replaced_before_it_reaches_the_data(engine: &EngineUnderTest) {
    let proxy = patient(STACK_LEAK.on(engine, 1 << 10)).build().unwrap();
    let _supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
    let db = proxy.call("db_new", args![]).unwrap().handle().unwrap();
    for call in 0..6_000 {
        let row = proxy.call("exec", args![db]).unwrap().i32().unwrap();
        assert_eq!(row, 42, "at call {call}");
    }
    let info = proxy.debug_info();
    let reason = info.last_swap.map(|swap| swap.reason);
    assert_eq!(reason, Some(Reason::Stack));
    assert_eq!((info.emergencies, info.divergences), (0, 0));
}

#[apply(every_engine)]
fn objects_that_nobody_frees_are_named_and_cost_no_rebuild_each(engine: &EngineUnderTest) {
    let (proxy, names) = observed(patient(FORGOT_FREE.on(engine, 4 << 10)));
    let _supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
    let mut refused = 0;
    for call in 0..400 {
        match proxy.call("enc_new", args![]) {
            Ok(made) => {
                let length = proxy.call("enc_len", args![made.handle().unwrap()]);
                assert_eq!(length.unwrap().i32().unwrap(), 3, "at call {call}");
            }
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.contains("alive are 63 of `enc`"),
                    "at call {call}: {text}"
                );
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 400 - 63);
    let made = count(&names, "standby-prepare-start");
    assert!(made <= 6, "{made} rebuilds for {refused} calls");
}

#[apply(every_engine)]
fn objects_of_pinned_scopes_need_not_be_freed(engine: &EngineUnderTest) {
    let proxy = FORGOT_FREE_PINNED.on(engine, 4 << 10).build().unwrap();
    for call in 0..400 {
        let length = proxy.pinned(|pinned| {
            let made: Pointer = pinned.call("enc_new", args![])?.pointer()?;
            Ok::<_, Error>(pinned.call("enc_len", args![made])?.i32()?)
        });
        assert_eq!(length.unwrap(), 3, "at call {call}");
    }
}

#[apply(every_engine)]
fn calls_that_fail_softly_at_the_limit_are_not_silent(engine: &EngineUnderTest) {
    let (proxy, names) = observed(patient(FAILS_SOFTLY.on(engine, 64 << 10)));
    let _supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
    let put = |_| proxy.call("put", args![100]).unwrap().i32().unwrap();
    let refused = (0..100).map(put).filter(|pages| *pages == -1).count();
    assert_eq!(refused, 90);
    let until = Instant::now() + PATIENCE;
    while count(&names, "state-exceeds-budget") == 0 {
        assert!(Instant::now() < until, "nothing was said");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(proxy.debug_info().state_exceeds_budget);
}

#[apply(every_engine)]
fn what_one_call_took_is_given_back_when_it_is_idle(engine: &EngineUnderTest) {
    let triggers = SwapTriggers {
        idle_after: Some(Duration::from_millis(50)),
        ..SwapTriggers::default()
    };
    // With the limit of the case, the swap would be for want of headroom.
    let builder = PEAK.on(engine, 256 << 10).triggers(triggers);
    let reasons: Arc<Mutex<Vec<Reason>>> = Arc::default();
    let seen = Arc::clone(&reasons);
    let proxy = builder
        .on_event(move |event| {
            if let Event::SwapComplete(swapped) = event {
                seen.lock().unwrap().push(swapped.reason);
            }
        })
        .build()
        .unwrap();
    let _supervisor = Supervisor::start(&proxy, Duration::from_millis(5)).unwrap();
    assert_eq!(i32_of(&proxy, "add"), 1);
    assert_eq!(i32_of(&proxy, "peak"), 641);
    let until = Instant::now() + PATIENCE;
    let mut added = 1;
    while i32_of(&proxy, "pages") != 1 {
        added += 1;
        assert_eq!(i32_of(&proxy, "add"), added);
        assert!(Instant::now() < until, "it was never given back");
        thread::sleep(Duration::from_millis(1));
    }
    // Calls see the new generation before the supervisor has told of it.
    while reasons.lock().unwrap().is_empty() {
        assert!(Instant::now() < until, "the swap was not told of");
        thread::sleep(Duration::from_millis(1));
    }
    let reasons = reasons.lock().unwrap().clone();
    assert_eq!(reasons, [Reason::Idle]);
    assert_eq!(i32_of(&proxy, "add"), added + 1);
}
