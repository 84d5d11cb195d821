//! Divergences that are planted, each of which must be found before anything is served from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use conformance::engines::EngineUnderTest;
use conformance::expect::binary;
use engine_api::{FuncType, Imports, Limits, PAGE_BYTES, Val, ValType};
use proxy_core::{
    Builder, Durability, Error, Flush, Identity, JournalStore, MemoryJournal, Policy, Position,
    Proxy, SequenceNumber, args,
};

use crate::Scale;
use crate::kills::Random;
use crate::report::Measured;

/// `tick` is called pure and reads the clock: `step` depends on it.
const GUEST: &str = r#"(module
    (import "env" "clock" (func $clock (result i64)))
    (memory 1)
    (global $hash (mut i64) (i64.const 0))
    (global $time (mut i64) (i64.const 0))
    (func (export "tick") (global.set $time (call $clock)))
    (func (export "step") (param i64) (result i64)
        (global.set $hash
            (i64.mul
                (i64.add (i64.rotl (global.get $hash) (i64.const 7))
                    (i64.xor (local.get 0) (global.get $time)))
                (i64.const 0x9e3779b97f4a7c15)))
        (if (i64.eq (local.get 0) (i64.const -1)) (then
            (global.set $hash (i64.const 1))))
        (global.get $hash))
    (func (export "nan") (result f32) (f32.const nan:0x200001))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "value") (result i64) (global.get $hash)))"#;

const POLICY: &str = r#"
    [[export]]
    match = "{step,nan,grow}"
    role = "mutate"
    [[export]]
    match = "*"
    role = "pure"
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    UnrecordedClock,
    OtherModule,
    NanPayload,
    GrowLimit,
    Reordered,
    Dropped,
}

const KINDS: [Kind; 6] = [
    Kind::UnrecordedClock,
    Kind::OtherModule,
    Kind::NanPayload,
    Kind::GrowLimit,
    Kind::Reordered,
    Kind::Dropped,
];

/// Plants 17 of each kind.
pub(crate) fn planted(scale: &Scale, measured: &mut Measured) {
    const OF_EACH: u64 = 17;
    let mut planted = 0;
    for (number, engine) in scale.engines.iter().enumerate() {
        for seed in 0..OF_EACH {
            // For every change, the engines share them.
            let is_its_turn = seed % scale.engines.len() as u64 == number as u64;
            if scale.full || is_its_turn {
                for kind in KINDS {
                    plant(engine, kind, seed);
                    planted += 1;
                }
            }
        }
    }
    measured.figure(format!(
        "{planted} planted divergences of 6 kinds: all found before a swap or an opening, each \
         names its entry or record"
    ));
}

fn builder(engine: &EngineUnderTest, text: &str) -> Builder {
    let clock = AtomicU64::new(1000);
    let mut imports = Imports::new();
    let ty = FuncType::new(&[], &[ValType::I64]);
    imports.func("env", "clock", ty, move |_, _, results| {
        results[0] = Val::from(clock.fetch_add(1, Ordering::Relaxed));
        Ok(())
    });
    engine.proxied_wat(text, POLICY).imports(imports)
}

fn journal(text: &str) -> MemoryJournal {
    let policy: Policy = POLICY.parse().unwrap();
    MemoryJournal::new(Identity::of(&binary(text), &policy).unwrap())
}

fn store(journal: &MemoryJournal) -> Arc<dyn JournalStore> {
    Arc::new(journal.clone())
}

fn opened(builder: Builder, journal: &MemoryJournal) -> Result<Proxy, Error> {
    builder.journal(store(journal), Durability::Durable).build()
}

