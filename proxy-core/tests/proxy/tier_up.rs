//! Tiering up: the proxy moves to another engine when that has compiled the module, and stays where
//! it is if that fails.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};

use engine_api::{
    Capabilities, Engine, EngineId, Error as EngineError, MemoryType, Module, Precompiled,
    SharedMemory, Trap,
};
use proxy_core::{Error, Event, Reason, TierUp, args};

use super::world::{World, add, counter, until, until_live, value};
use crate::fake::FakeEngine;

/// The engine of the same script under another name.
fn better(world: World) -> FakeEngine {
    world
        .script(|script| script.compiler("better"))
        .script
        .engine()
}

/// An engine whose compiler takes as long as the test wants, and ends as the test says.
#[derive(Debug)]
struct Slow {
    engine: FakeEngine,
    outcome: Mutex<Receiver<Result<(), EngineError>>>,
}

impl Engine for Slow {
    fn id(&self) -> EngineId {
        self.engine.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn fingerprint(&self) -> String {
        self.engine.fingerprint()
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, EngineError> {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.recv().expect("the test says how it ends")?;
        self.engine.compile(wasm)
    }

    fn load(&self, wasm: &[u8], code: &Precompiled) -> Result<Arc<dyn Module>, EngineError> {
        self.engine.load(wasm, code)
    }

    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, EngineError> {
        self.engine.shared_memory(ty)
    }
}

#[test]
fn calls_go_on_while_it_compiles_and_the_state_moves_when_it_is_done() {
    let world = World::new();
    let (proxy, engine) = world.build();
    let (done, outcome) = channel();
    let target = better(World::new());
    let slow: Arc<dyn Engine> = Arc::new(Slow {
        engine: target.clone(),
        outcome: Mutex::new(outcome),
    });
    let moving = TierUp::start(&proxy, slow).unwrap();
    assert_eq!(moving.engine().compiler, "better");
    let one = counter(&proxy);
    add(&proxy, one, 5);
    assert_eq!(proxy.engine().compiler, "script");
    assert!(!moving.is_over());
    done.send(Ok(())).unwrap();
    let swapped = moving.wait().unwrap();
    assert_eq!(swapped.reason, Reason::TierUp);
    assert_eq!(proxy.engine().compiler, "better");
    add(&proxy, one, 1);
    assert_eq!(value(&proxy, one), 6);
    until_live(&proxy, &engine, 0);
    let names = world.events.names();
    assert_eq!(
        names,
        [
            "tier-up-compiled",
            "standby-prepare-start",
            "standby-prepare-complete",
            "swap-start",
            "swap-complete",
            "generation-freed"
        ]
    );
    proxy.prepare_standby().unwrap();
    assert_eq!(target.probe().live(), 2, "later standbys are made there");
}

#[test]
fn an_engine_that_refuses_the_module_leaves_everything_as_it_was() {
    let world = World::new();
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    let (done, outcome) = channel();
    let target = better(World::new());
    let refusal = EngineError::Unsupported {
        engine: target.id(),
        what: "this module".to_owned(),
    };
    done.send(Err(refusal)).unwrap();
    let slow: Arc<dyn Engine> = Arc::new(Slow {
        engine: target,
        outcome: Mutex::new(outcome),
    });
    let error = TierUp::start(&proxy, slow).unwrap().wait().unwrap_err();
    assert!(matches!(error, Error::Engine(_)), "{error}");
    let [Event::TierUpError { engine: id, error }] = &world.events.all()[..] else {
        panic!("{:?}", world.events.all());
    };
    assert_eq!(id.compiler, "better");
    assert!(error.contains("this module"), "{error}");
    add(&proxy, one, 3);
    assert_eq!(value(&proxy, one), 3);
    assert_eq!(proxy.engine().compiler, "script");
    assert_eq!(engine.probe().live(), 1);
}

#[test]
fn an_engine_on_which_the_journal_diverges_is_not_moved_to() {
    let world = World::new();
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    let wrong = better(
        World::new().func("counter_add", "(param i32 i32)", "", |_, _| {
            Err(EngineError::Trap(Trap::Unreachable))
        }),
    );
    let error = TierUp::start(&proxy, wrong.clone())
        .unwrap()
        .wait()
        .unwrap_err();
    assert!(matches!(error, Error::Divergence(_)), "{error}");
    assert_eq!(world.events.count("tier-up-error"), 1);
    assert_eq!((wrong.probe().live(), engine.probe().live()), (0, 1));
    assert_eq!(value(&proxy, one), 7);
}

#[test]
fn it_waits_until_the_proxy_is_switched_on() {
    let world = World::new();
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    proxy.set_enabled(false);
    let moving = TierUp::start(&proxy, better(World::new())).unwrap();
    until("it is compiled", || {
        world.events.count("tier-up-compiled") == 1
    });
    assert_eq!(proxy.engine().compiler, "script");
    proxy.set_enabled(true);
    moving.wait().unwrap();
    assert_eq!(proxy.engine().compiler, "better");
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn it_keeps_no_proxy_alive_and_ends_with_it() {
    let world = World::new();
    let (proxy, engine) = world.build();
    let (done, outcome) = channel();
    let slow: Arc<dyn Engine> = Arc::new(Slow {
        engine: better(World::new()),
        outcome: Mutex::new(outcome),
    });
    let moving = TierUp::start(&proxy, slow).unwrap();
    proxy.call("counter_new", args![]).unwrap();
    drop(proxy);
    assert_eq!(engine.probe().live(), 0);
    done.send(Ok(())).unwrap();
    assert!(matches!(moving.wait(), Err(Error::ShutDown)));
    assert_eq!(world.events.names(), Vec::<&str>::new());
}
