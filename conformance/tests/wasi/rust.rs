//! A reactor in Rust: the order of its map comes from WASI's randomness.

use conformance::prelude::*;
use conformance::worlds::{RUST_REACTOR, Scene};
use proxy_core::{Proxy, args};
use std::fmt::Write as _;

const POLICY: &str = r#"
strict = true
[[export]]
match = "{get,order,now}"
role = "pure"
[[export]]
match = "{_initialize,open_log,set,leak}"
role = "mutate"
"#;

fn order(proxy: &Proxy) -> i64 {
    proxy.call("order", args![]).unwrap().i64().unwrap()
}

#[apply(every_engine)]
fn a_map_with_random_keys_is_the_same_after_swaps_and_on_every_engine(engine: &EngineUnderTest) {
    let scene = Scene::new();
    let builder = engine.proxied(RUST_REACTOR, POLICY);
    let proxy = builder.imports(scene.imports(&["map"])).build().unwrap();
    assert_eq!(proxy.call("open_log", args![]).unwrap().i32().unwrap(), 1);
    let mut log = String::new();
    for (round, target) in engines::all().into_iter().cycle().take(20).enumerate() {
        let round = i64::try_from(round).unwrap();
        for key in 0..10 {
            let (key, value) = (10 * round + key, round);
            writeln!(log, "{key} = {value}").unwrap();
            let size = proxy.call("set", args![key, value]).unwrap();
            assert_eq!(size.i64().unwrap(), i64::try_from(log.len()).unwrap());
        }
        proxy.call("leak", args![64]).unwrap();
        let before = order(&proxy);
        proxy
            .prepare_standby_on(Arc::clone(target.remembering()))
            .unwrap();
        proxy.swap().unwrap();
        assert_eq!(order(&proxy), before, "round {round} on {target:?}");
        assert!(proxy.call("now", args![]).unwrap().i64().unwrap() > 0);
    }
    assert_eq!(scene.text("log"), log);
    for key in 0..200_i64 {
        assert_eq!(
            proxy.call("get", args![key]).unwrap().i64().unwrap(),
            key / 10
        );
    }
    assert_eq!(proxy.debug_info().divergences, 0);
}
