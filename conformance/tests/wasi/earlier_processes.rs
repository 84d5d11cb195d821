//! A journal outlives its process, and descriptors do not: what a new process does about that.

use conformance::durable::JournalFolder;
use conformance::prelude::*;
use conformance::worlds::{Scene, WORLD, WORLD_POLICY};
use proxy_core::{Builder, CheckpointPolicy, History, Proxy, args};

fn builder(engine: &EngineUnderTest, scene: &Scene) -> Builder {
    let builder = engine.proxied(WORLD, WORLD_POLICY);
    builder.imports(scene.imports(&["world"]))
}

fn number(proxy: &Proxy, export: &str) -> i64 {
    proxy.call(export, args![]).unwrap().i64().unwrap()
}

/// A process that wrote two lines and read one number, and was killed.
fn killed(engine: &EngineUnderTest, scene: &Scene, checkpoints: CheckpointPolicy) -> JournalFolder {
    let numbers: Vec<u8> = (10..14_u32).flat_map(u32::to_le_bytes).collect();
    scene.put("input", &numbers);
    let folder = JournalFolder::of(WORLD, WORLD_POLICY);
    let keeps_state = checkpoints.history == History::Checkpoint;
    let proxy = folder.begin(builder(engine, scene).checkpoints(checkpoints));
    proxy.call("open_files", args![]).unwrap();
    proxy.call("record", args![1_i64]).unwrap();
    proxy.call("record", args![2_i64]).unwrap();
    assert_eq!(number(&proxy, "read_next"), 10);
    proxy.call("say", args![1]).unwrap();
    if keeps_state {
        proxy.checkpoint_durably().unwrap().unwrap();
    }
    folder.killed()
}

#[apply(every_engine)]
fn files_are_opened_again_where_they_were_and_nothing_is_done_twice(engine: &EngineUnderTest) {
    let scene = Scene::new();
    let left = killed(engine, &scene, CheckpointPolicy::default());
    let (proxy, recovered) = left.recover(builder(engine, &scene));
    assert_eq!(recovered.entries, 5);
    assert_eq!(scene.text("log"), "1\n2\n", "it was not emptied");
    assert_eq!(scene.out.text(), "said 1\n", "nothing is printed again");
    assert_eq!(number(&proxy, "log_offset"), 4);
    assert_eq!(number(&proxy, "read_next"), 11);
    proxy.call("record", args![3_i64]).unwrap();
    assert_eq!(scene.text("log"), "1\n2\n3\n");
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!(number(&proxy, "read_next"), 12);
}

#[apply(every_engine)]
fn a_file_that_is_gone_is_named_when_it_is_used(engine: &EngineUnderTest) {
    let scene = Scene::new();
    let left = killed(engine, &scene, CheckpointPolicy::default());
    std::fs::remove_file(scene.path("input")).unwrap();
    let (proxy, _) = left.recover(builder(engine, &scene));
    let chain = number(&proxy, "chain");
    let error = proxy.call("read_next", args![]).unwrap_err();
    let causes = causes(&error);
    assert!(
        causes.contains("descriptor 5 was opened by an earlier process"),
        "{causes}"
    );
    assert_eq!(number(&proxy, "chain"), chain, "the state is whole");
    proxy.call("record", args![3_i64]).unwrap();
    assert_eq!(scene.text("log"), "1\n2\n3\n");
}

#[apply(every_engine)]
fn descriptors_from_before_a_durable_checkpoint_are_refused_by_name(engine: &EngineUnderTest) {
    let scene = Scene::new();
    let checkpoints = || CheckpointPolicy {
        history: History::Checkpoint,
        ..CheckpointPolicy::default()
    };
    let left = killed(engine, &scene, checkpoints());
    let (proxy, recovered) = left.recover(builder(engine, &scene).checkpoints(checkpoints()));
    assert!(recovered.checkpoint.is_some());
    let error = proxy.call("record", args![3_i64]).unwrap_err();
    let causes = causes(&error);
    assert!(causes.contains("keep the full history"), "{causes}");
    assert_eq!(scene.text("log"), "1\n2\n", "no other file is written to");
    // The way out that the error names: the guest opens its files anew.
    proxy.call("open_files", args![]).unwrap();
    proxy.call("record", args![4_i64]).unwrap();
    assert_eq!(scene.text("log"), "4\n");
}

pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
