//! A workload bound to a module and its policy: every name, number and kind is checked before
//! anything runs.

mod arguments;
mod literal;
mod number;
mod results;

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use engine_api::ValType;
use guest_calls::{ArgKind, CallError, ExportInfo, OwnedArg, ResultKind, Shape, Value};

use crate::{Call, CallId, Step, Workload};
use results::expectations;

/// A workload that fits a module.
#[derive(Debug)]
pub struct Bound {
    /// The steps in order.
    pub steps: Vec<BoundStep>,
    /// The number of variables: one for each name.
    pub variables: usize,
    /// The file's name, for messages.
    pub name: String,
}

/// One thing to do.
#[derive(Debug)]
pub enum BoundStep {
    /// Call an export.
    Call(BoundCall),
    /// Do several things several times.
    Repeat {
        /// The number of turns.
        times: u64,
        /// The steps of each turn.
        steps: Vec<BoundStep>,
    },
    /// Do several things on one generation.
    Pinned(Scope),
}

/// Several things on one generation.
#[derive(Debug)]
pub struct Scope {
    /// Where it is in the file.
    pub line: usize,
    /// The steps: calls and repeats of calls.
    pub steps: Vec<BoundStep>,
    /// The variables that it fills.
    pub fills: Vec<usize>,
}

/// A call that fits its export.
#[derive(Debug)]
pub struct BoundCall {
    /// Where it is in the file.
    pub line: usize,
    /// The export.
    pub export: String,
    /// The arguments.
    pub args: Vec<BoundArg>,
    /// The variables that its results go to.
    pub fills: Vec<usize>,
    /// The results that it must return.
    pub expect: Option<Vec<Value>>,
    /// The id that its caller gives it.
    pub id: Option<CallId>,
}

/// An argument of the parameter's type.
#[derive(Debug)]
pub enum BoundArg {
    /// A value that the file gives.
    Fixed(OwnedArg),
    /// The value of a variable.
    Variable(VariableRef),
    /// The value of a variable, which may be null.
    Optional(VariableRef),
    /// The objects that are in variables.
    Handles(Vec<VariableRef>),
    /// The raw pointers that are in variables.
    Pointers(Vec<VariableRef>),
    /// The turn of the innermost repeat, as this type.
    Index(ValType),
}

/// A variable by its number, and by its name for messages.
#[derive(Debug)]
pub struct VariableRef {
    /// Its number, from 0.
    pub index: usize,
    /// The name that a call gives its result.
    pub name: String,
}

/// What a name stands for at some point of the file.
struct Known {
    index: usize,
    shape: Shape,
    /// Whether it is a raw pointer of a scope that has ended.
    is_stale: bool,
}

/// The scope and the repeat around a call.
#[derive(Clone, Copy)]
struct Enclosing {
    pinned: bool,
    /// How many turns the innermost repeat has.
    turns: u64,
}

/// Describes exports by name, from the policy and the module.
pub type Exports<'a> = &'a dyn Fn(&str) -> Result<ExportInfo, CallError>;

struct Binder<'a> {
    exports: Exports<'a>,
    file: &'a str,
    strict: bool,
    variables: HashMap<String, Known>,
}

impl Workload {
    /// Checks the workload against the module and the policy, which `exports` knows. A `strict`
    /// policy lists every export that is called.
    ///
    /// # Errors
    ///
    /// What does not fit, with its line.
    pub fn bind(&self, exports: Exports<'_>, strict: bool) -> Result<Bound> {
        let mut binder = Binder {
            exports,
            file: &self.name,
            strict,
            variables: HashMap::new(),
        };
        let enclosing = Enclosing {
            pinned: false,
            turns: 0,
        };
        let steps = binder
            .steps(&self.steps, enclosing)
            .context("the workload does not fit the module")?;
        Ok(Bound {
            steps,
            variables: binder.variables.len(),
            name: self.name.clone(),
        })
    }
}

