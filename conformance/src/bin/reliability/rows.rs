//! The rows of the table. Each block is a row; a test that shows one is added to its block.

use crate::report::Measured;
use crate::tests::Test;
use crate::{Scale, acks, bounded, deaths, guests, kills, memory, replays, soak, swaps};

/// A promise, and what shows that it is kept.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) promise: &'static str,
    /// What is asked of every change.
    pub(crate) ci: &'static str,
    /// What is asked before a release.
    pub(crate) full: &'static str,
    pub(crate) measure: Option<fn(&Scale) -> Measured>,
    pub(crate) tests: &'static [Test],
    /// What of the promise nothing shows yet.
    pub(crate) open: Option<&'static str>,
    /// Why its figures are known to fall short, where they are.
    pub(crate) short: Option<&'static str>,
}

/// A test in a binary of tests.
const fn of(binary: &'static [&'static str], name: &'static str) -> Test {
    let full = &[];
    Test {
        target: binary,
        name,
        full,
    }
}

const CORE: &[&str] = &["--test", "proxy"];
const PROXIES: &[&str] = &["--test", "proxies"];
const ENGINES: &[&str] = &["--test", "engines"];
const DURABLE: &[&str] = &["--test", "durable"];
const PROCESSES: &[&str] = &["--test", "processes"];
const SUITE: &[&str] = &["--test", "suite"];
const CLI: &[&str] = &["--test", "cli"];
const LINEARIZABLE: &[&str] = &[
    "--manifest-path",
    "models/Cargo.toml",
    "--test",
    "linearizable",
];
const INTERLEAVINGS: &[&str] = &[
    "--manifest-path",
    "models/Cargo.toml",
    "--test",
    "interleavings",
];
const FUZZ: &[&str] = &["--manifest-path", "fuzz/Cargo.toml", "--test", "smoke"];
const LIBS: &[&str] = &["--lib"];

