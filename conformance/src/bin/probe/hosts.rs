//! Thousands of swaps of guests with a host of their own: WASI's files, Emscripten's imports,
//! JavaScript values. What a swap leaves behind in a host adds up.

use std::sync::Arc;

use bindgen_host::{BindgenHost, Options};
use conformance::prelude::*;
use conformance::process::Footprint;
use conformance::worlds::{Scene, WORLD, WORLD_POLICY};
use engine_api::Engine;
use proxy_core::js::{self, Js};
use proxy_core::{Builder, CheckpointPolicy, History, HistoryBound, Policy, Proxy, args};

/// More than any count in the proxy goes up to before something begins anew: entries of a history,
/// uses of a checkpoint, generations.
const SWAPS: u32 = 3_000;

/// What the resident memory may differ by after all swaps. 700 bytes of each would show.
const RSS_KIB_MAX: u64 = 2_048;

/// The stacks and arenas that the C library keeps of threads that have ended. How many it keeps
/// depends on how many there were at once.
const MAPPINGS_MAX: usize = 16;

const WORDS: &[u8] = include_bytes!("../../../../guests/prebuilt/toolchains/emscripten_glue.wasm");
const WORDS_POLICY: &str = include_str!("../../../../guests/policies/words.toml");

/// Standbys from a checkpoint, and a journal that is folded into one when it is 100 entries long.
fn folding(builder: Builder) -> Builder {
    let bound = HistoryBound {
        entries: 100,
        bytes: u64::MAX,
    };
    let policy = CheckpointPolicy {
        history: History::Checkpoint,
        ..CheckpointPolicy::default()
    };
    builder.checkpoints(policy).history_bound(bound)
}

/// Swaps to a standby on the engine. Upkeep has its turn, as under a supervisor.
fn swap(proxy: &Proxy, engine: &Arc<dyn Engine>) {
    proxy.prepare_standby_on(Arc::clone(engine)).unwrap();
    proxy.swap().unwrap();
    proxy.tick(Instant::now());
}

/// Makes the rounds, and compares the process before and after. A tenth of them comes first, because
/// some things are made once.
fn nothing_remains(proxy: &Proxy, mut round: impl FnMut()) {
    for _ in 0..SWAPS / 10 {
        round();
    }
    let before = settled(proxy, |_| true);
    for _ in 0..SWAPS {
        round();
    }
    let after = settled(proxy, |now| {
        now.threads <= before.threads && now.fds <= before.fds
    });
    println!("before {before:?}\nafter  {after:?}");
    assert!(after.fds <= before.fds, "descriptors leak");
    assert!(after.threads <= before.threads, "threads leak");
    assert!(
        after.mappings <= before.mappings + MAPPINGS_MAX,
        "mappings leak"
    );
    assert!(
        after.rss_kib <= before.rss_kib + RSS_KIB_MAX,
        "resident memory leaks"
    );
}

/// The process once the history is folded into one checkpoint, and threads that verified it have
/// ended: after a while, or when it is as it should be.
fn settled(proxy: &Proxy, is_fine: impl Fn(&Footprint) -> bool) -> Footprint {
    proxy.compact().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let mut last = Footprint::now().unwrap();
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = Footprint::now().unwrap();
        let is_still = (now.threads, now.fds) == (last.threads, last.fds);
        if (is_still && is_fine(&now)) || Instant::now() > end {
            return now;
        }
        last = now;
    }
}

fn assert_sound(proxy: &Proxy) {
    let info = proxy.debug_info();
    assert_eq!((info.divergences, info.failures), (0, 0), "{info}");
    assert!(info.swaps >= u64::from(SWAPS), "{info}");
    assert!(info.history_folds > 1, "{info}");
    assert!(info.journal_entries < 1_000, "{info}");
}

/// An engine of the other runtime, if there is one.
fn other(engine: &EngineUnderTest) -> &EngineUnderTest {
    let runtime = engine.shared().id().runtime;
    let mut all = engines::all().into_iter();
    all.find(|one| one.shared().id().runtime != runtime)
        .unwrap_or(engine)
}

