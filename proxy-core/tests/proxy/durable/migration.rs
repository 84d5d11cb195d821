//! A journal that goes on with another module.

use std::sync::Arc;

use engine_api::Val;
use proxy_core::{
    CallError, Durability, Error, JournalStore, MemoryJournal, Proxy, SequenceNumber, args,
};

use super::super::held_store::HeldStore;
use super::super::world::{World, add, counter, swap, value};
use super::{again, journal, journal_in, open, reopen};

/// The world with one more export, whose module is another one.
fn renumbered() -> World {
    World::new()
        .func("another", "(result i32)", "role = \"pure\"", |_, _| {
            Ok(vec![Val::I32(0)])
        })
        .chain(0)
}

fn migrate(world: &World, old: &MemoryJournal, new: &MemoryJournal) -> Result<Proxy, Error> {
    let engine = world.script.engine();
    let [old, new] = [old, new].map(|one| -> Arc<dyn JournalStore> { Arc::new(one.clone()) });
    let builder = world.builder(&engine).migrate(old);
    builder.journal(new, Durability::Durable).build()
}

#[test]
fn a_journal_goes_on_with_another_module_that_gives_the_same() {
    for kept in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new().chain(0);
        let old = journal_in(&world, folder.path());
        let proxy = open(&world, &old);
        let one = counter(&proxy);
        add(&proxy, one, 5);
        let step = proxy
            .call_with_id(b"s", "chain_step", args![1_i64])
            .unwrap();
        if kept {
            proxy.checkpoint_durably().unwrap().unwrap();
        }
        add(&proxy, one, 1);
        drop(proxy);
        let before = old.head().unwrap();
        let other = renumbered();
        let new = journal(&other);
        let proxy = migrate(&other, &old, &new).unwrap();
        assert_eq!(value(&proxy, again(&proxy, one)), 6);
        assert_eq!(old.head().unwrap(), before, "it is only read");
        let (proxy, _) = reopen(&other, proxy, &new);
        assert_eq!(value(&proxy, again(&proxy, one)), 6);
        let repeated = proxy
            .call_with_id(b"s", "chain_step", args![1_i64])
            .unwrap();
        assert_eq!(repeated, step);
        swap(&proxy);
        let error = migrate(&other, &old, &new).unwrap_err();
        assert!(error.to_string().contains("create another"), "{error}");
    }
}

#[test]
fn records_are_read_and_appended_many_at_a_time() {
    let world = World::new().chain(0);
    let old = journal(&world);
    let proxy = open(&world, &old);
    for step in 0..500_i64 {
        proxy.call("chain_step", args![step]).unwrap();
    }
    drop(proxy);
    let (old, other) = (HeldStore::new(old), renumbered());
    let new = HeldStore::new(journal(&other));
    let stores = [&old, &new].map(|one| -> Arc<dyn JournalStore> { Arc::new(one.clone()) });
    let [from, to] = stores;
    let engine = other.script.engine();
    let builder = other.builder(&engine).migrate(from);
    let proxy = builder.journal(to, Durability::Durable).build().unwrap();
    assert_eq!(proxy.debug_info().journal_last, SequenceNumber(500));
    drop(proxy);
    let before = old.transfers();
    assert!(before.0 <= 4, "{} reads of 500 records", before.0);
    let (_, appends) = new.transfers();
    assert!(appends <= 4, "{appends} appends of 500 records");
    let engine = world.script.engine();
    let store: Arc<dyn JournalStore> = Arc::new(old.clone());
    let builder = world.builder(&engine).journal(store, Durability::Durable);
    assert_eq!(
        builder.build().unwrap().debug_info().journal_last,
        SequenceNumber(500)
    );
    let reads = old.transfers().0 - before.0;
    assert!(reads <= 4, "{reads} reads of 500 records");
}

#[test]
fn a_migration_has_a_mebibyte_of_records_in_hand() {
    const RECORD: usize = 100 << 10;
    let noting = |world: World| {
        let policy = "role = \"mutate\"\nargs = [\"bytes\"]";
        world.func("note", "(param i32 i32)", policy, |_, _| Ok(vec![]))
    };
    let world = noting(World::new());
    let old = journal(&world);
    let proxy = open(&world, &old);
    let bytes = vec![7_u8; RECORD];
    for _ in 0..40 {
        proxy.call("note", args![&bytes[..]]).unwrap();
    }
    // Their answers take more than a mebibyte too.
    for at in 0..10_000_u64 {
        let id = [[0; 8]; 15]
            .as_flattened()
            .iter()
            .copied()
            .chain(at.to_le_bytes());
        let id: Vec<u8> = id.collect();
        proxy.call_with_id(&id, "note", args![&bytes[..1]]).unwrap();
    }
    drop(proxy);
    let other = noting(renumbered());
    let new = HeldStore::new(journal(&other));
    let [from, to]: [Arc<dyn JournalStore>; 2] = [Arc::new(old), Arc::new(new.clone())];
    let engine = other.script.engine();
    let builder = other.builder(&engine).migrate(from);
    let proxy = builder.journal(to, Durability::Durable).build().unwrap();
    assert_eq!(proxy.debug_info().journal_last, SequenceNumber(10_040));
    let at_once = new.appended_max();
    assert!(
        at_once > 1 << 20 && at_once < (1 << 20) + 2 * RECORD,
        "{at_once}"
    );
}

