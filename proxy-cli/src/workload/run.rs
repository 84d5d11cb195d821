//! Runs a workload: makes its calls, measures and compares them.

mod digest;

use std::mem;
use std::ops::ControlFlow;
use std::slice;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use proxy_core::{Arg, Error, Handle, Pinned, Pointer, Proxy, Value};

use super::bind::{Bound, BoundArg, BoundCall, BoundExpected, BoundStep, Scope};
use digest::{encode, tag};

use crate::failure::is_wrong_input;
use crate::observed::{self, Observed};
use engine_api::{Val, ValType};

/// How many errors are kept in words.
const ERRORS_KEPT: usize = 10;

/// A failure adds this to the score, a call that returns takes 1 off; at the maximum the run is given
/// up. So it goes on as long as fewer than one call in ten fails.
const FAILURE_SCORE: u64 = 10;
const FAILURE_SCORE_MAX: u64 = 1000;

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Calls made, each once, however often it was repeated.
    pub(crate) calls: u64,
    /// Calls that failed, or did not return what was expected.
    pub(crate) failed: u64,
    /// The first errors.
    pub(crate) errors: Vec<String>,
    /// How long calls took, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// The digest of all results in order.
    pub(crate) digest: blake3::Hash,
    /// The bare instance's end.
    pub(crate) died: Option<Death>,
    /// Whether the run was given up, because calls kept failing.
    pub(crate) given_up: bool,
    /// The active generation's memory when the first repeat began, in bytes.
    pub(crate) baseline: Option<u64>,
}

/// The end of a bare instance.
#[derive(Debug)]
pub(crate) struct Death {
    /// The number of the call, from 1.
    pub(crate) at_call: u64,
    /// What happened.
    pub(crate) cause: String,
}

/// Why a run ends before its last step.
enum Stop {
    Enough,
    Hopeless,
    Died(Death),
    WrongInput(anyhow::Error),
}

/// What a name stands for.
#[derive(Clone, Debug)]
enum Slot {
    Empty,
    Full(Value),
    /// The call that was to fill it failed; its line.
    Failed(usize),
}

/// What calls gave that count only once their scope has ended.
#[derive(Debug, Default)]
struct Batch {
    results: Vec<u8>,
    latencies: Vec<Duration>,
    failures: Vec<String>,
}

/// Where a call goes.
#[derive(Clone, Copy)]
enum Target<'a> {
    Proxy(&'a Proxy),
    Pinned(&'a Pinned<'a>),
}

/// How a call ended that gave no results.
struct Failure<'a> {
    call: Option<&'a BoundCall>,
    why: Why,
}

enum Why {
    Proxy(Error),
    /// An argument is not there, because of an earlier call.
    Argument(String),
}

impl From<Error> for Failure<'_> {
    fn from(error: Error) -> Self {
        Self {
            call: None,
            why: Why::Proxy(error),
        }
    }
}

struct Runner<'a> {
    proxy: &'a Proxy,
    file: &'a str,
    observed: &'a Observed,
    calls_max: u64,
    failure_score: u64,
    slots: Vec<Slot>,
    batch: Batch,
    hasher: blake3::Hasher,
    outcome: Outcome,
}

