//! SQLite in a guest and as a native library give the same, however often generations change.

use conformance::database::{QUERIES, SCHEMA, insertion, row_text};
use conformance::prelude::*;
use conformance::proxied::SQLITE;
use proxy_core::{CheckpointPolicy, Handle, Proxy, args};

/// Codes of SQLite: `SQLITE_ERROR` and `SQLITE_CONSTRAINT`.
const ERROR: i32 = 1;
const CONSTRAINT: i32 = 19;

const ROWS: u64 = 2000;
const ROWS_BETWEEN_SWAPS: u64 = 100;
/// What the guest loses with each row.
const LEAK_KIB: i32 = 64;
/// More than a generation needs that has just taken over.
const CLEAN_BYTES_MAX: u64 = 2 << 20;

fn native_rows(native: &sqlite::Connection, query: &str) -> String {
    let mut text = String::new();
    native
        .iterate(query, |row| {
            text += &row_text(row.iter().map(|(_, value)| *value));
            true
        })
        .unwrap();
    text
}

#[track_caller]
fn assert_same(proxy: &Proxy, db: Handle, native: &sqlite::Connection) {
    for query in QUERIES {
        let rows = proxy.call("db_query", args![db, query]).unwrap();
        assert_eq!(rows.text().unwrap(), native_rows(native, query), "{query}");
    }
}

/// Inserts rows into both, with a swap after every hundredth.
fn insert_and_swap(engine: &EngineUnderTest, checkpoints: CheckpointPolicy) {
    let native = sqlite::open(":memory:").unwrap();
    let limits = Limits {
        memory_bytes_max: Some(64 << 20),
        ..Limits::default()
    };
    let proxy = SQLITE
        .on(engine)
        .limits(limits)
        .checkpoints(checkpoints)
        .build()
        .unwrap();
    let db = proxy.call("db_open", args![]).unwrap().handle().unwrap();
    let execute = |sql: &str| {
        native.execute(sql).unwrap();
        let status = proxy.call("db_exec", args![db, sql]).unwrap();
        assert_eq!(status.i32().unwrap(), 0, "{sql}");
    };
    execute(SCHEMA);
    for row in 1..=ROWS {
        execute(&insertion(row));
        proxy.call("leak", args![LEAK_KIB]).unwrap();
        if row % ROWS_BETWEEN_SWAPS == 0 {
            proxy.prepare_standby().unwrap();
            proxy.swap().unwrap();
            let bytes = proxy.memory_bytes();
            assert!(bytes <= CLEAN_BYTES_MAX, "{bytes} bytes after row {row}");
            assert_same(&proxy, db, &native);
        }
    }
    let info = proxy.debug_info();
    let swaps = ROWS / ROWS_BETWEEN_SWAPS;
    assert_eq!(
        (info.swaps, info.emergencies, info.divergences),
        (swaps, 0, 0),
        "{info}"
    );
    assert_eq!(info.checkpoints_rejected, 0, "{info}");
}

#[apply(every_engine)]
fn a_database_answers_as_the_native_one_after_swaps_from_checkpoints(engine: &EngineUnderTest) {
    insert_and_swap(engine, CheckpointPolicy::default());
}

#[apply(every_engine)]
fn a_database_answers_as_the_native_one_after_swaps_by_replay(engine: &EngineUnderTest) {
    insert_and_swap(engine, CheckpointPolicy::off());
}

#[apply(every_engine)]
fn a_statement_that_fails_replays_as_it_failed(engine: &EngineUnderTest) {
    let proxy = SQLITE.on(engine).build().unwrap();
    let db = proxy.call("db_open", args![]).unwrap().handle().unwrap();
    let execute = |sql: &str| {
        let status = proxy.call("db_exec", args![db, sql]).unwrap();
        status.i32().unwrap()
    };
    assert_eq!(execute(SCHEMA), 0);
    // The first row stays, as natively.
    let twice = "INSERT INTO log (id) VALUES (1); INSERT INTO log (id) VALUES (1)";
    assert_eq!(execute(twice), CONSTRAINT);
    assert_eq!(execute("INSERT INTO nothing VALUES (1)"), ERROR);
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    let count = "SELECT count(*) FROM log";
    let rows = proxy.call("db_query", args![db, count]).unwrap();
    assert_eq!(rows.text().unwrap(), "1\n");
    let written = proxy
        .call("db_query", args![db, "DELETE FROM log"])
        .unwrap();
    assert!(
        written.text().is_err(),
        "a query that would write has no result"
    );
    assert_eq!(proxy.debug_info().divergences, 0);
}
