//! Names of results, and the files that the benches write and `bench-table` reads.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use comparison::machine;
use comparison::table::Table;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Group: one call.
pub const CALL: &str = "call";
/// Group: one call, of modules with WASI in their imports and without.
pub const WASI: &str = "call beside WASI";
/// Group: from the binary format to machine code.
pub const COMPILE: &str = "compile";
/// Group: from a precompiled module to machine code.
pub const LOAD: &str = "load";
/// Group: from machine code to an instance.
pub const INSTANTIATE: &str = "instantiate";
/// Group: the same, and its memory given back.
pub const INSTANTIATE_DROP: &str = "instantiate and drop";
/// Group: an object that takes long to compute, and the same from bytes.
pub const SRS: &str = "parameters for 2^8 rows";

/// Group: the calls that make a circuit's gates, and their replay.
pub const REPLAY: &str = "64,000 wires and gates";

/// All groups, in the order of the tables.
pub const GROUPS: [&str; 8] = [
    CALL,
    WASI,
    COMPILE,
    LOAD,
    INSTANTIATE,
    INSTANTIATE_DROP,
    SRS,
    REPLAY,
];

/// Rows of the group [`CALL`].
pub mod call {
    /// The runtime's own typed call of an addition.
    pub const NATIVE: &str = "native, typed";
    /// The same through `engine_api::Caller::call`.
    pub const TRAIT: &str = "engine contract";
    /// The same with a limit of a minute on every call.
    pub const TRAIT_DEADLINE: &str = "engine contract, deadline";
    /// Through the proxy, types resolved once.
    pub const PURE_TYPED: &str = "proxy, pure, typed";
    /// Through the proxy, by name.
    pub const PURE: &str = "proxy, pure, dynamic";
    /// As [`PURE_TYPED`], with an object as the argument; the guest reads four bytes of it.
    pub const HANDLE_TYPED: &str = "proxy, pure, typed, handle";
    /// The same by name.
    pub const HANDLE: &str = "proxy, pure, dynamic, handle";
    /// The reading of a proof, by name: a pure call that returns a buffer of kilobytes.
    pub const BUFFER_PROOF: &str = "proxy, pure, dynamic, a proof's bytes";
    /// A pure call by name that returns a buffer of 1 MiB, which the guest has ready.
    pub const BUFFER_MIB: &str = "proxy, pure, dynamic, 1 MiB returned";
    /// A pinned scope with one call by name.
    pub const PINNED: &str = "proxy, pinned scope, one call";
    /// An addition that is journaled, types resolved once.
    pub const JOURNALED_TYPED: &str = "proxy, journaled, typed";
    /// The same by name.
    pub const JOURNALED: &str = "proxy, journaled, dynamic";
    /// As [`PURE_TYPED`], while another thread makes the same calls through another proxy.
    pub const PURE_BESIDE: &str = "proxy, pure, typed, beside a thread on another proxy";
    /// As [`JOURNALED_TYPED`], while another thread makes the same calls through another proxy.
    pub const JOURNALED_BESIDE: &str = "proxy, journaled, typed, beside a thread on another proxy";
    /// Two journaled calls, which make an object and free it, with their share of compaction.
    pub const CREATE_FREE: &str = "proxy, create and free";
}

/// Rows of the group [`WASI`]: three ways of calling, each on three compositions.
pub mod wasi {
    use super::call;

    /// Ways of calling, as in the group [`super::CALL`].
    pub const WAYS: [&str; 3] = [call::TRAIT, call::PURE_TYPED, call::JOURNALED_TYPED];

    /// What is in the imports, and whether the module asks for it. The first one is the measure.
    pub const COMPOSITIONS: [&str; 3] = [
        "no WASI",
        "WASI given, not imported",
        "WASI imported, not called",
    ];

    /// The name of a row.
    #[must_use]
    pub fn row(way: &str, composition: &str) -> String {
        format!("{way}; {composition}")
    }
}

/// Rows of the groups about modules.
pub mod module {
    /// One function that does nothing, one page.
    pub const TINY: &str = "tiny";
    /// The prover guest, 240 KB of wasm.
    pub const PROVER: &str = "prover";
}

