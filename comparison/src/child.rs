//! One strategy in a process of its own: the front end's program again, as a child.
//!
//! A child gets the arguments of its parent and a mark, so it makes the same [`Job`]. It reads its
//! [`Order`] from standard input, ends when standard input ends, and answers with lines of JSON on
//! standard output.

use std::io::{self, Write};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use engine_api::{Engine, Precompiled};
use proxy_core::with_causes;

use crate::Job;
pub use crate::again::Again;
use crate::measure::{digest, measure};
pub use crate::order::Order;
use crate::order::{Answer, Task, Turn};
use crate::setup::Setup;

/// How often a child reports its progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

impl Order {
    /// Reads the order of this process. The front end makes the engine that it names, and
    /// [executes](Order::execute) it.
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
        // However the parent ends, the system closes this pipe. Then nobody needs the figures.
        thread::Builder::new()
            .name("parent".to_owned())
            .spawn(|| {
                let _ = io::copy(&mut io::stdin(), &mut io::sink());
                process::exit(1);
            })
            .context("cannot start the thread that watches the parent")?;
        Ok(order)
    }

    /// Carries out the order and answers. Failures are answers too.
    ///
    /// # Errors
    ///
    /// The parent is gone.
    pub fn execute(&self, job: Result<Job>, engine: Result<Arc<dyn Engine>>) -> Result<()> {
        let outcome = job.and_then(|job| self.answer(job, engine?));
        say(&outcome.unwrap_or_else(|error| Answer::Error(with_causes(&*error))))
    }

    fn answer(&self, job: Job, engine: Arc<dyn Engine>) -> Result<Answer> {
        let compiled = self.compiled.as_deref();
        let compiled = compiled.map(Precompiled::from_private_file).transpose()?;
        let setup = Setup::new(job, engine, compiled.as_ref())?;
        drop(compiled);
        match self.task {
            Task::Turn { index } => {
                let mut results = Vec::new();
                let mut live = setup.instance()?;
                let outcome = setup.turn(&mut live, index, &mut results);
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
                    &setup,
                    strategy,
                    (turns_max, Duration::from_millis(time_max_ms)),
                    &again,
                    &mut |turns| {
                        if said.elapsed() >= PROGRESS_INTERVAL {
                            said = Instant::now();
                            // The last answer finds out whether the parent is gone.
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
