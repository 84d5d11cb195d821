//! Makes the calls of a workload on whatever takes them, and notes what they gave.

use std::slice;
use std::time::{Duration, Instant};

use engine_api::{Val, ValType};
use proxy_core::{Arg, BareInstance, Error, Handle, Pinned, Pointer, Proxy, Results, Value};

use crate::bind::{BoundArg, BoundCall, BoundExpected, BoundStep, Scope};
use crate::digest::encode;

/// What takes calls.
pub trait Callee {
    /// Calls an export by name.
    ///
    /// # Errors
    ///
    /// As [`Proxy::call`].
    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error>;
}

impl Callee for &Proxy {
    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        Proxy::call(self, export, args)
    }
}

impl Callee for &Pinned<'_> {
    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        Pinned::call(self, export, args)
    }
}

impl Callee for BareInstance {
    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        BareInstance::call(self, export, args)
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Slot {
    /// Nothing so far.
    Empty,
    /// A result.
    Full(Value),
    /// The call that was to fill it failed; its line.
    Failed(usize),
}

/// What calls gave that count only once their scope has ended.
#[derive(Debug, Default)]
pub struct Batch {
    /// All results in order, as a digest takes them.
    pub results: Vec<u8>,
    /// Whether objects are among the results without their names, which differ where a state was built anew.
    pub anonymous: bool,
    /// How long each call took that returned.
    pub latencies: Vec<Duration>,
    /// Calls that returned something else than was expected, in words.
    pub failures: Vec<String>,
}

impl Batch {
    /// Forgets what is in it.
    pub fn clear(&mut self) {
        self.results.clear();
        self.latencies.clear();
        self.failures.clear();
    }
}

/// How a call ended that gave no results.
#[derive(Debug)]
pub struct Failure<'a> {
    /// Which, unless it is a scope as a whole.
    pub call: Option<&'a BoundCall>,
    /// Why.
    pub why: Why,
}

/// Why a call gave no results.
#[derive(Debug)]
pub enum Why {
    /// It was made, and failed.
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

/// Runs a pinned scope. If its generation dies it is run again from its start, so that nothing counts before it has
/// ended; what a caller waited for all of it is the first call's latency.
///
/// # Errors
///
/// The first call that failed. What is in the batch came before it.
pub fn perform_pinned<'a>(
    proxy: &Proxy,
    scope: &'a Scope,
    index: u64,
    slots: &mut [Slot],
    batch: &mut Batch,
) -> Result<(), Failure<'a>> {
    let before: Vec<Slot> = scope
        .fills
        .iter()
        .map(|slot| slots[*slot].clone())
        .collect();
    let started = Instant::now();
    proxy.pinned(|mut pinned| {
        batch.clear();
        for (slot, value) in scope.fills.iter().zip(&before) {
            slots[*slot].clone_from(value);
        }
        perform_scope(&mut pinned, scope, index, slots, batch, started)
    })
}

/// Runs what is in a scope once, on one instance. `started` is when its caller began to wait.
///
/// # Errors
///
/// The first call that failed. What is in the batch came before it.
pub fn perform_scope<'a>(
    callee: &mut impl Callee,
    scope: &'a Scope,
    index: u64,
    slots: &mut [Slot],
    batch: &mut Batch,
    started: Instant,
) -> Result<(), Failure<'a>> {
    scope_steps(
        callee,
        &scope.steps,
        index,
        slots,
        batch,
        &mut Some(started),
    )
}

fn scope_steps<'a>(
    callee: &mut impl Callee,
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
                perform(callee, call, index, slots, batch, started)?;
            }
            BoundStep::Repeat { times, steps } => {
                for turn in 0..*times {
                    scope_steps(callee, steps, turn, slots, batch, first)?;
                }
            }
            BoundStep::Pinned(_) => unreachable!("the parser refuses a scope in a scope"),
        }
    }
    Ok(())
}

/// Makes one call in the turn `index` of the innermost repeat, and notes what it gave. `started` is when its caller
/// began to wait.
///
/// # Errors
///
/// Why it gave nothing.
pub fn perform<'a>(
    callee: &mut impl Callee,
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
        callee
            .call(&call.export, &args)
            .map_err(|error| fail(Why::Proxy(error)))?
    };
    batch.latencies.push(started.elapsed());
    encode(&results, batch.anonymous, &mut batch.results);
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
