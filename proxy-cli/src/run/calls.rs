//! Runs a workload: makes its calls, measures and compares them.

use std::mem;
use std::ops::ControlFlow;
use std::time::Instant;

use hdrhistogram::Histogram;
use proxy_core::{CallError, Error, Proxy, with_causes};
use workload::FAILED;
use workload::bind::{Bound, BoundStep};
use workload::perform::{Batch, Failure, Variable, Why, perform, perform_scope};

use crate::failure::is_wrong_input;
use crate::observed::{self, Observed};

/// How many errors are kept as text.
const ERRORS_KEPT: usize = 10;

/// A failure adds this to the score, a call that returns takes 1 off; at the maximum the run is
/// given up. So it goes on as long as fewer than one call in ten fails.
const FAILURE_SCORE: u64 = 10;
const FAILURE_SCORE_MAX: u64 = 1000;

/// The figures of a run's calls.
#[derive(Debug)]
pub(crate) struct CallFigures {
    /// Calls made. A call that the proxy repeated counts once.
    pub(crate) calls: u64,
    /// Calls that failed, or that gave other results than expected.
    pub(crate) failed: u64,
    /// The first errors.
    pub(crate) errors: Vec<String>,
    /// Times of calls in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// The digest of all results in order.
    pub(crate) digest: blake3::Hash,
    /// The death of a bare instance.
    pub(crate) died: Option<Death>,
    /// Whether the run was given up, because calls kept failing.
    pub(crate) given_up: bool,
    /// The active generation's memory when the first repeat began, in bytes.
    pub(crate) baseline: Option<u64>,
}

/// When and why a bare instance died.
#[derive(Debug)]
pub(crate) struct Death {
    /// The number of the call, from 1.
    pub(crate) at_call: u64,
    pub(crate) cause: String,
}

/// Why a run ends before its last step.
enum Stop {
    Enough,
    Hopeless,
    Died(Death),
    WrongInput(anyhow::Error),
}

struct Runner<'a> {
    proxy: Proxy,
    file: &'a str,
    observed: &'a Observed,
    calls_max: u64,
    failure_score: u64,
    variables: Vec<Variable>,
    batch: Batch,
    hasher: blake3::Hasher,
    figures: CallFigures,
}

/// Runs a workload, at most `calls_max` calls of it.
///
/// # Errors
///
/// A fault of the workload or the policy. A call that fails for another reason is counted.
pub(crate) fn run(
    workload: &Bound,
    proxy: &Proxy,
    watched: &Observed,
    calls_max: Option<u64>,
) -> anyhow::Result<CallFigures> {
    let mut runner = Runner {
        proxy: proxy.clone(),
        file: &workload.name,
        observed: watched,
        calls_max: calls_max.unwrap_or(u64::MAX),
        failure_score: 0,
        variables: vec![Variable::Empty; workload.variables],
        batch: Batch::default(),
        hasher: blake3::Hasher::new(),
        figures: CallFigures {
            calls: 0,
            failed: 0,
            errors: Vec::new(),
            latency: observed::times()?,
            digest: blake3::hash(b""),
            died: None,
            given_up: false,
            baseline: None,
        },
    };
    match runner.steps(&workload.steps, 0) {
        ControlFlow::Break(Stop::WrongInput(error)) => {
            return Err(error.context("the workload was stopped"));
        }
        ControlFlow::Break(Stop::Died(death)) => runner.figures.died = Some(death),
        ControlFlow::Break(Stop::Hopeless) => runner.figures.given_up = true,
        ControlFlow::Break(Stop::Enough) | ControlFlow::Continue(()) => {}
    }
    runner.figures.digest = runner.hasher.finalize();
    Ok(runner.figures)
}

impl Runner<'_> {
    fn steps(&mut self, steps: &[BoundStep], index: u64) -> ControlFlow<Stop> {
        for step in steps {
            if self.figures.calls >= self.calls_max {
                return ControlFlow::Break(Stop::Enough);
            }
            let mut batch = mem::take(&mut self.batch);
            let (proxy, variables) = (&mut self.proxy, &mut self.variables);
            let settled = match step {
                BoundStep::Call(call) => {
                    let started = Instant::now();
                    let performed = perform(proxy, call, index, variables, &mut batch, started);
                    self.settle(&mut batch, performed, call.line, &call.fills)
                }
                BoundStep::Pinned(scope) => {
                    let performed = perform_scope(proxy, scope, index, variables, &mut batch);
                    self.settle(&mut batch, performed, scope.line, &scope.fills)
                }
                BoundStep::Repeat { times, steps } => {
                    if self.figures.baseline.is_none() {
                        self.figures.baseline = Some(self.proxy.memory_bytes());
                    }
                    (0..*times).try_for_each(|turn| self.steps(steps, turn))
                }
            };
            batch.clear();
            self.batch = batch;
            settled?;
        }
        ControlFlow::Continue(())
    }

    /// Counts a call or a scope that was made, and decides whether the run goes on.
    fn settle(
        &mut self,
        batch: &mut Batch,
        performed: Result<(), Failure<'_, Error>>,
        line: usize,
        fills: &[usize],
    ) -> ControlFlow<Stop> {
        let mut stop = None;
        if let Err(Failure { call, why }) = performed {
            for at in fills {
                self.variables[*at] = Variable::Failed(line);
            }
            let line = call.map_or(line, |call| call.line);
            let cause = match why {
                Why::Call(error) if is_wrong_input(&error) && !self.explains(&error) => {
                    let error = anyhow::Error::new(error).context(format!("{}:{line}", self.file));
                    return ControlFlow::Break(Stop::WrongInput(error));
                }
                Why::Call(error) => with_causes(&error),
                Why::Argument(cause) => cause,
            };
            if self.is_dead() {
                let at_call = self.figures.calls + batch.latencies.len() as u64 + 1;
                let cause = cause.clone();
                stop = Some(Stop::Died(Death { at_call, cause }));
            }
            self.failure_score += FAILURE_SCORE;
            if self.failure_score >= FAILURE_SCORE_MAX && stop.is_none() {
                stop = Some(Stop::Hopeless);
            }
            batch.failures.push(format!("line {line}: {cause}"));
            batch.results.push(FAILED);
            // The failed call. Those of its scope that returned before it are counted below.
            self.figures.calls += 1;
        }
        self.failure_score = self
            .failure_score
            .saturating_sub(batch.latencies.len() as u64);
        self.count(batch);
        stop.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }

    fn count(&mut self, batch: &mut Batch) {
        self.hasher.update(&batch.results);
        self.figures.calls += batch.latencies.len() as u64;
        for latency in &batch.latencies {
            let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
            self.figures.latency.saturating_record(nanos);
        }
        self.figures.failed += batch.failures.len() as u64;
        let room = ERRORS_KEPT.saturating_sub(self.figures.errors.len());
        self.figures
            .errors
            .extend(batch.failures.drain(..).take(room));
        self.observed
            .note_calls(self.figures.calls, self.figures.failed);
        self.observed.note_memory(self.proxy.memory_bytes());
    }

    /// Whether an earlier failure explains an error that is otherwise the workload's fault: a call
    /// needs an object, and the object is missing because its creation failed.
    fn explains(&self, error: &Error) -> bool {
        matches!(error, Error::Call(CallError::Needs { .. })) && self.figures.failed > 0
    }

    /// Whether this is a bare instance, and dead.
    fn is_dead(&self) -> bool {
        !self.proxy.is_enabled() && self.proxy.debug_info().tainted.is_some()
    }
}