/// Rows of the group [`SRS`].
pub mod srs {
    /// The parameters are for `2^K` rows.
    pub const K: u32 = 8;
    /// A process calls for them, and computes them.
    pub const CALL_COMPUTED: &str = "first call, computed";
    /// A process calls for them, and an earlier one has left them in a directory.
    pub const CALL_READ: &str = "first call after a restart, from the directory";
    /// A standby is prepared that computes them.
    pub const PREPARE_COMPUTED: &str = "standby, computed";
    /// A standby is prepared that reads them.
    pub const PREPARE_READ: &str = "standby, from the artifact";
}

/// Rows of the group [`REPLAY`].
pub mod replay {
    /// The calls alone, through `engine_api::Instance::call_numbers`.
    pub const CALLS: &str = "the calls, engine contract";
    /// The calls by name and by policy, on an instance without a proxy.
    pub const BARE: &str = "the calls, bare instance";
    /// The calls through a proxy, which journals them.
    pub const JOURNALED: &str = "the calls, proxy";
    /// A standby to which the journal is applied: compaction, instance and replay.
    pub const STANDBY: &str = "standby, by replay";
}

/// All rows, in the order of the tables.
pub const ROWS: [&str; 25] = [
    call::NATIVE,
    call::TRAIT,
    call::TRAIT_DEADLINE,
    call::PURE_TYPED,
    call::PURE_BESIDE,
    call::PURE,
    call::HANDLE_TYPED,
    call::HANDLE,
    call::BUFFER_PROOF,
    call::BUFFER_MIB,
    call::PINNED,
    call::JOURNALED_TYPED,
    call::JOURNALED_BESIDE,
    call::JOURNALED,
    call::CREATE_FREE,
    module::TINY,
    module::PROVER,
    srs::CALL_COMPUTED,
    srs::CALL_READ,
    srs::PREPARE_COMPUTED,
    srs::PREPARE_READ,
    replay::CALLS,
    replay::BARE,
    replay::JOURNALED,
    replay::STANDBY,
];

/// The folder of criterion's results, by criterion's own rules.
#[must_use]
pub fn folder() -> PathBuf {
    if let Some(home) = env::var_os("CRITERION_HOME") {
        return home.into();
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    target.join("criterion")
}

/// The folder of the results of the bench `pause`, one file per engine.
#[must_use]
pub fn latency_folder() -> PathBuf {
    folder().join("latency")
}

/// Reads a file that [`write_json`] wrote.
///
/// # Errors
///
/// The file cannot be read, or has another form.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "`{}` was not written by this version of the program: measure again",
            path.display()
        )
    })
}

/// Writes measurements as JSON.
///
/// # Errors
///
/// The file cannot be written.
pub fn write_json(path: &Path, measured: &impl Serialize) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec_pretty(measured)?;
    json.push(b'\n');
    fs::write(path, json).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Versions of the compiler and the runtimes, for the origin of figures.
#[must_use]
pub fn versions() -> BTreeMap<String, String> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock = fs::read_to_string(lock).unwrap_or_default();
    let rustc = machine::said("rustc", &["--version"]);
    let rustc = rustc.and_then(|said| Some(said.split(' ').nth(1)?.to_owned()));
    [
        ("Rust", rustc),
        ("wasmtime", machine::locked(&lock, "wasmtime")),
        ("Wasmer", machine::locked(&lock, "wasmer")),
    ]
    .into_iter()
    .filter_map(|(name, version)| Some((name.to_owned(), version?)))
    .collect()
}

/// A table whose first column has the title.
#[must_use]
pub fn table(title: &str, columns: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table::new(&[&[title], columns].concat(), rows)
}

/// A row of a table, with its name in the first column.
#[must_use]
pub fn named(name: &str, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(cells).collect()
}

/// How often the system has put this thread aside for another process, in involuntary context
/// switches. Where it does not say, never.
#[must_use]
pub fn put_aside() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// A duration with three significant digits.
#[must_use]
pub fn show_ns(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds.abs() {
        size if size < 999.5 => (nanoseconds, "ns"),
        size if size < 999.5e3 => (nanoseconds / 1e3, "µs"),
        size if size < 999.5e6 => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e9, "s"),
    };
    let digits = match value.abs() {
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::show_ns;

    #[test]
    fn durations_have_three_digits() {
        assert_eq!(show_ns(1.234), "1.23 ns");
        assert_eq!(show_ns(12.34), "12.3 ns");
        assert_eq!(show_ns(999.9), "1.00 µs");
        assert_eq!(show_ns(123_456.0), "123 µs");
        assert_eq!(show_ns(2.5e9), "2.50 s");
        assert_eq!(show_ns(-40.0), "-40.0 ns");
    }
}
