//! A journal that goes on with another module.

use std::sync::Arc;

use engine_api::Val;
use proxy_core::{Durability, Error, JournalStore, MemoryJournal, Proxy, SequenceNumber, args};

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
