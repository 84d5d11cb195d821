//! Makes the calls of a workload on any callee, and notes what they gave.

use std::slice;
use std::time::{Duration, Instant};

use engine_api::{Val, ValType};
use guest_calls::{Arg, Callee, Handle, Pointer, ScopedCallee, Value, js};

use crate::bind::{BoundArg, BoundCall, BoundStep, Scope, VariableRef};
use crate::digest::encode;

/// The value that a name stands for.
#[derive(Clone, Debug)]
pub enum Variable {
    /// Nothing so far.
    Empty,
    /// A result.
    Full(Value),
    /// The call that fills it failed: the line of that call.
    Failed(usize),
}

/// The outcome of calls. In a scope it counts only once the scope has ended.
#[derive(Debug, Default)]
pub struct Batch {
    /// All results in order, as a digest takes them.
    pub results: Vec<u8>,
    /// Whether objects are among the results without their names, which differ where a state was
    /// built anew.
    pub anonymous: bool,
    /// How long each call that returned took.
    pub latencies: Vec<Duration>,
    /// Calls that returned something unexpected, in words.
    pub failures: Vec<String>,
}

impl Batch {
    /// Empties it. `anonymous` stays as it is.
    pub fn clear(&mut self) {
        self.results.clear();
        self.latencies.clear();
        self.failures.clear();
    }
}

/// A call that gave no results.
#[derive(Debug)]
pub struct Failure<'a, E> {
    /// The call; `None` for a scope as a whole.
    pub call: Option<&'a BoundCall>,
    /// Why.
    pub why: Why<E>,
}

/// Why a call gave no results.
#[derive(Debug)]
pub enum Why<E> {
    /// It was made, and failed.
    Call(E),
    /// An argument is not there, because of an earlier call.
    Argument(String),
}

impl<E> From<E> for Failure<'_, E> {
    fn from(error: E) -> Self {
        Self {
            call: None,
            why: Why::Call(error),
        }
    }
}

/// Runs a scope. Its instance may die and the scope be run again from its start, so nothing counts
/// before it has ended. The latency of its first call counts from the start of the scope.
///
/// # Errors
///
/// The first call that failed. What is in the batch came before it.
pub fn perform_scope<'a, C: ScopedCallee>(
    callee: &mut C,
    scope: &'a Scope,
    index: u64,
    variables: &mut [Variable],
    batch: &mut Batch,
) -> Result<(), Failure<'a, C::Error>> {
    let fills = scope.fills.iter();
    let before: Vec<Variable> = fills.map(|at| variables[*at].clone()).collect();
    let started = Instant::now();
    callee.scope(|callee| {
        batch.clear();
        for (at, value) in scope.fills.iter().zip(&before) {
            variables[*at].clone_from(value);
        }
        let first = &mut Some(started);
        scope_steps(callee, &scope.steps, index, variables, batch, first)
    })
}

fn scope_steps<'a, E>(
    callee: &mut dyn Callee<Error = E>,
    steps: &'a [BoundStep],
    index: u64,
    variables: &mut [Variable],
    batch: &mut Batch,
    first: &mut Option<Instant>,
) -> Result<(), Failure<'a, E>> {
    for step in steps {
        match step {
            BoundStep::Call(call) => {
                let started = first.take().unwrap_or_else(Instant::now);
                perform(callee, call, index, variables, batch, started)?;
            }
            BoundStep::Repeat { times, steps } => {
                for turn in 0..*times {
                    scope_steps(callee, steps, turn, variables, batch, first)?;
                }
            }
            BoundStep::Pinned(_) => unreachable!("the parser refuses a scope in a scope"),
        }
    }
    Ok(())
}

