//! SQLite with a database file in a preopened folder.

use conformance::prelude::*;
use conformance::worlds::{DATABASE, Scene};
use proxy_core::args;

const POLICY: &str = r#"
strict = true
[module]
allocator = { alloc = "guest_alloc", free = "guest_free" }
[[export]]
match = "db_open"
role = "create"
results = ["handle:db"]
[[export]]
match = "db_close"
role = "free"
args = ["handle:db"]
[[export]]
match = "db_exec"
role = "mutate"
args = ["handle:db", "string"]
mutates = [0]
[[export]]
match = "db_number"
role = "mutate"
args = ["handle:db", "string"]
mutates = [0]
[[export]]
match = "leak"
role = "mutate"
[[export]]
match = "{_initialize,guest_*}"
role = "mutate"
"#;

const ROWS: i64 = 10_000;
const SWAPS: i64 = 20;

/// The text of a row, which tells it from all others.
fn text(row: i64) -> String {
    format!(
        "row {row} {:x}",
        row.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    )
}

#[apply(every_engine)]
fn every_row_is_in_the_file_once_after_swaps(engine: &EngineUnderTest) {
    let scene = Scene::new();
    let builder = engine.proxied(DATABASE, POLICY);
    let proxy = builder.imports(scene.imports(&["db"])).build().unwrap();
    let db = proxy.call("db_open", args![]).unwrap().handle().unwrap();
    let exec = |sql: &str| {
        let code = proxy.call("db_exec", args![db, sql]).unwrap();
        assert_eq!(code.i32().unwrap(), 0, "{sql}");
    };
    exec("PRAGMA synchronous = OFF");
    exec("PRAGMA journal_mode = TRUNCATE");
    exec(
        "CREATE TABLE log (id INTEGER PRIMARY KEY, text TEXT); CREATE INDEX by_text ON log (text)",
    );
    for row in 1..=ROWS {
        exec(&format!("INSERT INTO log VALUES ({row}, '{}')", text(row)));
        if row % (ROWS / SWAPS) == 0 {
            proxy.call("leak", args![64]).unwrap();
            proxy.prepare_standby().unwrap();
            proxy.swap().unwrap();
        }
    }
    let count = proxy.call("db_number", args![db, "SELECT count(*) FROM log"]);
    assert_eq!(count.unwrap().i64().unwrap(), ROWS);
    proxy.call("db_close", args![db]).unwrap();
    let info = proxy.debug_info();
    assert_eq!(
        (info.swaps, info.divergences),
        (SWAPS.cast_unsigned(), 0),
        "{info}"
    );

    let native = sqlite::open(scene.path("db")).unwrap();
    let mut check = native.prepare("PRAGMA integrity_check").unwrap();
    check.next().unwrap();
    assert_eq!(check.read::<String, _>(0).unwrap(), "ok");
    let mut rows = native
        .prepare("SELECT id, text FROM log ORDER BY id")
        .unwrap();
    for row in 1..=ROWS {
        assert_eq!(rows.next().unwrap(), sqlite::State::Row);
        assert_eq!(rows.read::<i64, _>(0).unwrap(), row);
        assert_eq!(rows.read::<String, _>(1).unwrap(), text(row));
    }
    assert_eq!(rows.next().unwrap(), sqlite::State::Done);
}