impl Binder<'_> {
    fn steps(&mut self, steps: &[Step], enclosing: Enclosing) -> Result<Vec<BoundStep>> {
        steps
            .iter()
            .map(|step| self.step(step, enclosing))
            .collect()
    }

    fn step(&mut self, step: &Step, enclosing: Enclosing) -> Result<BoundStep> {
        Ok(match step {
            Step::Call(call) => BoundStep::Call(
                self.call(call, enclosing)
                    .with_context(|| format!("{}:{}", self.file, call.line))?,
            ),
            Step::Repeat { times, steps } => {
                let turns = *times;
                let steps = self.steps(steps, Enclosing { turns, ..enclosing })?;
                BoundStep::Repeat {
                    times: turns,
                    steps,
                }
            }
            Step::Pinned { line, steps } => {
                let steps = self.steps(
                    steps,
                    Enclosing {
                        pinned: true,
                        ..enclosing
                    },
                )?;
                for known in self.variables.values_mut() {
                    known.is_stale |= matches!(known.shape, Shape::Pointer | Shape::Pointers);
                }
                let mut fills = Vec::new();
                filled(&steps, &mut fills);
                BoundStep::Pinned(Scope {
                    line: *line,
                    steps,
                    fills,
                })
            }
        })
    }

    fn call(&mut self, call: &Call, enclosing: Enclosing) -> Result<BoundCall> {
        let info = (self.exports)(&call.export)?;
        self.check_enclosing(&info, enclosing)?;
        ensure!(
            call.args.len() == info.args.len(),
            "`{}` takes {}, got {}",
            info.name,
            taken(&info.args),
            call.args.len()
        );
        let mut args = Vec::with_capacity(call.args.len());
        for (arg, param) in call.args.iter().zip(info.params()) {
            args.push(
                self.argument(arg, param, enclosing)
                    .with_context(|| format!("`{}`: argument {}", info.name, param.position))?,
            );
        }
        let shapes: Vec<Shape> = info.gives().collect();
        let expect = call
            .expect
            .as_ref()
            .map(|expect| expectations(expect, &shapes))
            .transpose()
            .with_context(|| format!("`{}`: \"expect\"", info.name))?;
        ensure!(
            call.names.len() <= shapes.len(),
            "`{}` returns {} results, and {} names are given for them",
            info.name,
            shapes.len(),
            call.names.len()
        );
        let fills = call
            .names
            .iter()
            .zip(shapes)
            .map(|(name, shape)| {
                let next = self.variables.len();
                let index = self.variables.get(name).map_or(next, |known| known.index);
                let known = Known {
                    index,
                    shape,
                    is_stale: false,
                };
                self.variables.insert(name.clone(), known);
                index
            })
            .collect();
        Ok(BoundCall {
            line: call.line,
            export: info.name,
            args,
            fills,
            expect,
            id: call.id.clone(),
        })
    }

    fn check_enclosing(&self, info: &ExportInfo, enclosing: Enclosing) -> Result<()> {
        let export = || info.name.clone();
        if self.strict && !info.listed {
            return Err(CallError::NotInPolicy { export: export() }.into());
        }
        if enclosing.pinned && info.role.is_journaled() {
            return Err(CallError::JournaledInPinned { export: export() }.into());
        }
        let pointers = info.args.iter().any(ArgKind::is_pointer)
            || info.results.iter().any(ResultKind::is_pointer);
        if pointers && !enclosing.pinned {
            return Err(CallError::PointerOutsideScope { export: export() })
                .context("put the calls that share the pointer into {\"pinned\":[...]}");
        }
        Ok(())
    }
}

/// The arguments that an export takes, in words.
fn taken(args: &[ArgKind]) -> String {
    let kinds: Vec<String> = args.iter().map(|kind| format!("`{kind}`")).collect();
    match args.len() {
        0 => "no arguments".to_owned(),
        1 => format!("1 argument ({}, says the policy)", kinds[0]),
        count => format!("{count} arguments ({}, says the policy)", kinds.join(", ")),
    }
}

fn filled(steps: &[BoundStep], fills: &mut Vec<usize>) {
    for step in steps {
        match step {
            BoundStep::Call(call) => fills.extend(&call.fills),
            BoundStep::Repeat { steps, .. } | BoundStep::Pinned(Scope { steps, .. }) => {
                filled(steps, fills);
            }
        }
    }
}