/// Plants one, and fails if it is not found or something else is named.
fn plant(engine: &EngineUnderTest, kind: Kind, seed: u64) {
    let mut random = Random(seed * 6 + kind as u64 + 1);
    // The entry that diverges, and how many come after it.
    let (entry, after) = (2 + random.below(40), 1 + random.below(20));
    let made = journal(GUEST);
    let proxy = opened(builder(engine, GUEST), &made).unwrap();
    let step = |number: u64| drop(proxy.call("step", args![number]).unwrap());
    (1..entry).for_each(&step);
    match kind {
        Kind::UnrecordedClock => {
            proxy.call("tick", args![]).unwrap();
            step(entry);
        }
        Kind::NanPayload => drop(proxy.call("nan", args![]).unwrap()),
        Kind::GrowLimit => drop(proxy.call("grow", args![20]).unwrap()),
        Kind::OtherModule | Kind::Reordered | Kind::Dropped => step(entry),
    }
    (entry + 1..=entry + after).for_each(&step);
    let value = proxy.call("value", args![]).unwrap();
    if kind == Kind::UnrecordedClock {
        let error = proxy.prepare_standby().unwrap_err();
        assert_names(engine, kind, entry, &error);
        assert!(
            proxy.swap().is_err(),
            "{kind:?} {seed}: there is nothing to swap to"
        );
        assert_eq!(
            proxy.call("value", args![]).unwrap(),
            value,
            "the active goes on"
        );
        assert_eq!(proxy.debug_info().generation, 1);
        return;
    }
    drop(proxy);
    let outcome = match kind {
        Kind::OtherModule => {
            let other = GUEST.replace("(i64.const -1)", &format!("(i64.const {entry})"));
            migrated(engine, &made, &other)
        }
        Kind::NanPayload => migrated(
            engine,
            &made,
            &GUEST.replace("nan:0x200001", "nan:0x200002"),
        ),
        Kind::GrowLimit => {
            let limited = builder(engine, GUEST).limits(Limits {
                memory_bytes_max: Some(8 * PAGE_BYTES),
                ..Limits::default()
            });
            opened(limited, &made.lose_power())
        }
        Kind::Reordered => opened(
            builder(engine, GUEST),
            &tampered(&made, |records| {
                // The first record is the instantiation.
                let at = usize::try_from(entry).unwrap();
                records.swap(at, at + 1);
            }),
        ),
        Kind::Dropped => opened(
            builder(engine, GUEST),
            &tampered(&made, |records| {
                records.remove(usize::try_from(entry - 1).unwrap());
            }),
        ),
        Kind::UnrecordedClock => unreachable!("it was found above"),
    };
    let Err(error) = outcome else {
        panic!("{kind:?} {seed} on {engine:?} is not found");
    };
    assert_names(engine, kind, entry, &error);
}

fn migrated(engine: &EngineUnderTest, old: &MemoryJournal, text: &str) -> Result<Proxy, Error> {
    let from = builder(engine, text).migrate(store(&old.lose_power()));
    opened(from, &journal(text))
}

/// A journal of the same records but for a change, with a good chain.
fn tampered(journal: &MemoryJournal, change: impl Fn(&mut Vec<Vec<u8>>)) -> MemoryJournal {
    let journal = journal.lose_power();
    let records = journal.read_after(Position::ZERO, usize::MAX).unwrap();
    let mut records = records.into_iter().map(|record| record.bytes).collect();
    change(&mut records);
    let tampered = MemoryJournal::new(journal.identity().clone());
    let head = tampered.head().unwrap();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    tampered
        .append(head.epoch, head.position, &records, Flush::Now)
        .unwrap();
    tampered
}

#[track_caller]
fn assert_names(engine: &EngineUnderTest, kind: Kind, entry: u64, error: &Error) {
    let named = match error {
        Error::Divergence(divergence) => divergence.entry,
        Error::StandbyOutOfMemory { entry, .. } => *entry,
        // Entry n is the record after the instantiation's and those before it. Of two that were
        // exchanged, the later record is out of order.
        Error::JournalRecord { position, .. } => SequenceNumber(position.0 - 2),
        _ => SequenceNumber::ZERO,
    };
    assert_eq!(
        named,
        SequenceNumber(entry),
        "{kind:?} on {engine:?}: {error}"
    );
}
