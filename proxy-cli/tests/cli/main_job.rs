//! `run` without a module: the prover that leaks.

use serde_json::Value;

use super::{Folder, Ran, engines, report, wasm_proxy};

/// Proofs lose 1 MiB each: with the smaller limit a bare instance makes 14 of them.
const PROOFS: &str = "40";
const SMALL_LIMIT: &str = "16MiB";

fn prove(args: &[&str]) -> (Ran, Value) {
    let folder = Folder::new();
    let path = folder.path("report.json");
    let report_path = path.display().to_string();
    let mut all = vec!["run", "--calls", PROOFS, "--report", &report_path];
    all.extend(args);
    let ran = wasm_proxy(&all);
    let report = report(&path);
    (ran, report)
}

fn number(report: &Value, pointer: &str) -> f64 {
    report
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number at {pointer} in {report:#}"))
}

#[track_caller]
fn assert_count(report: &Value, pointer: &str, count: u32) {
    let found = number(report, pointer);
    assert!(
        (found - f64::from(count)).abs() < 0.5,
        "{pointer} is {found}, not {count}: {report:#}"
    );
}

#[test]
fn every_engine_proves_on_through_swaps_and_gives_the_same_results() {
    // A bare instance with enough memory gives the right results.
    let (ran, bare) = prove(&["--without-proxy", "--memory-limit", "128MiB"]);
    ran.assert_code(0).assert_says("every call succeeded");
    assert_eq!(
        (&bare["mode"], bare["swaps"]["count"].as_u64()),
        (&"bare".into(), Some(0))
    );
    for engine in engines() {
        let (ran, report) = prove(&["--engine", engine, "--memory-limit", SMALL_LIMIT]);
        ran.assert_code(0).assert_says("every call succeeded");
        assert_eq!(report["engine"], engine);
        assert_eq!(report["result_digest"], bare["result_digest"], "{engine}");
        assert_count(&report, "/calls/total", 4 * 40 + 6);
        assert_count(&report, "/calls/failed", 0);
        assert!(number(&report, "/swaps/count") >= 1.0, "{report:#}");
        assert!(number(&report, "/swaps/pause_us/max") > 0.0, "{report:#}");
        assert!(number(&report, "/swaps/prepare_ms/p50") > 0.0, "{report:#}");
        assert!(number(&report, "/latency_us/p99") > number(&report, "/latency_us/p50"));
        assert_count(&report, "/replay/diverged", 0);
        let entries = number(&report, "/replay/entries");
        assert!(entries >= 3.0 && (number(&report, "/replay/verified") - entries).abs() < 0.5);
        let memory = |what| number(&report, &format!("/memory_mib/{what}"));
        assert!((memory("limit") - 16.0).abs() < 0.01);
        assert!(memory("peak") <= 16.0 && memory("peak") > memory("baseline"));
        assert!(
            (memory("after_swap_max") / memory("baseline") - 1.0).abs() < 0.05,
            "{report:#}"
        );
        if cfg!(target_os = "linux") {
            assert!(memory("rss_peak") >= memory("rss_start") && memory("rss_end") > 0.0);
        }
        // Not a terminal: plain lines, one for each swap.
        ran.assert_says("swap 1 (")
            .assert_says("generation 2 serves");
    }
}

#[test]
fn a_bare_instance_dies_of_memory_and_the_report_says_where() {
    let (ran, report) = prove(&["--without-proxy", "--memory-limit", SMALL_LIMIT]);
    ran.assert_code(1)
        .assert_says("died at call")
        .assert_says("ran out of memory")
        .assert_says("run it again without --without-proxy");
    let died_at = number(&report, "/died_at_call");
    assert!(died_at > 4.0 && died_at < 166.0, "{report:#}");
    assert!((number(&report, "/calls/total") - died_at).abs() < 0.5);
    assert_count(&report, "/calls/failed", 1);
}
