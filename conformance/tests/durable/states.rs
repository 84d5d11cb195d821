//! States from files: memories, tables, globals, dropped segments, objects of the host.

use conformance::durable::JournalFolder;
use conformance::hosted::{Hosted, REALM};
use conformance::kept;
use conformance::prelude::*;
use conformance::proxied::{KV, PROVER};
use proxy_core::{ArtifactStore, CheckpointPolicy, Handle, History, Proxy, args};

fn folding() -> CheckpointPolicy {
    CheckpointPolicy {
        history: History::Checkpoint,
        verify_every: 1,
        ..CheckpointPolicy::default()
    }
}

/// The handle of the same object in another process.
fn again(proxy: &Proxy, handle: Handle) -> Handle {
    proxy.object(handle.sequence(), handle.result()).unwrap()
}

#[track_caller]
fn assert_swaps(proxy: &Proxy) {
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    let info = proxy.debug_info();
    let faults = (info.divergences, info.checkpoints_rejected, info.failures);
    assert_eq!(faults, (0, 0, 0), "{info}");
}

#[apply(every_engine)]
fn every_kind_of_state_is_opened_from_its_file_on_every_engine(engine: &EngineUnderTest) {
    let mut tried = 0;
    for guest in kept::all() {
        let Some(builder) = guest.proxied(engine) else {
            continue;
        };
        tried += 1;
        let folder = JournalFolder::of(&guest.wasm().unwrap(), "");
        let proxy = folder.begin(builder.checkpoints(folding()));
        let next = |proxy: &Proxy| proxy.call("next", args![]).unwrap();
        proxy.call("make", args![]).unwrap();
        next(&proxy);
        let kept = proxy.checkpoint_durably().unwrap().unwrap();
        assert_eq!(kept.sequence.0, 2);
        next(&proxy);
        let left = folder.killed();
        let expected = [next(&proxy), next(&proxy)];
        for target in engines::all() {
            let Some(builder) = guest.proxied(target) else {
                continue;
            };
            let left = left.killed();
            let (proxy, recovered) = left.recover(builder.checkpoints(folding()));
            let made = (recovered.checkpoint, recovered.entries);
            assert_eq!(
                made,
                (Some(kept.sequence), 1),
                "{} on {target:?}",
                guest.name
            );
            assert_eq!(next(&proxy), expected[0], "{} on {target:?}", guest.name);
            assert_swaps(&proxy);
            assert_eq!(next(&proxy), expected[1], "{} on {target:?}", guest.name);
        }
    }
    assert!(tried >= 3, "{engine:?} runs {tried} guests");
}

/// Objects of every kind in a realm, and what each says.
struct Realm {
    registry: Handle,
    counters: Vec<Handle>,
}

impl Realm {
    fn made(proxy: &Proxy) -> Self {
        let registry = proxy.call("registry_new", args![]).unwrap();
        let mut realm = Self {
            registry: registry.handle().unwrap(),
            counters: Vec::new(),
        };
        for number in 0..30 {
            realm.goes_on(proxy, number);
        }
        proxy.call("random_hex", args![]).unwrap();
        realm
    }

    fn goes_on(&mut self, proxy: &Proxy, number: u32) {
        let counter = proxy.call("counter_new", args![number]).unwrap();
        let counter = counter.handle().unwrap();
        proxy.call("counter_increment", args![counter]).unwrap();
        proxy
            .call("chain_step", args![&*format!("step {number}")])
            .unwrap();
        let value = vec![7_u8; number as usize * 50];
        let key = format!("{number}");
        proxy
            .call("registry_put", args![self.registry, &*key, &value])
            .unwrap();
        assert!(proxy.call("account_new", args![-1_i64]).is_err());
        self.counters.push(counter);
    }

    fn seen(&self, proxy: &Proxy) -> (u64, u64, Vec<u32>, String) {
        let registry = again(proxy, self.registry);
        let digest = proxy.call("registry_digest", args![registry]).unwrap();
        let counters = self.counters.iter().map(|counter| {
            let value = proxy.call("counter_value", args![again(proxy, *counter)]);
            value.unwrap().u32().unwrap()
        });
        (
            digest.u64().unwrap(),
            proxy.call("chain_value", args![]).unwrap().u64().unwrap(),
            counters.collect(),
            proxy.call("greet", args!["Zoë"]).unwrap().text().unwrap(),
        )
    }

    fn in_another_process(&self, proxy: &Proxy) -> Self {
        let counters = self.counters.iter();
        Self {
            registry: again(proxy, self.registry),
            counters: counters.map(|counter| again(proxy, *counter)).collect(),
        }
    }
}

fn of_abi(engine: &EngineUnderTest, abi: &str) -> Option<Hosted> {
    let mut all = REALM.on(engine).into_iter();
    all.find(|hosted| hosted.abi == abi)
}

