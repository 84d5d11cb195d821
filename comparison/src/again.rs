//! Starts this program again, as a child with one order.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::measured::Measured;
use crate::order::{Answer, Order, Task, Turn};

/// How this program is started again.
#[derive(Clone, Debug)]
pub struct Again {
    program: PathBuf,
    args: Vec<OsString>,
    engine: String,
    compiled: Option<PathBuf>,
}

impl Again {
    /// This program, with arguments that make it read an [`Order`].
    ///
    /// # Errors
    ///
    /// The system does not say where the program is.
    pub fn with_args(args: Vec<OsString>) -> Result<Self> {
        Ok(Self {
            program: env::current_exe().context("cannot find this program to start it again")?,
            args,
            engine: String::new(),
            compiled: None,
        })
    }

    /// Another child like this process, with the engine and the compiled module of its order.
    pub(crate) fn this(order: &Order) -> Result<Self> {
        Ok(Self {
            engine: order.engine.clone(),
            compiled: order.compiled.clone(),
            ..Self::with_args(env::args_os().skip(1).collect())?
        })
    }

    /// The same for an engine, with the path of the module that it compiled.
    pub(crate) fn on(&self, engine: &str, compiled: Option<&Path>) -> Self {
        Self {
            engine: engine.to_owned(),
            compiled: compiled.map(Path::to_owned),
            ..self.clone()
        }
    }

    /// Has a child make one turn. `on_start` gets its process id.
    pub(crate) fn turn(&self, task: Task, on_start: &mut dyn FnMut(u32)) -> Result<Turn> {
        match self.run(task, on_start, &mut |_| {})? {
            Answer::Turn(turn) => Ok(turn),
            Answer::Error(error) => bail!("{error}"),
            _ => bail!("the process answered something else"),
        }
    }

    /// Has a child run a strategy. `on_turn` gets the number of turns so far.
    pub(crate) fn measure(&self, task: Task, on_turn: &mut dyn FnMut(u64)) -> Result<Measured> {
        match self.run(task, &mut |_| {}, on_turn)? {
            Answer::Measured(measured) => Ok(*measured),
            Answer::Error(error) => bail!("{error}"),
            _ => bail!("the process answered something else"),
        }
    }

    fn run(
        &self,
        task: Task,
        on_start: &mut dyn FnMut(u32),
        on_turn: &mut dyn FnMut(u64),
    ) -> Result<Answer> {
        let order = Order {
            engine: self.engine.clone(),
            compiled: self.compiled.clone(),
            task,
        };
        let mut complaints = tempfile::tempfile().context("cannot make a temporary file")?;
        let mut child = Ended(
            Command::new(&self.program)
                .args(&self.args)
                // The variable would turn the proxy off, or bare instances into proxies.
                .env_remove("WASM_PROXY_ENABLED")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(complaints.try_clone()?)
                .spawn()
                .with_context(|| format!("cannot start `{}` again", self.program.display()))?,
        );
        on_start(child.0.id());
        let mut stdin = child.0.stdin.take().context("the child has no input")?;
        let mut line = serde_json::to_vec(&order)?;
        line.push(b'\n');
        // If the child ended at once, its exit status below says why.
        let _ = stdin.write_all(&line);
        // The child lives as long as this is open.
        let _stdin = stdin;
        let stdout = child.0.stdout.take().context("the child has no output")?;
        for line in BufReader::new(stdout).lines() {
            match serde_json::from_str(&line?).context("the child's answer cannot be read")? {
                Answer::Turns(turns) => on_turn(turns),
                answer => {
                    child.0.wait()?;
                    return Ok(answer);
                }
            }
        }
        let status = child.0.wait()?;
        complaints.seek(SeekFrom::Start(0))?;
        let mut said = Vec::new();
        complaints.take(4096).read_to_end(&mut said)?;
        Err(anyhow!(
            "the process ended without an answer ({status}): {}",
            String::from_utf8_lossy(&said).trim()
        ))
    }
}

/// A child process that is killed when its owner is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both do nothing if the child has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
