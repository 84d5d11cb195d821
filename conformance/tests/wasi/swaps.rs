//! A guest with open files, a folder, the clock and randomness, through swaps, traps and changes of
//! engine.

use std::fmt::Write as _;
use std::sync::Mutex;

use conformance::prelude::*;
use conformance::worlds::{Scene, WORLD, WORLD_POLICY};
use proxy_core::{CallError, Error as ProxyError, Event, Proxy, args};

const SWAPS: i32 = 100;

fn number(proxy: &Proxy, export: &str) -> i64 {
    proxy.call(export, args![]).unwrap().i64().unwrap()
}

/// A scene with an input of the numbers from 0, as the guest reads it.
fn scene(inputs: u32) -> Scene {
    let scene = Scene::new();
    let numbers: Vec<u8> = (0..inputs).flat_map(u32::to_le_bytes).collect();
    scene.put("input", &numbers);
    scene
}

fn proxy(engine: &EngineUnderTest, scene: &Scene) -> Proxy {
    let builder = engine.proxied(WORLD, WORLD_POLICY);
    let proxy = builder.imports(scene.imports(&["world"])).build().unwrap();
    assert_eq!(proxy.call("open_files", args![]).unwrap().i32().unwrap(), 1);
    proxy
}

/// An engine of the other runtime, if it is compiled in, that the standbys of a round are made on.
fn other(engine: &EngineUnderTest) -> Option<&'static EngineUnderTest> {
    let runtime = engine.shared().id().runtime;
    let mut all = engines::all().into_iter();
    all.find(|one| one.shared().id().runtime != runtime)
}

#[apply(every_engine)]
fn a_hundred_swaps_do_every_file_operation_once_and_lose_no_offset(engine: &EngineUnderTest) {
    let scene = scene(2 * SWAPS as u32);
    let proxy = proxy(engine, &scene);
    let (mut log, mut said) = (String::new(), String::new());
    let mut last = 0;
    for round in 0..SWAPS {
        let line = i64::from(round) * 1_000_003;
        writeln!(log, "{line}").unwrap();
        let offset = proxy.call("record", args![line]).unwrap().i64().unwrap();
        assert_eq!(offset, i64::try_from(log.len()).unwrap());
        assert_eq!(number(&proxy, "read_next"), i64::from(2 * round));
        let files = proxy.call("make_file", args![round]).unwrap();
        assert_eq!(files.i32().unwrap(), 2 + round + 1);
        proxy.call("say", args![round]).unwrap();
        writeln!(said, "said {round}").unwrap();
        let now = number(&proxy, "now");
        assert!(now > last, "time goes on");
        last = now;
        number(&proxy, "random_number");
        proxy.call("leak", args![8]).unwrap();

        let before = (number(&proxy, "chain"), proxy.journal_digests());
        if round % 10 == 7 {
            // The change of engine, there and back.
            let target = if round % 20 == 7 {
                other(engine).unwrap_or(engine)
            } else {
                engine
            };
            proxy
                .prepare_standby_on(Arc::clone(target.remembering()))
                .unwrap();
        } else {
            proxy.prepare_standby().unwrap();
        }
        proxy.swap().unwrap();
        assert_eq!((number(&proxy, "chain"), proxy.journal_digests()), before);
        assert_eq!(
            number(&proxy, "log_offset"),
            i64::try_from(log.len()).unwrap()
        );
        assert_eq!(number(&proxy, "read_next"), i64::from(2 * round + 1));
        assert_eq!(number(&proxy, "input_offset"), i64::from(8 * (round + 1)));

        if round % 25 == 13 {
            let chain = number(&proxy, "chain");
            let error = proxy.call("trap", args![]).unwrap_err();
            let ProxyError::Call(CallError::Trapped { side_effects, .. }) = error else {
                panic!("{error}");
            };
            assert!(!side_effects, "it only looked at the clock");
            assert_eq!(number(&proxy, "chain"), chain);
        }
    }
    assert_eq!(number(&proxy, "read_next"), -1, "the input is at its end");
    assert_eq!(scene.text("log"), log);
    assert_eq!(scene.out.text(), said);
    let names = proxy.call("list", args![]).unwrap();
    let names = names.text().unwrap().clone();
    assert_eq!(names.split_whitespace().count(), 2 + SWAPS as usize);
    let info = proxy.debug_info();
    assert_eq!(info.divergences, 0, "{info}");
}

#[apply(every_engine)]
fn a_call_that_traps_after_it_wrote_is_not_made_again(engine: &EngineUnderTest) {
    let scene = scene(4);
    let proxy = proxy(engine, &scene);
    proxy.call("record", args![1_i64]).unwrap();
    let chain = number(&proxy, "chain");
    let error = proxy.call("trap_after_record", args![2_i64]).unwrap_err();
    let ProxyError::Call(CallError::Trapped {
        side_effects: true,
        retried: false,
        ..
    }) = error
    else {
        panic!("{error}");
    };
    assert_eq!(scene.text("log"), "1\n2\n", "once, and it stays");
    assert_eq!(
        number(&proxy, "chain"),
        chain,
        "the guest knows nothing of it"
    );
    proxy.call("record", args![3_i64]).unwrap();
    assert_eq!(scene.text("log"), "1\n2\n3\n");
}

