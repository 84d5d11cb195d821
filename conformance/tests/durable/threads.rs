//! A module with threads recovers by replay.

use conformance::durable::JournalFolder;
use conformance::hosted::THREADS;
use conformance::prelude::*;
use proxy_core::{CheckpointPolicy, Error as ProxyError, History, args};

#[apply(every_engine)]
fn a_module_with_threads_recovers_by_replay(engine: &EngineUnderTest) {
    for hosted in THREADS.on(engine) {
        let builder = |hosted: &conformance::hosted::Hosted| {
            hosted.proxied().limits(Limits {
                memory_bytes_max: Some(48 << 20),
                ..Limits::default()
            })
        };
        let folder = JournalFolder::of(hosted.wasm, hosted.policy);
        let mut proxy = folder.begin(builder(&hosted));
        let pool = proxy.call("thread_pool_start", args![2]).unwrap();
        let pool = pool.handle().unwrap();
        proxy.call("random_in_workers", args![20]).unwrap();
        for target in engines::all() {
            let all = THREADS.on(target);
            let Some(target) = all.iter().find(|other| other.abi == hosted.abi) else {
                continue;
            };
            drop(proxy);
            let recovered;
            (proxy, recovered) = folder.recover(builder(target));
            assert_eq!(
                (recovered.checkpoint, recovered.entries),
                (None, 1),
                "workers draw in any order, and nothing is left of it"
            );
            let sum = proxy.call("parallel_sum", args![100_000]).unwrap();
            assert_eq!(sum.u64().unwrap(), 4_999_950_000, "{}", hosted.abi);
            assert!(proxy.object(pool.sequence(), pool.result()).is_some());
        }
        let pool = proxy.object(pool.sequence(), pool.result()).unwrap();
        proxy.call("thread_pool_stop", args![pool]).unwrap();
    }
}

#[apply(every_engine)]
fn a_module_with_threads_has_no_history_in_a_checkpoint(engine: &EngineUnderTest) {
    for hosted in THREADS.on(engine) {
        let folder = JournalFolder::of(hosted.wasm, hosted.policy);
        let refused = folder.try_proxy(hosted.proxied().checkpoints(CheckpointPolicy {
            history: History::Checkpoint,
            ..CheckpointPolicy::default()
        }));
        let error = refused.err().unwrap();
        let ProxyError::HistoryNeedsCheckpoints { obstacles } = &error else {
            panic!("{error}");
        };
        assert!(
            obstacles
                .iter()
                .any(|obstacle| obstacle.contains("threads")),
            "{error}"
        );
        // Nothing was written: the journal is good for a full history.
        drop(folder.begin(hosted.proxied()));
    }
}
