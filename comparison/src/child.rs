//! One strategy in a process of its own: the front end's program again, as a child.
//!
//! A child is started with the arguments of its parent and a mark, so that it makes the same [`Job`]. It reads its
//! [`Order`] from standard input, ends when that does, and answers with JSON lines on standard output.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use engine_api::{Engine, Precompiled};
use serde::{Deserialize, Serialize};

use crate::kit::Kit;
use crate::measure::{Measured, digest, measure};
use crate::{Job, Strategy};

/// How often a child says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What a child is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The name of the engine.
    pub engine: String,
    /// Where the compiled module is, if the engine can keep it.
    compiled: Option<PathBuf>,
    task: Task,
}

/// What a child does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// Run a strategy.
    Measure {
        strategy: Strategy,
        turns_max: u64,
        time_max_ms: u64,
    },
    /// Build the state and make one turn.
    Turn { index: u64 },
}

/// What a child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// How many turns there were so far.
    Turns(u64),
    Measured(Box<Measured>),
    Turn(Turn),
    /// It cannot do what it is told, and why.
    Error(String),
}

/// What one turn in a process of its own gave.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// What it gave, or why it failed.
    pub(crate) outcome: Result<u64, String>,
    pub(crate) memory_bytes: u64,
}

impl Order {
    /// Reads the order of this process. The front end makes the engine of its name, and [executes](Order::execute) it.
    ///
    /// # Errors
    ///
    /// Standard input holds none: a person started the child by hand.
    pub fn read() -> Result<Self> {
        let mut line = String::new();
        io::stdin()
            .read_line(&mut line)
            .context("cannot read standard input")?;
        let order = serde_json::from_str(&line)
            .context("this is started by the comparison, and not by hand")?;
        // A parent that was ended in whatever way closes it, and nobody is there any more to be measured for.
        thread::Builder::new()
            .name("parent".to_owned())
            .spawn(|| {
                let _ = io::copy(&mut io::stdin(), &mut io::sink());
                process::exit(1);
            })
            .context("cannot start the thread that watches the parent")?;
        Ok(order)
    }

    /// Does what it says, and answers. What goes wrong is said to the parent.
    ///
    /// # Errors
    ///
    /// The parent is gone.
    pub fn execute(&self, job: Result<Job>, engine: Result<Arc<dyn Engine>>) -> Result<()> {
        let outcome = job.and_then(|job| self.answer(job, engine?));
        say(&outcome.unwrap_or_else(|error| Answer::Error(format!("{error:#}"))))
    }

    fn answer(&self, job: Job, engine: Arc<dyn Engine>) -> Result<Answer> {
        let compiled = self.compiled.as_deref();
        let compiled = compiled.map(Precompiled::from_private_file).transpose()?;
        let kit = Kit::new(job, engine, compiled.as_ref())?;
        drop(compiled);
        match self.task {
            Task::Turn { index } => {
                let mut results = Vec::new();
                let mut live = kit.instance()?;
                let outcome = kit.turn(&mut live, index, &mut results);
                Ok(Answer::Turn(Turn {
                    outcome: outcome
                        .map(|()| digest(&results))
                        .map_err(|ended| ended.cause),
                    memory_bytes: live.site.memory_bytes(),
                }))
            }
            Task::Measure {
                strategy,
                turns_max,
                time_max_ms,
            } => {
                let again = Again::this(self)?;
                let mut said = Instant::now();
                let measured = measure(
                    &kit,
                    strategy,
                    (turns_max, Duration::from_millis(time_max_ms)),
                    &again,
                    &mut |turns| {
                        if said.elapsed() >= PROGRESS_INTERVAL {
                            said = Instant::now();
                            // A parent that is gone is found out in the end.
                            let _ = say(&Answer::Turns(turns));
                        }
                    },
                )?;
                Ok(Answer::Measured(Box::new(measured)))
            }
        }
    }
}

fn say(answer: &Answer) -> Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()?;
    Ok(())
}

/// How this program is started again.
#[derive(Clone, Debug)]
pub struct Again {
    program: PathBuf,
    args: Vec<OsString>,
    engine: String,
    compiled: Option<PathBuf>,
}

impl Again {
    /// This program, with arguments under which it reads an [`Order`].
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

    /// The child that this process is.
    fn this(order: &Order) -> Result<Self> {
        Ok(Self {
            engine: order.engine.clone(),
            compiled: order.compiled.clone(),
            ..Self::with_args(env::args_os().skip(1).collect())?
        })
    }

    /// For an engine, with the module that it compiled.
    pub(crate) fn on(&self, engine: &str, compiled: Option<&Path>) -> Self {
        Self {
            engine: engine.to_owned(),
            compiled: compiled.map(Path::to_owned),
            ..self.clone()
        }
    }

    /// Has a child make one turn. `on_start` is told its id.
    pub(crate) fn turn(&self, task: Task, on_start: &mut dyn FnMut(u32)) -> Result<Turn> {
        match self.run(task, on_start, &mut |_| {})? {
            Answer::Turn(turn) => Ok(turn),
            Answer::Error(error) => bail!("{error}"),
            _ => bail!("the process answered something else"),
        }
    }

    /// Has a child run a strategy. `on_turn` is told how far it is.
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
                // It would switch the proxy off, or bare instances to it.
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
        // A child that ended at once says why below.
        let _ = stdin.write_all(&line);
        // As long as this is open, the child knows that it has a parent.
        let _stdin = stdin;
        let stdout = child.0.stdout.take().context("the child has no output")?;
        for line in BufReader::new(stdout).lines() {
            match serde_json::from_str(&line?).context("the child said what is no answer")? {
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

/// A child that does not outlive whoever waits for it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Of one that has ended, neither does anything.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