/// Runs a workload, at most `calls_max` calls of it.
///
/// # Errors
///
/// What the workload's author has to mend. A call that fails for another reason is counted.
pub(crate) fn run(
    workload: &Bound,
    proxy: &Proxy,
    watched: &Observed,
    calls_max: Option<u64>,
) -> anyhow::Result<Outcome> {
    let mut runner = Runner {
        proxy,
        file: &workload.name,
        observed: watched,
        calls_max: calls_max.unwrap_or(u64::MAX),
        failure_score: 0,
        slots: vec![Slot::Empty; workload.slots],
        batch: Batch::default(),
        hasher: blake3::Hasher::new(),
        outcome: Outcome {
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
        ControlFlow::Break(Stop::Died(death)) => runner.outcome.died = Some(death),
        ControlFlow::Break(Stop::Hopeless) => runner.outcome.given_up = true,
        ControlFlow::Break(Stop::Enough) | ControlFlow::Continue(()) => {}
    }
    runner.outcome.digest = runner.hasher.finalize();
    Ok(runner.outcome)
}

impl Runner<'_> {
    fn steps(&mut self, steps: &[BoundStep], index: u64) -> ControlFlow<Stop> {
        for step in steps {
            if self.outcome.calls >= self.calls_max {
                return ControlFlow::Break(Stop::Enough);
            }
            match step {
                BoundStep::Call(call) => self.single(call, index)?,
                BoundStep::Pinned(scope) => self.scope(scope, index)?,
                BoundStep::Repeat { times, steps } => {
                    if self.outcome.baseline.is_none() {
                        self.outcome.baseline = Some(self.proxy.memory_bytes());
                    }
                    for turn in 0..*times {
                        self.steps(steps, turn)?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn single(&mut self, call: &BoundCall, index: u64) -> ControlFlow<Stop> {
        let mut batch = mem::take(&mut self.batch);
        let target = Target::Proxy(self.proxy);
        let outcome = perform(
            target,
            call,
            index,
            &mut self.slots,
            &mut batch,
            Instant::now(),
        );
        let settled = self.settle(&mut batch, outcome, call.line, &call.fills);
        batch.clear();
        self.batch = batch;
        settled
    }

    /// Runs a pinned scope. If its generation dies it is run again from its start, so that nothing
    /// counts before it has ended; what a caller waited for all of it is the first call's latency.
    fn scope(&mut self, scope: &Scope, index: u64) -> ControlFlow<Stop> {
        let before: Vec<Slot> = scope
            .fills
            .iter()
            .map(|slot| self.slots[*slot].clone())
            .collect();
        let mut batch = mem::take(&mut self.batch);
        let slots = &mut self.slots;
        let started = Instant::now();
        let outcome = self.proxy.pinned(|pinned| {
            batch.clear();
            for (slot, value) in scope.fills.iter().zip(&before) {
                slots[*slot].clone_from(value);
            }
            let mut first = Some(started);
            pinned_steps(pinned, &scope.steps, index, slots, &mut batch, &mut first)
        });
        let settled = self.settle(&mut batch, outcome, scope.line, &scope.fills);
        batch.clear();
        self.batch = batch;
        settled
    }

    /// Counts what a call or a scope gave.
    fn settle(
        &mut self,
        batch: &mut Batch,
        outcome: Result<(), Failure<'_>>,
        line: usize,
        fills: &[usize],
    ) -> ControlFlow<Stop> {
        let mut stop = None;
        if let Err(Failure { call, why }) = outcome {
            for slot in fills {
                self.slots[*slot] = Slot::Failed(line);
            }
            let line = call.map_or(line, |call| call.line);
            let cause = match why {
                Why::Proxy(error) if is_wrong_input(&error) && !self.explains(&error) => {
                    let error = anyhow::Error::new(error).context(format!("{}:{line}", self.file));
                    return ControlFlow::Break(Stop::WrongInput(error));
                }
                Why::Proxy(error) => format!("{:#}", anyhow::Error::new(error)),
                Why::Argument(cause) => cause,
            };
            if self.is_dead() {
                let at_call = self.outcome.calls + batch.latencies.len() as u64 + 1;
                let cause = cause.clone();
                stop = Some(Stop::Died(Death { at_call, cause }));
            }
            self.failure_score += FAILURE_SCORE;
            if self.failure_score >= FAILURE_SCORE_MAX && stop.is_none() {
                stop = Some(Stop::Hopeless);
            }
            batch.failures.push(format!("line {line}: {cause}"));
            batch.results.push(tag::FAILED);
            // The one that failed; those that returned before it in its scope follow.
            self.outcome.calls += 1;
        }
        self.failure_score = self
            .failure_score
            .saturating_sub(batch.latencies.len() as u64);
        self.count(batch);
        stop.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }

    fn count(&mut self, batch: &mut Batch) {
        self.hasher.update(&batch.results);
        self.outcome.calls += batch.latencies.len() as u64;
        for latency in &batch.latencies {
            let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
            self.outcome.latency.saturating_record(nanos);
        }
        self.outcome.failed += batch.failures.len() as u64;
        let room = ERRORS_KEPT.saturating_sub(self.outcome.errors.len());
        self.outcome
            .errors
            .extend(batch.failures.drain(..).take(room));
        self.observed
            .note_calls(self.outcome.calls, self.outcome.failed);
        self.observed.note_memory(self.proxy.memory_bytes());
    }

    /// Whether an earlier failure explains an error that otherwise the workload's author has to mend: what
    /// a call needs is not there because its creation failed.
    fn explains(&self, error: &Error) -> bool {
        matches!(error, Error::Needs { .. }) && self.outcome.failed > 0
    }

    /// Whether this is a bare instance, and dead.
    fn is_dead(&self) -> bool {
        !self.proxy.is_enabled() && self.proxy.debug_info().tainted.is_some()
    }
}

impl Batch {
    fn clear(&mut self) {
        self.results.clear();
        self.latencies.clear();
        self.failures.clear();
    }
}

fn pinned_steps<'a>(
    pinned: &Pinned<'_>,
    steps: &'a [BoundStep],
    index: u64,
    slots: &mut [Slot],
    batch: &mut Batch,
    first: &mut Option<Instant>,
) -> Result<(), Failure<'a>> {
    for step in steps {
        match step {
            BoundStep::Call(call) => {
                let started = first.take().unwrap_or_else(Instant::now);
                perform(Target::Pinned(pinned), call, index, slots, batch, started)?;
            }
            BoundStep::Repeat { times, steps } => {
                for turn in 0..*times {
                    pinned_steps(pinned, steps, turn, slots, batch, first)?;
                }
            }
            BoundStep::Pinned(_) => unreachable!("the parser refuses a scope in a scope"),
        }
    }
    Ok(())
}

/// Makes one call, and notes what it gave.
fn perform<'a>(
    target: Target<'_>,
    call: &'a BoundCall,
    index: u64,
    slots: &mut [Slot],
    batch: &mut Batch,
    started: Instant,
) -> Result<(), Failure<'a>> {
    let fail = |why| Failure {
        call: Some(call),
        why,
    };
    let missing = |cause| fail(Why::Argument(format!("`{}`: {cause}", call.export)));
    let results = {
        let lists = call
            .args
            .iter()
            .filter_map(|arg| List::of(arg, slots).transpose())
            .collect::<Result<Vec<_>, _>>()
            .map_err(missing)?;
        let mut lists = lists.iter();
        let args = call
            .args
            .iter()
            .map(|arg| arg_of(arg, index, slots, &mut lists))
            .collect::<Result<Vec<_>, _>>()
            .map_err(missing)?;
        let results = match target {
            Target::Proxy(proxy) => proxy.call(&call.export, &args),
            Target::Pinned(pinned) => pinned.call(&call.export, &args),
        };
        results.map_err(|error| fail(Why::Proxy(error)))?
    };
    batch.latencies.push(started.elapsed());
    encode(&results, &mut batch.results);
    if let Some(expect) = &call.expect
        && let Some(difference) = difference(expect, results.as_slice())
    {
        let failure = format!(
            "line {}: `{}` returned {difference}",
            call.line, call.export
        );
        batch.failures.push(failure);
    }
    for (slot, value) in call.fills.iter().zip(results.into_vec()) {
        slots[*slot] = Slot::Full(value);
    }
    Ok(())
}

/// A list that one argument borrows.
enum List {
    Handles(Vec<Handle>),
    Pointers(Vec<Pointer>),
}

impl List {
    /// The list that an argument is, if it is one.
    fn of(arg: &BoundArg, slots: &[Slot]) -> Result<Option<Self>, String> {
        Ok(Some(match arg {
            BoundArg::Handles(names) => {
                Self::Handles(gathered(names, slots, |value| match value {
                    Value::Handle(handle) => Some(*handle),
                    _ => None,
                })?)
            }
            BoundArg::Pointers(names) => {
                Self::Pointers(gathered(names, slots, |value| match value {
                    Value::Pointer(pointer) => Some(*pointer),
                    _ => None,
                })?)
            }
            _ => return Ok(None),
        }))
    }
}

/// What is in the slots of a list. The binder checked the kinds, so that what is none of it is null.
fn gathered<T>(
    names: &[(usize, String)],
    slots: &[Slot],
    pick: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<T>, String> {
    let item = |(slot, name): &(usize, String)| {
        pick(value_in(&slots[*slot], name)?).ok_or_else(|| null(name))
    };
    names.iter().map(item).collect()
}

fn null(name: &str) -> String {
    format!("`{name}` is null: the call that named it gave nothing")
}

fn value_in<'a>(slot: &'a Slot, name: &str) -> Result<&'a Value, String> {
    match slot {
        Slot::Full(value) => Ok(value),
        Slot::Failed(line) => Err(format!("there is no `{name}`, because line {line} failed")),
        Slot::Empty => Err(format!("no call has filled `{name}` so far")),
    }
}