#[apply(every_engine)]
fn a_replay_on_every_engine_gives_the_same_and_touches_no_file(engine: &EngineUnderTest) {
    let scene = scene(4);
    let proxy = proxy(engine, &scene);
    for line in 0..3_i64 {
        proxy.call("record", args![line]).unwrap();
        number(&proxy, "read_next");
        number(&proxy, "random_number");
        number(&proxy, "now");
        proxy.call("say", args![7]).unwrap();
    }
    let (log, said) = (scene.text("log"), scene.out.text());
    std::fs::remove_file(scene.path("input")).unwrap();
    for target in engines::all() {
        proxy.verify_on(Arc::clone(target.remembering())).unwrap();
    }
    assert_eq!((scene.text("log"), scene.out.text()), (log, said));
}

#[apply(every_engine)]
fn a_guest_that_exits_gives_its_code_once_and_the_state_lives_on(engine: &EngineUnderTest) {
    let scene = scene(4);
    let proxy = proxy(engine, &scene);
    proxy.call("record", args![1_i64]).unwrap();
    let chain = number(&proxy, "chain");
    let error = proxy.call("leave", args![42]).unwrap_err();
    let ProxyError::Call(CallError::Exited { code, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(code, 42);
    assert_eq!(number(&proxy, "chain"), chain);
    assert_eq!(number(&proxy, "log_offset"), 2, "the file is open");
}

#[apply(every_engine)]
fn a_sleeping_guest_is_woken_by_its_deadline(engine: &EngineUnderTest) {
    let scene = scene(4);
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = Arc::clone(&seen);
    let proxy = engine
        .proxied(WORLD, WORLD_POLICY)
        .imports(scene.imports(&["world"]))
        .limits(Limits {
            deadline: Some(Duration::from_millis(200)),
            ..Limits::default()
        })
        .on_event(move |event| {
            if let Event::GenerationTainted { .. } = event {
                heard.lock().unwrap().push(format!("{event:?}"));
            }
        })
        .build()
        .unwrap();
    proxy.call("sleep_ms", args![1]).unwrap();
    let begun = Instant::now();
    let error = proxy.call("sleep_ms", args![60_000]).unwrap_err();
    let ProxyError::Call(CallError::Trapped { trap, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(trap, Trap::DeadlineExceeded);
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert!(!seen.lock().unwrap().is_empty());
}

#[apply(every_engine)]
fn a_sleeping_guest_keeps_no_other_waiting(engine: &EngineUnderTest) {
    let scene = scene(4);
    let module = engine.remembering().compile(WORLD).unwrap();
    let imports = scene.imports(&["world"]);
    let make = || module.instantiate(&imports, &Limits::default()).unwrap();
    let (mut sleeper, mut other) = (make(), make());
    std::thread::scope(|scope| {
        let slept = scope.spawn(move || {
            let begun = Instant::now();
            let results = sleeper.invoke("sleep_ms", &[Val::I32(3000)]);
            assert_eq!(results.unwrap(), [Val::I32(0)]);
            begun.elapsed()
        });
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        assert_eq!(other.invoke("open_files", &[]).unwrap(), [Val::I32(1)]);
        assert_eq!(
            other.invoke("record", &[Val::I64(1)]).unwrap(),
            [Val::I64(2)]
        );
        let taken = begun.elapsed();
        let slept = slept.join().unwrap();
        assert!(slept >= Duration::from_secs(3), "{slept:?}");
        assert!(taken < slept, "{taken:?}, beside {slept:?}");
    });
}

#[apply(every_engine)]
fn what_wasi_gave_goes_where_the_block_lies_in_each_instance(engine: &EngineUnderTest) {
    let scene = scene(1000);
    let proxy = proxy(engine, &scene);
    for round in 0..20 {
        // Not replayed: in a standby every later block has another address.
        for _ in 0..=round {
            proxy.call("waste", args![1000 + 40 * round]).unwrap();
        }
        proxy.call("read_block", args![64]).unwrap();
        proxy.call("random_block", args![48]).unwrap();
        let before = (number(&proxy, "chain"), number(&proxy, "input_offset"));
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        let after = (number(&proxy, "chain"), number(&proxy, "input_offset"));
        assert_eq!(after, before, "round {round}");
    }
    for target in engines::all() {
        proxy.verify_on(Arc::clone(target.remembering())).unwrap();
    }
    assert_eq!(proxy.debug_info().divergences, 0);
}
