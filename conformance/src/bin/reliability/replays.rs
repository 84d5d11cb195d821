//! R13: random journals on all engines, and divergences that are planted.

use std::sync::Arc;

use conformance::engines::EngineUnderTest;
use conformance::proxied::KV;
use proxy_core::{Handle, Proxy, args};

use crate::Scale;
use crate::divergences;
use crate::kills::Random;
use crate::report::Measured;

/// R13.
pub(crate) fn fidelity(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    let journals = scale.of(200_u64, 2000);
    let mut entries = 0;
    for seed in 0..journals {
        let mut made = scale
            .engines
            .iter()
            .map(|engine| (engine, random(engine, seed)));
        let (_, first) = made.next().unwrap();
        let digests = first.journal_digests();
        entries += digests.len();
        for (engine, proxy) in made {
            assert_eq!(
                proxy.journal_digests(),
                digests,
                "seed {seed} on {engine:?}"
            );
        }
        for target in &scale.engines {
            let verified = first.verify_on(Arc::clone(target.remembering()));
            let verified = verified.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(verified.entries, digests.len());
        }
    }
    measured.figure(format!(
        "{journals} random journals with {entries} entries: made alike on {engines} engines, and \
         replayed alike on each",
        engines = scale.engines.len(),
    ));
    divergences::planted(scale, &mut measured);
    measured
}

/// A proxy after random calls, which every engine makes alike.
fn random(engine: &EngineUnderTest, seed: u64) -> Proxy {
    let proxy = KV.on(engine).build().unwrap();
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut stores: Vec<Handle> = Vec::new();
    let mut others: Vec<(&str, Handle)> = Vec::new();
    for _ in 0..10 + random.below(60) {
        let key = [u8::try_from(random.below(12)).unwrap()];
        let Some(at) = random
            .below(16)
            .checked_sub(2)
            .filter(|_| !stores.is_empty())
        else {
            let made = proxy.call("store_create", args![]).unwrap();
            stores.push(made.handle().unwrap());
            continue;
        };
        let picked = usize::try_from(random.below(stores.len() as u64)).unwrap();
        let store = stores[picked];
        let made = |name| proxy.call(name, args![store]).unwrap().handle().unwrap();
        match at {
            0..=5 => {
                let value = vec![key[0]; usize::try_from(random.below(2000)).unwrap()];
                let put = proxy.call("put", args![store, key.as_slice(), &value]);
                put.unwrap();
            }
            6 | 7 => drop(proxy.call("delete", args![store, key.as_slice()]).unwrap()),
            8 => {
                let other = stores[usize::try_from(random.below(stores.len() as u64)).unwrap()];
                if other != store {
                    proxy.call("merge", args![store, other]).unwrap();
                }
            }
            9 => others.push(("snapshot_free", made("snapshot_create"))),
            10 => {
                let view = proxy.call("view_create", args![store, key.as_slice()]);
                others.push(("view_free", view.unwrap().handle().unwrap()));
            }
            11 => {
                if let Some((free, handle)) = others.pop() {
                    proxy.call(free, args![handle]).unwrap();
                }
            }
            // No view of it is left.
            _ if others.is_empty() => {
                stores.swap_remove(picked);
                proxy.call("store_free", args![store]).unwrap();
            }
            _ => {}
        }
    }
    proxy
}