fn arg_of<'a>(
    arg: &'a BoundArg,
    index: u64,
    slots: &'a [Slot],
    lists: &mut slice::Iter<'a, List>,
) -> Result<Arg<'a>, String> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "the binder checked that the last turn fits the type"
    )]
    Ok(match arg {
        BoundArg::Val(val) => Arg::Val(val.clone()),
        BoundArg::Bytes(bytes) => Arg::Bytes(bytes),
        BoundArg::Text(text) => Arg::Text(text),
        BoundArg::Index(ValType::I32) => Arg::Val(Val::from(index as u32)),
        BoundArg::Index(ValType::F32) => Arg::Val(Val::from(index as f32)),
        BoundArg::Index(ValType::F64) => Arg::Val(Val::from(index as f64)),
        BoundArg::Index(_) => Arg::Val(Val::from(index)),
        BoundArg::Slot(slot, name) => value_in(&slots[*slot], name)?
            .as_arg()
            .ok_or_else(|| null(name))?,
        BoundArg::Handles(_) | BoundArg::Pointers(_) => match lists.next() {
            Some(List::Handles(handles)) => Arg::Handles(handles),
            Some(List::Pointers(pointers)) => Arg::Pointers(pointers),
            None => unreachable!("every list was gathered"),
        },
    })
}

