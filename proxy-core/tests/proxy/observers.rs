//! The part that a host has in replays: what it compares, writes again, sees, and is told of a restored
//! state.

use std::sync::{Arc, Mutex};

use engine_api::{
    Caller, Error as EngineError, Extern, FuncType, HostFunc, MemoryIndex, ReplayObserver, Trap,
    Val, ValType,
};
use proxy_core::{DivergenceKind, Error, Proxy, args};

use super::durable::{folding, journal_in};
use super::world::{World, add, counter, swap, value};
use crate::fake::{FakeInstance, address, number};

const MEMORY: MemoryIndex = MemoryIndex(0);

/// What an observer was asked and told, and what it refuses.
#[derive(Default)]
struct Seen {
    log: Mutex<Vec<String>>,
    refuses: &'static str,
}

impl Seen {
    fn note(&self, what: &str, line: String) -> Result<(), EngineError> {
        self.log.lock().unwrap().push(line);
        if self.refuses == what {
            return Err(EngineError::Trap(Trap::Unreachable));
        }
        Ok(())
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl ReplayObserver for Seen {
    /// Without the address, which is another in each instance.
    fn comparable(&self, _: &HostFunc, args: &[Val]) -> Vec<Val> {
        args[1..].to_vec()
    }

    fn rewrite(
        &self,
        _: &HostFunc,
        caller: &mut dyn Caller,
        args: &[Val],
        written: &[&[u8]],
    ) -> Result<(), EngineError> {
        self.note("rewrite", format!("rewrite {written:?}"))?;
        caller.memory_write(MEMORY, address(&args[0]).into(), written[0])
    }

    fn replayed(
        &self,
        function: &HostFunc,
        caller: &mut dyn Caller,
        args: &[Val],
        results: &[Val],
        note: &[u8],
    ) -> Result<(), EngineError> {
        let mut byte = [0];
        caller.memory_read(MEMORY, address(&args[0]).into(), &mut byte)?;
        let (name, what, result) = (function.name(), number(&args[1]), number(&results[0]));
        let line = format!("{name}({what}) = {result}, noted {note:?}, wrote {byte:?}");
        self.note("replayed", line)
    }

    fn restored(&self) {
        self.note("restored", "restored".to_owned()).unwrap();
    }
}

/// `look(counter, what)` asks the host, which writes to an address, and adds what was written to the
/// counter. `asks` gives the address, and what the guest asks for.
fn looking(
    seen: &Arc<Seen>,
    asks: impl Fn(&FakeInstance, i32) -> (u32, i32) + Send + Sync + 'static,
) -> World {
    let two = FuncType::new(&[ValType::I32; 2], &[ValType::I32]);
    let mut world = World::new()
        .import(
            "look",
            ("(param i32 i32) (result i32)", two),
            |caller, args, results| {
                let what = u8::try_from(number(&args[1])).expect("few");
                caller.note(&[what, 1]);
                caller.memory_write(MEMORY, address(&args[0]).into(), &[what + 100])?;
                results[0] = Val::I32(i32::from(what) * 2);
                Ok(())
            },
        )
        .func(
            "look",
            "(param i32 i32) (result i32)",
            "role = \"mutate\"\nargs = [\"handle\", \"value\"]\nmutates = [0]",
            move |guest, args| {
                let (at, what) = asks(guest, number(&args[1]));
                let result = guest.host("env", "look", &[Val::from(at), Val::I32(what)])?;
                let byte = guest.read(at, 1)?[0];
                *guest.object(&args[0])? += i64::from(byte);
                Ok(result)
            },
        );
    let Some(Extern::Func(function)) = world.imports.get("env", "look").cloned() else {
        panic!("it was just added");
    };
    let observed = function.observed(Arc::clone(seen) as Arc<dyn ReplayObserver>);
    world.imports.define("env", "look", Extern::Func(observed));
    world
}

/// An address of the instance's own.
fn own(guest: &FakeInstance) -> u32 {
    2048 + 16 * u32::try_from(guest.number).expect("few")
}

fn as_asked(guest: &FakeInstance, what: i32) -> (u32, i32) {
    (own(guest), what)
}

fn divergence(proxy: &Proxy) -> (DivergenceKind, String) {
    match proxy.prepare_standby().unwrap_err() {
        Error::Divergence(divergence) => (divergence.what, divergence.got.clone()),
        error => panic!("{error}"),
    }
}

#[test]
fn an_observer_says_what_is_compared_writes_again_and_sees_each_call() {
    let seen = Arc::<Seen>::default();
    let (proxy, _) = looking(&seen, as_asked).build();
    let one = counter(&proxy);
    for what in [1, 2] {
        let result = proxy.call("look", args![one, what]).unwrap();
        assert_eq!(result.i32().unwrap(), 2 * what);
    }
    assert_eq!(seen.take(), Vec::<String>::new(), "nothing was replayed");
    for _ in 0..3 {
        swap(&proxy);
        let expected = [
            "rewrite [[101]]",
            "look(1) = 2, noted [1, 1], wrote [101]",
            "rewrite [[102]]",
            "look(2) = 4, noted [2, 1], wrote [102]",
        ];
        assert_eq!(seen.take(), expected);
        assert_eq!(value(&proxy, one), 203);
    }
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[test]
fn what_an_observer_compares_and_differs_is_a_divergence() {
    let seen = Arc::<Seen>::default();
    let asks = |guest: &FakeInstance, what: i32| (own(guest), what + i32::from(guest.number > 1));
    let (proxy, _) = looking(&seen, asks).build();
    let one = counter(&proxy);
    proxy.call("look", args![one, 1]).unwrap();
    let (what, got) = divergence(&proxy);
    assert_eq!(what, DivergenceKind::HostCalls);
    assert!(got.contains("`env.look`"), "{got}");
    assert_eq!(seen.take(), Vec::<String>::new(), "nothing was done again");
}

#[test]
fn an_observer_that_refuses_ends_the_replay() {
    for refuses in ["rewrite", "replayed"] {
        let seen = Arc::new(Seen {
            refuses,
            ..Seen::default()
        });
        let (proxy, _) = looking(&seen, as_asked).build();
        let one = counter(&proxy);
        proxy.call("look", args![one, 1]).unwrap();
        divergence(&proxy);
        assert!(seen.take().last().unwrap().contains(match refuses {
            "rewrite" => "rewrite",
            _ => "look(1)",
        }));
        // The active generation goes on.
        assert_eq!(value(&proxy, one), 101);
    }
}

#[test]
fn an_observer_is_told_of_a_state_of_another_process_and_of_no_other_recovery() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::<Seen>::default();
    // A state is compared with a replay's, byte by byte.
    let world = looking(&seen, |_, what| (2048, what)).checkpointed();
    let store = journal_in(&world, folder.path());
    let proxy = folding(&world, &store).unwrap();
    let one = counter(&proxy);
    proxy.call("look", args![one, 1]).unwrap();
    drop(proxy);
    let store = store.lose_power();
    let proxy = folding(&world, &store).unwrap();
    let replayed = seen.take();
    assert_eq!(replayed.len(), 2, "{replayed:?}");
    proxy.checkpoint_durably().unwrap().unwrap();
    let one = proxy.object(one.sequence(), one.result()).unwrap();
    proxy.call("look", args![one, 2]).unwrap();
    add(&proxy, one, 1);
    drop(proxy);
    seen.take();
    let proxy = folding(&world, &store.lose_power()).unwrap();
    let expected = [
        "restored",
        "rewrite [[102]]",
        "look(2) = 4, noted [2, 1], wrote [102]",
    ];
    assert_eq!(seen.take(), expected);
    let one = proxy.object(one.sequence(), one.result()).unwrap();
    assert_eq!(value(&proxy, one), 204);
}