/// Makes one call in the turn `index` of the innermost repeat, and notes what it gave. `started` is
/// when its caller began to wait.
///
/// # Errors
///
/// Why it gave nothing.
pub fn perform<'a, E>(
    callee: &mut (impl Callee<Error = E> + ?Sized),
    call: &'a BoundCall,
    index: u64,
    variables: &mut [Variable],
    batch: &mut Batch,
    started: Instant,
) -> Result<(), Failure<'a, E>> {
    let fail = |why| Failure {
        call: Some(call),
        why,
    };
    let missing = |cause| fail(Why::Argument(format!("`{}`: {cause}", call.export)));
    let results = {
        let lists = call
            .args
            .iter()
            .filter_map(|arg| List::of(arg, variables).transpose())
            .collect::<Result<Vec<_>, _>>()
            .map_err(missing)?;
        let mut lists = lists.iter();
        let args = call
            .args
            .iter()
            .map(|arg| arg_of(arg, index, variables, &mut lists))
            .collect::<Result<Vec<_>, _>>()
            .map_err(missing)?;
        let made = match &call.id {
            Some(id) => callee.call_with_id(id.in_turn(index).as_bytes(), &call.export, &args),
            None => callee.call(&call.export, &args),
        };
        made.map_err(|error| fail(Why::Call(error)))?
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
    for (at, value) in call.fills.iter().zip(results.into_vec()) {
        variables[*at] = Variable::Full(value);
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
    fn of(arg: &BoundArg, variables: &[Variable]) -> Result<Option<Self>, String> {
        Ok(Some(match arg {
            BoundArg::Handles(names) => {
                Self::Handles(gathered(names, variables, |value| match value {
                    Value::Handle(handle) => Some(*handle),
                    _ => None,
                })?)
            }
            BoundArg::Pointers(names) => {
                Self::Pointers(gathered(names, variables, |value| match value {
                    Value::Pointer(pointer) => Some(*pointer),
                    _ => None,
                })?)
            }
            _ => return Ok(None),
        }))
    }
}

/// The values of the variables of a list. The binder checked the kinds, so anything else is null.
fn gathered<T>(
    names: &[VariableRef],
    variables: &[Variable],
    pick: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<T>, String> {
    let item = |variable: &VariableRef| {
        pick(value_of(variable, variables)?).ok_or_else(|| null(&variable.name))
    };
    names.iter().map(item).collect()
}

fn null(name: &str) -> String {
    format!("`{name}` is null: the call that named it gave nothing")
}

fn value_of<'a>(variable: &VariableRef, variables: &'a [Variable]) -> Result<&'a Value, String> {
    let name = &variable.name;
    match &variables[variable.index] {
        Variable::Full(value) => Ok(value),
        Variable::Failed(line) => Err(format!("there is no `{name}`, because line {line} failed")),
        Variable::Empty => Err(format!("no call has filled `{name}` so far")),
    }
}

fn arg_of<'a>(
    arg: &'a BoundArg,
    index: u64,
    variables: &'a [Variable],
    lists: &mut slice::Iter<'a, List>,
) -> Result<Arg<'a>, String> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "the binder checked that the last turn fits the type"
    )]
    Ok(match arg {
        BoundArg::Fixed(arg) => arg.as_arg(),
        BoundArg::Index(ValType::I32) => Arg::Val(Val::from(index as u32)),
        BoundArg::Index(ValType::F32) => Arg::Val(Val::from(index as f32)),
        BoundArg::Index(ValType::F64) => Arg::Val(Val::from(index as f64)),
        BoundArg::Index(_) => Arg::Val(Val::from(index)),
        BoundArg::Variable(variable) => value_of(variable, variables)?
            .as_arg()
            .ok_or_else(|| null(&variable.name))?,
        BoundArg::Optional(variable) => {
            value_of(variable, variables)?.as_arg().unwrap_or(Arg::NULL)
        }
        BoundArg::Handles(_) | BoundArg::Pointers(_) => match lists.next() {
            Some(List::Handles(handles)) => Arg::Handles(handles),
            Some(List::Pointers(pointers)) => Arg::Pointers(pointers),
            None => unreachable!("every list was gathered"),
        },
    })
}

/// Whether a result is as the file says. The keys of a JavaScript object have no order there.
fn is_as_expected(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Js(expected), Value::Js(got)) => js::is_same(expected, got),
        _ => expected == got,
    }
}

/// What differs from the expectation, in words.
fn difference(expect: &[Value], results: &[Value]) -> Option<String> {
    let mut pairs = expect.iter().zip(results);
    let (expected, got) = pairs.find(|(expected, got)| !is_as_expected(expected, got))?;
    Some(format!("{}, expected was {}", show(got), show(expected)))
}

fn show(value: &Value) -> String {
    match value {
        Value::Val(val) => show_val(val),
        Value::Handle(handle) => format!("handle {handle}"),
        Value::Null => "null".to_owned(),
        Value::Bytes(bytes) => show_bytes(bytes),
        Value::Text(text) => format!("{text:?}"),
        Value::Pointer(_) => "a pointer".to_owned(),
        Value::Pointers(pointers) => format!("{} pointers", pointers.len()),
        Value::Js(text) => show_js(text),
    }
}

/// As much of a JavaScript value as fits into a line.
fn show_js(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    let shown: String = text.chars().take(CHARS_MAX).collect();
    let more = if shown.len() < text.len() { ".." } else { "" };
    format!("{shown}{more}")
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