/// What is other than expected, in words.
fn difference(expect: &[BoundExpected], results: &[Value]) -> Option<String> {
    let differs = |(expected, got): &(&BoundExpected, &Value)| match (expected, got) {
        (BoundExpected::Val(expected), Value::Val(got)) => expected != got,
        (BoundExpected::Bytes(expected), Value::Bytes(got)) => expected != got,
        (BoundExpected::Text(expected), Value::Text(got)) => expected != got,
        (BoundExpected::Null, Value::Null) => false,
        _ => true,
    };
    let (expected, got) = expect.iter().zip(results).find(differs)?;
    let expected = match expected {
        BoundExpected::Val(val) => show_val(val),
        BoundExpected::Bytes(bytes) => show_bytes(bytes),
        BoundExpected::Text(text) => format!("{text:?}"),
        BoundExpected::Null => "null".to_owned(),
    };
    let got = match got {
        Value::Val(val) => show_val(val),
        Value::Handle(handle) => format!("handle {handle}"),
        Value::Null => "null".to_owned(),
        Value::Bytes(bytes) => show_bytes(bytes),
        Value::Text(text) => format!("{text:?}"),
        Value::Pointer(_) => "a pointer".to_owned(),
    };
    Some(format!("{got}, expected was {expected}"))
}

fn show_val(val: &Val) -> String {
    match val {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        other => format!("{other:?}"),
    }
}

fn show_bytes(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(16)];
    let more = if shown.len() < bytes.len() { ".." } else { "" };
    format!("{} bytes {shown:02x?}{more}", bytes.len())
}
