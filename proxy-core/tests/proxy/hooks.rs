//! Hooks around a swap see a verified standby, may refuse it, and cannot break the proxy.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use engine_api::FuncType;
use proxy_core::{Error, HookError, Pinned, Proxy, Reason, SwapContext, SwapHooks, args};

use super::world::{PATIENCE, World, add, counter, swap, until_live, value, within};
use crate::fake::{FakeEngine, Gate};

type Before = Box<dyn Fn(&SwapContext, &Pinned<'_>) -> Result<(), HookError> + Send + Sync>;

/// Hooks that note what they see.
struct Noted {
    log: Arc<Mutex<Vec<String>>>,
    name: &'static str,
    before: Before,
}

impl Noted {
    fn note(&self, what: &str, context: &SwapContext) {
        let SwapContext { from, to, reason } = context;
        let line = format!("{} {what} {from}->{to} {}", self.name, reason.name());
        self.log
            .lock()
            .expect("no panic while it is held")
            .push(line);
    }
}

#[async_trait]
impl SwapHooks for Noted {
    async fn before_swap(
        &self,
        context: &SwapContext,
        standby: &Pinned<'_>,
    ) -> Result<(), HookError> {
        self.note("before", context);
        assert_eq!(standby.generation(), context.to);
        (self.before)(context, standby)
    }

    async fn after_swap(&self, context: &SwapContext) {
        self.note("after", context);
    }
}

/// A proxy with one hook, and the hook's notes.
fn hooked(
    world: &World,
    before: impl Fn(&SwapContext, &Pinned<'_>) -> Result<(), HookError> + Send + Sync + 'static,
) -> (Proxy, FakeEngine, Arc<Mutex<Vec<String>>>) {
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let engine = world.script.engine();
    let hook = Noted {
        log: Arc::clone(&log),
        name: "hook",
        before: Box::new(before),
    };
    let proxy = world
        .builder(&engine)
        .hooks(Arc::new(hook))
        .build()
        .unwrap();
    (proxy, engine, log)
}

#[test]
fn hooks_are_called_in_order_around_every_swap() {
    let world = World::new().booming(|number| number == 2);
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let hook = |name| {
        let log = Arc::clone(&log);
        Arc::new(Noted {
            log,
            name,
            before: Box::new(|_, _| Ok(())),
        })
    };
    let engine = world.script.engine();
    let builder = world.builder(&engine).hooks(hook("one")).hooks(hook("two"));
    let proxy = builder.build().unwrap();
    swap(&proxy);
    proxy.call("boom", args![]).unwrap();
    assert_eq!(
        *log.lock().unwrap(),
        [
            "one before 1->2 manual",
            "two before 1->2 manual",
            "one after 1->2 manual",
            "two after 1->2 manual",
            "one before 2->3 emergency",
            "two before 2->3 emergency",
            "one after 2->3 emergency",
            "two after 2->3 emergency",
        ]
    );
}

#[test]
fn a_hook_calls_the_standby_while_the_active_serves() {
    let slot: Arc<Mutex<Option<(Proxy, proxy_core::Handle)>>> = Arc::default();
    let (proxy, _, log) = hooked(&World::new(), {
        let slot = Arc::clone(&slot);
        move |context, standby| {
            let (proxy, one) = slot.lock().expect("no panic").clone().expect("it is set");
            assert_eq!(standby.call("counter_value", args![one])?.i32()?, 5);
            let pointer = standby.call("snapshot", args![one])?.pointer()?;
            assert_eq!(standby.call("snapshot_value", args![pointer])?.i32()?, 5);
            standby.call("counter_add", args![one, 1]).unwrap_err();
            // Calls go on meanwhile, also those of other threads.
            assert_eq!(proxy.debug_info().generation, context.from);
            thread::spawn(move || add(&proxy, one, 1))
                .join()
                .expect("it is served");
            Ok(())
        }
    });
    let one = counter(&proxy);
    add(&proxy, one, 5);
    *slot.lock().unwrap() = Some((proxy.clone(), one));
    swap(&proxy);
    assert_eq!(
        value(&proxy, one),
        6,
        "what was journaled during the hook is in the tail"
    );
    assert_eq!(log.lock().unwrap().len(), 2);
    *slot.lock().unwrap() = None;
}

#[test]
fn a_hook_that_refuses_keeps_the_active() {
    let world = World::new();
    let (proxy, engine, log) = hooked(&world, |_, _| Err("not now".into()));
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    let error = proxy.swap().unwrap_err();
    let Error::Hook { source } = error else {
        panic!("{error}")
    };
    assert_eq!(source.to_string(), "not now");
    assert_eq!(engine.probe().live(), 1, "the standby is discarded");
    assert_eq!(
        (proxy.debug_info().generation, proxy.debug_info().swaps),
        (1, 0)
    );
    assert_eq!(value(&proxy, one), 0);
    assert_eq!(*log.lock().unwrap(), ["hook before 1->2 manual"]);
    assert_eq!(world.events.count("swap-error"), 1);
    assert!(matches!(proxy.swap(), Err(Error::NoStandby)));
}

#[test]
fn no_hook_can_refuse_an_emergency() {
    let world = World::new().booming(|number| number == 1);
    let (proxy, _, log) = hooked(&world, |_, _| Err("not now".into()));
    assert_eq!(proxy.call("boom", args![]).unwrap().i32().unwrap(), 2);
    assert_eq!(log.lock().unwrap().len(), 2);
    assert_eq!(world.events.count("swap-error"), 1, "but it is reported");
}

#[test]
fn hooks_can_call_the_standby_in_an_emergency() {
    let world = World::new()
        .import("log", ("", FuncType::default()), |_, _, _| Ok(()))
        .booming(|number| number == 1);
    let seen: Arc<Mutex<Vec<i32>>> = Arc::default();
    let (proxy, _, _) = hooked(&world, {
        let seen = Arc::clone(&seen);
        move |context, standby| {
            assert_eq!(context.reason, Reason::Emergency);
            let number = standby.call("boom", args![])?.i32()?;
            seen.lock().expect("no panic").push(number);
            Ok(())
        }
    });
    proxy.call("boom", args![]).unwrap();
    assert_eq!(*seen.lock().unwrap(), [2]);
}

#[test]
fn a_standby_that_a_hook_broke_is_not_promoted() {
    let world = World::new().booming(|number| number == 2);
    let (proxy, engine, _) = hooked(&world, |_, standby| {
        let _ = standby.call("boom", args![]);
        Ok(())
    });
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap_err();
    assert_eq!(
        (proxy.debug_info().generation, engine.probe().live()),
        (1, 1)
    );
    assert_eq!(value(&proxy, one), 0);
    swap(&proxy);
    assert_eq!(engine.probe().made(), 3);
}

#[test]
fn a_hook_that_panics_has_refused() {
    let world = World::new();
    let (proxy, engine, _) = hooked(&world, |_, _| panic!("on purpose"));
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    let error = proxy.swap().unwrap_err();
    assert!(matches!(error, Error::Hook { .. }), "{error}");
    assert_eq!((engine.probe().live(), value(&proxy, one)), (1, 0));
    proxy.prepare_standby().unwrap();
}

#[test]
fn a_hook_cannot_wait_for_itself() {
    let slot: Arc<Mutex<Option<Proxy>>> = Arc::default();
    let world = World::new().booming(|number| number == 1);
    let (proxy, _, _) = hooked(&world, {
        let slot = Arc::clone(&slot);
        move |context, _| {
            let proxy = slot.lock().expect("no panic").clone().expect("it is set");
            assert!(matches!(proxy.prepare_standby(), Err(Error::Reentrant)));
            assert!(matches!(proxy.swap(), Err(Error::Reentrant)));
            assert!(matches!(proxy.turn(), Err(Error::Reentrant)));
            proxy.tick(std::time::Instant::now());
            let call = proxy.call("counter_new", args![]);
            let is_emergency = context.reason == Reason::Emergency;
            assert_eq!(
                matches!(call, Err(Error::Reentrant)),
                is_emergency,
                "{call:?}"
            );
            Ok(())
        }
    });
    *slot.lock().unwrap() = Some(proxy.clone());
    let caller = proxy.clone();
    within("an emergency and a swap", PATIENCE, move || {
        caller.call("boom", args![]).unwrap();
        swap(&caller);
    });
    assert_eq!(proxy.debug_info().swaps, 2);
    assert_eq!(proxy.debug_info().objects, 1);
    *slot.lock().unwrap() = None;
}

#[test]
fn a_slow_hook_delays_nobody_but_the_swap() {
    let gate = Gate::closed();
    let (proxy, engine, _) = hooked(&World::new(), {
        let gate = Arc::clone(&gate);
        move |_, _| {
            gate.pass_host();
            Ok(())
        }
    });
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    let swapping = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.swap()
    });
    gate.wait_for(1);
    let caller = proxy.clone();
    within("calls beside a hook", Duration::from_secs(5), move || {
        add(&caller, one, 3);
        assert_eq!(value(&caller, one), 3);
        assert_eq!(caller.debug_info().generation, 1);
    });
    gate.open();
    swapping.join().unwrap().unwrap();
    assert_eq!(value(&proxy, one), 3);
    until_live(&proxy, &engine, 1);
}