/// All rows, in the table's order.
pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "R1",
        promise: "swap exactness: no lost, doubled, wrong or reordered result",
        ci: "100k calls, 1k swaps, 8 clients, per engine: 0",
        full: "1M calls, 10k swaps, per engine: 0",
        measure: Some(swaps::exactness),
        tests: &[of(
            PROXIES,
            "swaps_under_eight_callers_lose_double_and_reorder_nothing",
        )],
        open: None,
        short: None,
    },
    Row {
        id: "R2",
        promise: "linearizable across swaps",
        ci: "500 histories: 0 violations; without the drain, found within 50",
        full: "5,000 histories",
        measure: None,
        tests: &[
            Test {
                target: LINEARIZABLE,
                name: "are_linearizable",
                full: &[("HISTORIES", "5000")],
            },
            of(LINEARIZABLE, "is_found_within_fifty_histories"),
        ],
        open: None,
        short: None,
    },
    Row {
        id: "R3",
        promise: "no bad interleaving in prepare, swap, drain, emergency, rollback",
        ci: "20k schedules; two callers and a swap exhausted",
        full: "1M schedules",
        measure: None,
        tests: &[Test {
            target: INTERLEAVINGS,
            name: "",
            full: &[("MODEL_SCHEDULES", "1000000")],
        }],
        open: None,
        short: None,
    },
    Row {
        id: "R4",
        promise: "kill -9 at any time loses nothing that was acknowledged",
        ci: "200 kills, and each point: 0 lost, no step by hand",
        full: "2,000 kills, 20 at each point",
        measure: Some(kills::kills),
        tests: &[
            of(DURABLE, "chains::"),
            Test {
                target: PROCESSES,
                name: "a_process_that_is_killed_loses_nothing_that_was_acknowledged",
                full: &[("JOURNAL_KILLS", "2000")],
            },
        ],
        open: None,
        short: None,
    },
    Row {
        id: "restart",
        promise: "from kill -9 to the first call served, from a checkpoint's file",
        ci: "64 MiB, 10,000 entries: p99 < 100 ms",
        full: "512 MiB, 100,000 entries: p99 < 100 ms",
        measure: Some(kills::restarts),
        tests: &[],
        open: None,
        short: None,
    },
    Row {
        id: "ack",
        promise: "a durable call of 128 callers costs its share of a flush",
        ci: "at most max(fdatasync / 50, 5 us) each",
        full: "at most max(fdatasync / 50, 5 us) each",
        measure: Some(acks::cost),
        tests: &[of(LIBS, "an_append_is_one_flush")],
        open: None,
        short: Some("waking a thread costs more than that: see docs/reliability.md"),
    },
    Row {
        id: "bounded",
        promise: "calls that only change the state leave memory and journal bounded",
        ci: "200k calls: file < 64 MiB; memory as high in the first half",
        full: "10 million calls: file < 64 MiB; memory as high in the first half",
        measure: Some(bounded::calls),
        tests: &[],
        open: None,
        short: None,
    },
    Row {
        id: "R5",
        promise: "loss of power at every write and flush",
        ci: "2k images: 0 acknowledged lost, 0 unopenable",
        full: "20k images",
        measure: None,
        tests: &[Test {
            target: LIBS,
            name: "crash_images",
            full: &[("JOURNAL_CRASH_IMAGES", "20000")],
        }],
        open: None,
        short: None,
    },
    Row {
        id: "R6",
        promise: "rot and tampering are found, or harmless",
        ci: "10k flipped bits, and whole records: 0 silent",
        full: "every bit",
        measure: None,
        tests: &[Test {
            target: LIBS,
            name: "damage",
            full: &[("JOURNAL_BIT_FLIPS", "all")],
        }],
        open: None,
        short: None,
    },
    Row {
        id: "R7",
        promise: "no room, I/O errors, open files, short writes",
        ci: "the Nth operation fails, for every N",
        full: "the Nth operation fails, for every N",
        measure: None,
        tests: &[
            of(LIBS, "failing"),
            of(PROCESSES, "a_file_without_room_refuses_and_loses_nothing"),
            of(
                CORE,
                "calls_that_find_the_disk_full_are_undone_and_refused_until_there_is_room",
            ),
            of(
                CORE,
                "a_failed_flush_stops_the_journal_and_not_the_pure_calls",
            ),
        ],
        open: None,
        short: None,
    },
    Row {
        id: "R8",
        promise: "no hostile guest ends the host or harms a neighbour",
        ci: "every hostile input, every engine: 0 exits, 0 panics, 0 hangs; neighbour p99 <= 2x",
        full: "every hostile input, every engine",
        measure: Some(guests::neighbour),
        tests: &[
            of(PROXIES, "hostile::a_process_survives_each_hostile_module"),
            of(
                PROXIES,
                "hostile::a_neighbour_loses_no_call_beside_hostile_modules",
            ),
            of(ENGINES, "hostile_modules"),
            of(CORE, "proxy::hostile"),
        ],
        open: None,
        short: None,
    },
    Row {
        id: "R9",
        promise: "a deadline ends every call, and fuel at one point",
        ci: "p99 <= 30 ms; the same point in 100 of 100",
        full: "p99 <= 30 ms; the same point in 100 of 100",
        measure: Some(guests::deadlines),
        tests: &[
            of(ENGINES, "deadlines"),
            of(ENGINES, "fuel"),
            of(ENGINES, "interrupter"),
        ],
        open: None,
        short: Some(
            "wasmtime looks at deadlines between instructions, and one fill of 1 GiB is one \
             instruction",
        ),
    },
    Row {
        id: "R10",
        promise: "memory returns after swaps",
        ci: "20 swaps of 128 MiB: PSS, slope <= 16 KiB per swap, handles exactly, peak",
        full: "1,000 swaps of 256 MiB: PSS, slope <= 16 KiB per swap, handles exactly, peak",
        measure: Some(memory::returns),
        tests: &[
            of(
                PROXIES,
                "a_thousand_swaps_of_64_mib_leave_the_process_as_it_was",
            ),
            of(
                PROXIES,
                "a_thousand_checkpointed_swaps_leave_the_process_as_it_was",
            ),
        ],
        open: None,
        short: None,
    },
    Row {
        id: "R11",
        promise: "an old instance is freed after its last call, which has a bound",
        ci: "<= 1 s, 20 times; a typed error at the drain timeout",
        full: "<= 1 s, 500 times",
        measure: Some(swaps::drain),
        tests: &[of(
            PROXIES,
            "a_call_that_never_ends_is_ended_at_the_drain_deadline",
        )],
        open: None,
        short: None,
    },
    Row {
        id: "R12",
        promise: "a generation that runs out of memory costs no acknowledged state",
        ci: "100 deaths per engine: 0 lost; serving again <= 2x a replay",
        full: "1,000 deaths per engine",
        measure: Some(deaths::of_memory),
        tests: &[
            of(
                CORE,
                "a_call_with_side_effects_is_not_repeated_and_leaves_nothing_behind",
            ),
            of(DURABLE, "generations_that_die_between_kills_lose_nothing"),
        ],
        open: None,
        short: None,
    },
    Row {
        id: "R13",
        promise: "a replay is faithful, and a divergence is found before the swap",
        ci: "200 journals on all engines; 100 planted divergences: all found",
        full: "2,000 journals on all engines; 100 planted divergences per engine: all found",
        measure: Some(replays::fidelity),
        tests: &[of(CORE, "proxy::divergence")],
        open: None,
        short: None,
    },
    Row {
        id: "R14",
        promise: "the official suite passes through the proxy as on the engine alone",
        ci: "all files of WebAssembly 2.0, again with a swap before each call",
        full: "all files of WebAssembly 2.0, again with a swap before each call",
        measure: None,
        tests: &[of(SUITE, "the_official_suite_passes")],
        open: None,
        short: None,
    },
    Row {
        id: "R15",
        promise: "a compacted journal makes the same state",
        ci: "1k random journals",
        full: "50k random journals",
        measure: None,
        tests: &[
            Test {
                target: LIBS,
                name: "replaying_the_compacted_journal_gives_the_same_objects",
                full: &[("PROPTEST_CASES", "50000")],
            },
            of(CORE, "every_history_ends_as_the_model_says"),
            of(PROXIES, "compaction_leaves_what_live_objects_need"),
        ],
        open: None,
        short: None,
    },
    Row {
        id: "R16",
        promise: "no storm of swaps; three failures open the breaker",
        ci: "state past the threshold: at most 1 swap",
        full: "state past the threshold: at most 1 swap",
        measure: Some(swaps::storms),
        tests: &[
            of(
                CORE,
                "failures_raise_the_threshold_back_off_and_open_the_breaker",
            ),
            of(
                CORE,
                "a_state_that_exceeds_the_budget_is_not_swapped_in_circles",
            ),
        ],
        open: None,
        short: None,
    },
    Row {
        id: "R17",
        promise: "switching off and on under load",
        ci: "100 flips per engine: 0 failed calls, no gap in the journal",
        full: "1,000 flips per engine",
        measure: Some(swaps::flips),
        tests: &[of(CORE, "flipping_the_switch_under_load_loses_nothing")],
        open: None,
        short: None,
    },
    Row {
        id: "R18",
        promise: "fuzzing finds nothing",
        ci: "60 s for each of 6 targets",
        full: "24 hours of a processor for each",
        measure: None,
        tests: &[Test {
            target: FUZZ,
            name: "",
            full: &[("FUZZ_INPUTS", "1000000")],
        }],
        open: Some(
            "these inputs are made from a seed; `fuzz/run.sh` follows coverage, for as long as it is told",
        ),
        short: None,
    },
    Row {
        id: "R19",
        promise: "mutants of journal, replay and swap are caught",
        ci: "bugs planted by hand: all caught by a named test",
        full: ">= 90 % caught, 0 missed in recovery and swap",
        measure: None,
        tests: &[of(INTERLEAVINGS, "every_planted_fault_is_found")],
        open: Some("cargo-mutants runs apart, and not on the journal: see docs/reliability.md"),
        short: None,
    },
    Row {
        id: "R20",
        promise: "journals of released formats stay readable",
        ci: "all golden files",
        full: "all golden files",
        measure: None,
        tests: &[of(LIBS, "golden"), of(CLI, "golden")],
        open: None,
        short: None,
    },
    Row {
        id: "R21",
        promise: "soak: a module that leaks all the time",
        ci: "12 s: 0 errors, counts as made",
        full: "1 h: 0 errors, counts as made",
        measure: Some(soak::soak),
        tests: &[],
        open: None,
        short: None,
    },
    Row {
        id: "R22",
        promise: "advisories, licences, bans and sources of what is depended on",
        ci: "cargo-deny clean, at most 3 exceptions with reasons",
        full: "cargo-deny clean, at most 3 exceptions with reasons",
        measure: None,
        tests: &[],
        open: Some("cargo-deny has a step of its own in .ci/run, where it is in this tree"),
        short: None,
    },
];
