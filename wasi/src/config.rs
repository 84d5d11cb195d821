//! What a guest sees of the world.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What a guest sees of the world. By default nothing: no arguments, an empty environment, no
/// folders, an empty input, and output that goes nowhere. Clocks and randomness are the system's.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The arguments, the program's name first.
    pub args: Vec<String>,
    /// The environment. The host's own variables are not in it unless they are given here.
    pub env: Vec<(String, String)>,
    /// The folders that the guest may open files in.
    pub preopens: Vec<Preopen>,
    /// Where its standard input comes from.
    pub stdin: Input,
    /// Where its standard output goes.
    pub stdout: Output,
    /// Where its standard error goes.
    pub stderr: Output,
}

/// A folder of the host that a guest finds open when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preopen {
    /// The folder of the host.
    pub host: PathBuf,
    /// The name that the guest knows it by.
    pub guest: String,
    /// What the guest may do there.
    pub access: Access,
}

/// What a guest may do in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everything that the host's user may.
    #[default]
    ReadWrite,
    /// Nothing that changes a file, a folder or their times: such calls give `EPERM`.
    ReadOnly,
}

/// Where a guest's standard input comes from.
#[derive(Clone, Debug, Default)]
pub enum Input {
    /// Nowhere: it is at its end.
    #[default]
    Empty,
    /// The standard input of this process.
    Inherit,
    /// These bytes, and then its end.
    Bytes(Vec<u8>),
}

/// Where a guest's output goes.
#[derive(Clone, Default)]
pub enum Output {
    /// Nowhere.
    #[default]
    Discard,
    /// To the same stream of this process.
    Inherit,
    /// Here. What a replaying standby printed before does not come again.
    Writer(Arc<Mutex<dyn Write + Send>>),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Output::Discard => "Discard",
            Output::Inherit => "Inherit",
            Output::Writer(_) => "Writer",
        })
    }
}

/// A writer that others have too.
pub(crate) struct SharedWriter(pub(crate) Arc<Mutex<dyn Write + Send>>);

impl Write for SharedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        writer.flush()
    }
}