/// A hook that makes a turn after each swap, on another thread.
#[derive(Default)]
struct TurnAfter {
    proxy: Mutex<Option<Proxy>>,
    generations: Mutex<Vec<u64>>,
}

#[async_trait]
impl SwapHooks for TurnAfter {
    async fn after_swap(&self, _: &SwapContext) {
        let proxy = self.proxy.lock().expect("no panic").clone();
        let turn = || proxy.map(|proxy| proxy.turn().expect("it serves").generation());
        let generation = thread::scope(|scope| scope.spawn(turn).join().expect("no panic"));
        self.generations
            .lock()
            .expect("no panic")
            .extend(generation);
    }
}

#[test]
fn turns_do_not_wait_for_what_comes_after_a_swap() {
    let hook = Arc::new(TurnAfter::default());
    let world = World::new();
    let engine = world.script.engine();
    let builder = world.builder(&engine).drain_timeout(Duration::MAX);
    let proxy = builder.hooks(Arc::clone(&hook) as _).build().unwrap();
    *hook.proxy.lock().unwrap() = Some(proxy.clone());
    within("the swap", PATIENCE, move || swap(&proxy));
    assert_eq!(*hook.generations.lock().unwrap(), [2]);
    *hook.proxy.lock().unwrap() = None;
}