#[apply(every_engine)]
fn a_realm_goes_on_in_another_process_on_every_engine(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        for history in [History::Checkpoint, History::Full] {
            let policy = || CheckpointPolicy {
                history,
                ..folding()
            };
            let folder = JournalFolder::of(hosted.wasm, hosted.policy);
            let proxy = folder.begin(hosted.proxied().checkpoints(policy()));
            let mut realm = Realm::made(&proxy);
            let kept = proxy.checkpoint_durably().unwrap().unwrap();
            realm.goes_on(&proxy, 30);
            let left = folder.killed();
            let expected = realm.seen(&proxy);
            realm.goes_on(&proxy, 31);
            let later = realm.seen(&proxy);
            realm.counters.pop();
            for target in engines::all() {
                let Some(target) = of_abi(target, hosted.abi) else {
                    continue;
                };
                let left = left.killed();
                let builder = target.proxied().checkpoints(policy());
                let (proxy, recovered) = left.recover(builder);
                let from = (history == History::Checkpoint).then_some(kept.sequence);
                assert_eq!(recovered.checkpoint, from);
                let mut realm = realm.in_another_process(&proxy);
                assert_eq!(realm.seen(&proxy), expected, "{}", hosted.abi);
                assert_swaps(&proxy);
                realm.goes_on(&proxy, 31);
                assert_eq!(realm.seen(&proxy), later, "{}", hosted.abi);
            }
        }
    }
}

#[apply(every_engine)]
fn stores_and_their_views_go_on_in_another_process_on_every_engine(engine: &EngineUnderTest) {
    for history in [History::Checkpoint, History::Full] {
        let policy = || CheckpointPolicy {
            history,
            ..folding()
        };
        let folder = JournalFolder::of(KV.wasm, KV.policy);
        let proxy = folder.begin(KV.on(engine).checkpoints(policy()));
        let create = || {
            let store = proxy.call("store_create", args![]).unwrap();
            store.handle().unwrap()
        };
        let put = |proxy: &Proxy, store: Handle, key: u8| {
            let value = vec![key; 200 * usize::from(key)];
            proxy
                .call("put", args![store, [key].as_slice(), &value])
                .unwrap();
        };
        let digest = |proxy: &Proxy, store: Handle| {
            let digest = proxy.call("store_digest", args![again(proxy, store)]);
            digest.unwrap()
        };
        let (store, gone) = (create(), create());
        for key in 0..40 {
            put(&proxy, store, key);
            put(&proxy, gone, key);
        }
        proxy.checkpoint_durably().unwrap().unwrap();
        proxy.call("store_free", args![gone]).unwrap();
        put(&proxy, store, 40);
        let left = folder.killed();
        let expected = digest(&proxy, store);
        put(&proxy, store, 41);
        let later = digest(&proxy, store);
        for target in engines::all() {
            let left = left.killed();
            let (proxy, recovered) = left.recover(KV.on(target).checkpoints(policy()));
            assert_eq!(recovered.objects, 1);
            assert!(proxy.object(gone.sequence(), gone.result()).is_none());
            assert_eq!(digest(&proxy, store), expected, "{target:?}");
            assert_swaps(&proxy);
            put(&proxy, again(&proxy, store), 41);
            assert_eq!(digest(&proxy, store), later, "{target:?}");
        }
    }
}

/// The parameters take long to compute, and are read from their artifact in place of that.
#[apply(every_engine)]
fn a_recovery_takes_objects_from_their_artifacts(engine: &EngineUnderTest) {
    let artifacts = tempfile::tempdir().unwrap();
    let builder = |engine: &EngineUnderTest| {
        let store = ArtifactStore::directory(artifacts.path()).unwrap();
        let off = CheckpointPolicy::off();
        PROVER.on(engine).artifacts(store).checkpoints(off)
    };
    let folder = JournalFolder::of(PROVER.wasm, PROVER.policy);
    let mut proxy = folder.begin(builder(engine));
    let srs = proxy.call("srs_create", args![5]).unwrap();
    let index = proxy.call("index_create", args![srs.handle().unwrap(), 1]);
    let index = index.unwrap().handle().unwrap();
    let prove = |proxy: &Proxy| {
        let index = again(proxy, index);
        let proof = proxy.pinned(|pinned| {
            let proof = pinned.call("prove", args![index, 7_u64])?.pointer()?;
            let bytes = pinned.call("proof_bytes", args![proof])?.bytes()?;
            pinned.call("proof_free", args![proof])?;
            Ok::<_, proxy_core::Error>(bytes)
        });
        proof.unwrap()
    };
    let expected = prove(&proxy);
    assert_swaps(&proxy);
    for target in engines::all() {
        drop(proxy);
        (proxy, _) = folder.recover(builder(target));
        assert_eq!(proxy.debug_info().artifacts_imported, 1, "{target:?}");
        assert_eq!(prove(&proxy), expected, "{target:?}");
        assert_swaps(&proxy);
    }
}