/// A WASI guest with two open files. Each round writes, reads, lists a folder, prints, asks clock and
/// randomness, and every hundredth one makes a file and traps. Every tenth swap changes the runtime.
pub(crate) fn wasi(engine: &EngineUnderTest) {
    let scene = Scene::new();
    scene.put("input", &[7; 16]);
    let builder = engine.proxied(WORLD, WORLD_POLICY);
    let proxy = folding(builder.imports(scene.imports(&["world"])))
        .build()
        .unwrap();
    assert_eq!(proxy.call("open_files", args![]).unwrap().i32().unwrap(), 1);
    let (mut round, mut written) = (0_i32, 0_i64);
    let one = || {
        let number = |export: &str| proxy.call(export, args![]).unwrap().i64().unwrap();
        written += 9;
        let line = 10_000_000 + i64::from(round);
        assert_eq!(
            proxy.call("record", args![line]).unwrap().i64().unwrap(),
            written
        );
        number("read_next");
        number("now");
        number("random_number");
        proxy.call("waste", args![64 << 10]).unwrap();
        if round % 100 == 0 {
            proxy.call("make_file", args![round]).unwrap();
            proxy.call("say", args![round]).unwrap();
            proxy.call("trap", args![]).unwrap_err();
        }
        proxy.call("list", args![]).unwrap();
        let target = if round % 10 == 9 {
            other(engine)
        } else {
            engine
        };
        swap(&proxy, target.remembering());
        assert_eq!(
            (number("log_offset"), number("input_offset")),
            (written, 16.min(4 * i64::from(round + 1)))
        );
        round += 1;
    };
    nothing_remains(&proxy, one);
    assert_eq!(
        scene.text("log").lines().count(),
        usize::try_from(round).unwrap()
    );
    assert_eq!(
        scene.out.text().lines().count(),
        usize::try_from(round).unwrap().div_ceil(100)
    );
    assert_sound(&proxy);
}

/// A guest of Emscripten, whose memory grows through an import.
pub(crate) fn emscripten(engine: &EngineUnderTest) {
    let info = module_bytes::parse(WORDS).unwrap();
    let mut imports = Imports::new();
    ::emscripten::add_to(&mut imports, &info, None);
    imports.stub_missing_where(&info, |import| import.module.starts_with("wasi_"));
    let builder = engine.proxied(WORDS, WORDS_POLICY).imports(imports);
    let proxy = folding(builder).build().unwrap();
    let mut round = 0_usize;
    let one = || {
        if round.is_multiple_of(10) {
            proxy.call("words_add", args!["word"]).unwrap();
        }
        // Larger than the heap that the module begins with.
        assert_eq!(proxy.call("leak", args![1024]).unwrap().i32().unwrap(), 0);
        assert_eq!(
            proxy
                .call("words_longest", args![])
                .unwrap()
                .text()
                .unwrap(),
            "word"
        );
        let target = if round % 10 == 9 {
            other(engine)
        } else {
            engine
        };
        swap(&proxy, target.remembering());
        round += 1;
    };
    nothing_remains(&proxy, one);
    let joined = proxy.call("words_joined", args![]).unwrap();
    assert_eq!(
        joined.text().unwrap().split(' ').count(),
        round.div_ceil(10)
    );
    assert_sound(&proxy);
}

const VALUES: [&str; 2] = [
    include_str!("../../../tests/hosted/generations/js_slots.wat"),
    include_str!("../../../tests/hosted/generations/js_externrefs.wat"),
];

const VALUES_POLICY: &str = r#"
    [[export]]
    match = "{same,numbered,field,second,entries_of,spread,map_of,object_of,list_of}"
    role = "pure"
    args = ["js"]
    results = ["js"]
    [[export]]
    match = "len[t]"
    role = "pure"
    args = ["js:borrowed"]
    results = ["js"]
    [[export]]
    match = "is_tex[t]"
    role = "pure"
    args = ["js"]
    [[export]]
    match = "{empty_array,empty_object,empty_map,kept}"
    role = "pure"
    results = ["js"]
    [[export]]
    match = "keep"
    role = "mutate"
    args = ["js"]
"#;

/// Guests that take, keep and give JavaScript values, in both generations of the ABI.
pub(crate) fn values(engine: &EngineUnderTest) {
    let host = |engine: &EngineUnderTest| -> Arc<dyn Engine> {
        let inner = Arc::clone(engine.remembering());
        Arc::new(BindgenHost::new(inner, Options::default()))
    };
    let abis = 1 + usize::from(engine.capabilities().externref);
    for text in &VALUES[..abis] {
        let policy: Policy = VALUES_POLICY.parse().unwrap();
        let own = host(engine);
        let builder = Proxy::builder(Arc::clone(&own));
        let builder = builder
            .module(binary(text))
            .policy(policy)
            .imports(bindgen_host::system());
        let proxy = folding(builder).build().unwrap();
        let mut round = 0;
        let one = || {
            let value = format!(
                "{{\"n\":{round},\"list\":[1,\"two\",{{\"$bigint\":\"3\"}}],\"key\":null}}"
            );
            proxy.call("keep", args![Js(&value)]).unwrap();
            let same = proxy.call("same", args![Js(&value)]).unwrap();
            assert!(js::is_same(&js::encode(&same.js().unwrap()), &value));
            swap(&proxy, &own);
            let kept = proxy.call("kept", args![]).unwrap();
            assert!(js::is_same(&js::encode(&kept.js().unwrap()), &value));
            round += 1;
        };
        nothing_remains(&proxy, one);
        assert_sound(&proxy);
    }
}
