//! Worlds for WASI guests: a folder, and what was printed.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use engine_api::Imports;
use tempfile::TempDir;
use wasi::{Config, Input, Output, Preopen, Wasi};

/// The reactor of `guests/wasi/world.c`, and a policy for it.
pub const WORLD: &[u8] = include_bytes!("../../guests/prebuilt/wasi_world.wasm");

/// Everything that is journaled changes the chain.
pub const WORLD_POLICY: &str = r#"
strict = true
[module]
allocator = { alloc = "guest_alloc", free = "guest_free" }
[[export]]
match = "{list,greeting}"
role = "pure"
results = ["string"]
[[export]]
match = "{ready,chain,log_offset,input_offset,sleep_ms,waste}"
role = "pure"
[[export]]
match = "{open_files,record,read_next,read_block,random_block,make_file,now,random_number,say,leak,trap,trap_after_record,leave}"
role = "mutate"
[[export]]
match = "{_initialize,guest_*}"
role = "mutate"
"#;

/// The small programs of `guests/wasi/programs.c`.
pub const PROGRAMS: &[u8] = include_bytes!("../../guests/prebuilt/wasi_programs.wasm");

/// The same as a command, which prints what a tour through its exports gives: `guests/wasi/tour.c`.
pub const TOUR: &[u8] = include_bytes!("../../guests/prebuilt/wasi_tour.wasm");

/// The reactor in Rust of `guests/wasi/src/reactor.rs`.
pub const RUST_REACTOR: &[u8] = include_bytes!("../../guests/prebuilt/wasi_rust_reactor.wasm");

/// The database of `guests/wasi/database.c`.
pub const DATABASE: &[u8] = include_bytes!("../../guests/prebuilt/wasi_database.wasm");

/// What a guest has printed, which clones share.
#[derive(Clone, Debug, Default)]
pub struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    /// A stream that keeps what is written to it.
    #[must_use]
    pub fn output(&self) -> Output {
        Output::Writer(self.0.clone())
    }

    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A folder of the host that goes with this, and the streams of a guest.
#[derive(Debug)]
pub struct Scene {
    folder: TempDir,
    /// What the guest printed.
    pub out: Printed,
    /// What the guest printed to its standard error.
    pub err: Printed,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// An empty folder, and nothing printed.
    #[must_use]
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            out: Printed::default(),
            err: Printed::default(),
        }
    }

    /// A file in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file into the folder.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("a folder that can be written to");
    }

    /// The text of a file in the folder.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file of the guest")
    }

    /// What a guest sees: the folder as `/data`, one variable, one line of input.
    #[must_use]
    pub fn config(&self, args: &[&str]) -> Config {
        Config {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![("GREETING".to_owned(), "hello = world".to_owned())],
            preopens: vec![Preopen {
                host: self.folder.path().to_owned(),
                guest: "/data".to_owned(),
                access: wasi::Access::ReadWrite,
            }],
            stdin: Input::Bytes(b"a line of input\n".to_vec()),
            stdout: self.out.output(),
            stderr: self.err.output(),
        }
    }

    /// Imports for one proxy.
    #[must_use]
    pub fn imports(&self, args: &[&str]) -> Imports {
        imports(self.config(args))
    }
}

/// The imports of a world.
#[must_use]
pub fn imports(config: Config) -> Imports {
    let mut imports = Imports::new();
    let world = Wasi::new(config).expect("a world that can be made");
    world.add_to(&mut imports);
    imports
}