/// A creation that the guest rejects leaves no entry, and its id is answered nevertheless.
#[test]
fn a_rejected_creation_is_answered_by_its_id_after_a_migration() {
    let rejecting = |world: World| {
        world
            .func(
                "make",
                "(result i32 i32 i32)",
                "role = \"create\"\nresults = [\"handle:made\", \"error\"]",
                |guest, _| {
                    guest.count("made");
                    Ok(vec![Val::I32(0), Val::I32(1), Val::I32(1)])
                },
            )
            .func(
                "bindgen_host_take_error",
                "(param i32) (result externref)",
                "role = \"pure\"",
                |_, _| Ok(vec![Val::ExternRef(None)]),
            )
            .func("makes", "(result i64)", "role = \"pure\"", |guest, _| {
                let made = *guest.counters.entry("made").or_default();
                Ok(vec![Val::I64(made)])
            })
    };
    let rejected = |proxy: &Proxy, id: &[u8]| {
        let error = proxy.call_with_id(id, "make", args![]).unwrap_err();
        assert!(
            matches!(error, Error::Call(CallError::Guest { .. })),
            "{error}"
        );
    };
    let world = rejecting(World::new());
    let old = journal(&world);
    let proxy = open(&world, &old);
    rejected(&proxy, b"before");
    let one = counter(&proxy);
    proxy
        .call_with_id(b"entry", "counter_add", args![one, 1])
        .unwrap();
    rejected(&proxy, b"after");
    drop(proxy);
    let other = rejecting(renumbered());
    let new = journal(&other);
    let proxy = migrate(&other, &old, &new).unwrap();
    let (proxy, _) = reopen(&other, proxy, &new);
    for id in [b"before".as_slice(), b"after"] {
        rejected(&proxy, id);
    }
    proxy
        .call_with_id(b"entry", "counter_add", args![again(&proxy, one), 1])
        .unwrap();
    assert_eq!(value(&proxy, again(&proxy, one)), 1);
    let made = proxy.call("makes", args![]).unwrap();
    assert_eq!(made.i64().unwrap(), 0, "they did not run again");
}

#[test]
fn a_migration_names_the_first_call_that_gives_something_else() {
    let world = World::new().chain(0);
    let old = journal(&world);
    let proxy = open(&world, &old);
    counter(&proxy);
    proxy.call("chain_step", args![1_i64]).unwrap();
    drop(proxy);
    let other = renumbered().script(|script| {
        script.func("chain_step", "(param i64) (result i64 i64)", |_, _| {
            Ok(vec![Val::I64(0), Val::I64(0)])
        })
    });
    let new = journal(&other);
    let error = migrate(&other, &old, &new).unwrap_err();
    let Error::Divergence(divergence) = error else {
        panic!("{error}");
    };
    assert_eq!(divergence.entry, SequenceNumber(2));
    assert_eq!(new.head().unwrap().position.0, 0, "nothing was written");
    // An export that is gone is named too.
    let other = World::new().func("another", "(result i32)", "", |_, _| Ok(vec![Val::I32(0)]));
    let error = migrate(&other, &old, &journal(&other)).unwrap_err();
    assert!(
        error.to_string().contains("no export `chain_step`"),
        "{error}"
    );
}

#[test]
fn a_journal_of_host_calls_is_opened_without_the_host_and_migrated_by_names() {
    use engine_api::{FuncType, ValType};
    let clock = |world: World, at: i64| {
        let ty = FuncType::new(&[], &[ValType::I64]);
        world.import("clock", ("(result i64)", ty), move |_, _, results| {
            results[0] = Val::from(at);
            Ok(())
        })
    };
    let stamping = |world: World| {
        world.func("stamp", "(result i64)", "role = \"mutate\"", |guest, _| {
            let now = guest.host("env", "clock", &[])?;
            guest
                .counters
                .insert("stamped", now[0].i64().expect("a time"));
            Ok(now)
        })
    };
    let world = clock(stamping(World::new()), 7);
    let old = journal(&world);
    let proxy = open(&world, &old);
    assert_eq!(proxy.call("stamp", args![]).unwrap().i64().unwrap(), 7);
    drop(proxy);
    let later = clock(stamping(World::new()), 1000);
    let proxy = open(&later, &old.lose_power());
    swap(&proxy);
    assert_eq!(proxy.debug_info().divergences, 0);
    drop(proxy);
    // In the other module the clock is the second import.
    let ty = FuncType::new(&[], &[]);
    let other = stamping(World::new()).import("other", ("", ty), |_, _, _| Ok(()));
    let other = clock(other, 1000);
    let new = journal(&other);
    let proxy = migrate(&other, &old, &new).unwrap();
    swap(&proxy);
    // And where it is gone, that is said.
    let other = World::new().func("stamp", "(result i64)", "role = \"mutate\"", |_, _| {
        Ok(vec![Val::I64(7)])
    });
    let error = migrate(&other, &old, &journal(&other)).unwrap_err();
    assert!(
        error.to_string().contains("does not import `env.clock`"),
        "{error}"
    );
}
