//! A workload bound to a module and its policy: every name, number and kind is checked before
//! anything runs.

mod arguments;
mod number;
mod results;

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use engine_api::{Val, ValType};
use proxy_core::{ArgKind, Error, ExportInfo, ResultKind, Role, Width};

use crate::{Call, Step, Workload};
use arguments::Param;
use results::{expectations, result_kinds};

/// A workload that fits a module.
#[derive(Debug)]
pub struct Bound {
    /// What to do.
    pub steps: Vec<BoundStep>,
    /// How many different names there are.
    pub slots: usize,
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
        /// How often.
        times: u64,
        /// What.
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
    /// What to do: calls and repeats of calls.
    pub steps: Vec<BoundStep>,
    /// The slots that it fills.
    pub fills: Vec<usize>,
}

/// A call that fits its export.
#[derive(Debug)]
pub struct BoundCall {
    /// Where it is in the file.
    pub line: usize,
    /// What to call.
    pub export: String,
    /// With what.
    pub args: Vec<BoundArg>,
    /// The slots that its results go to.
    pub fills: Vec<usize>,
    /// What it must return.
    pub expect: Option<Vec<BoundExpected>>,
}

/// An argument of the parameter's type.
#[derive(Debug)]
pub enum BoundArg {
    /// A number.
    Val(Val),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// What is in a slot.
    Slot(usize, String),
    /// The objects that are in slots.
    Handles(Vec<(usize, String)>),
    /// The raw pointers that are in slots.
    Pointers(Vec<(usize, String)>),
    /// The turn of the innermost repeat, as this type.
    Index(ValType),
}

/// A result of the function's type.
#[derive(Debug)]
pub enum BoundExpected {
    /// A number.
    Val(Val),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// Nothing.
    Null,
}

/// What a name stands for at some place in the file.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Val(ValType),
    Handle(Option<String>),
    Bytes,
    Text,
    Numbers(Width),
    Pointer,
    /// A pointer of a scope that has ended.
    StalePointer,
}

/// Where a call stands.
#[derive(Clone, Copy)]
struct Place {
    pinned: bool,
    /// How many turns the innermost repeat has.
    turns: u64,
}

/// What the policy and the module say of an export, by its name.
pub type Exports<'a> = &'a dyn Fn(&str) -> Result<ExportInfo, Error>;

struct Binder<'a> {
    exports: Exports<'a>,
    file: &'a str,
    strict: bool,
    slots: HashMap<String, usize>,
    kinds: HashMap<String, Kind>,
}

impl Workload {
    /// Checks the workload against the module and the policy, which `exports` knows. A `strict` policy lists every
    /// export that is called.
    ///
    /// # Errors
    ///
    /// What does not fit, with its line.
    pub fn bind(&self, exports: Exports<'_>, strict: bool) -> Result<Bound> {
        let mut binder = Binder {
            exports,
            file: &self.name,
            strict,
            slots: HashMap::new(),
            kinds: HashMap::new(),
        };
        let place = Place {
            pinned: false,
            turns: 0,
        };
        let steps = binder
            .steps(&self.steps, place)
            .context("the workload does not fit the module")?;
        Ok(Bound {
            steps,
            slots: binder.slots.len(),
            name: self.name.clone(),
        })
    }
}

impl Binder<'_> {
    fn steps(&mut self, steps: &[Step], place: Place) -> Result<Vec<BoundStep>> {
        steps.iter().map(|step| self.step(step, place)).collect()
    }

    fn step(&mut self, step: &Step, place: Place) -> Result<BoundStep> {
        Ok(match step {
            Step::Call(call) => BoundStep::Call(
                self.call(call, place)
                    .with_context(|| format!("{}:{}", self.file, call.line))?,
            ),
            Step::Repeat { times, steps } => {
                let turns = *times;
                let steps = self.steps(steps, Place { turns, ..place })?;
                BoundStep::Repeat {
                    times: turns,
                    steps,
                }
            }
            Step::Pinned { line, steps } => {
                let steps = self.steps(
                    steps,
                    Place {
                        pinned: true,
                        ..place
                    },
                )?;
                for kind in self.kinds.values_mut() {
                    if *kind == Kind::Pointer {
                        *kind = Kind::StalePointer;
                    }
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

    fn call(&mut self, call: &Call, place: Place) -> Result<BoundCall> {
        let info = (self.exports)(&call.export)?;
        self.check_place(&info, place)?;
        ensure!(
            call.args.len() == info.args.len(),
            "`{}` takes {} {}, got {}",
            info.name,
            info.args.len(),
            if info.args.len() == 1 {
                "argument"
            } else {
                "arguments"
            },
            call.args.len()
        );
        let mut params = info.ty.params();
        let mut args = Vec::with_capacity(call.args.len());
        for (position, (arg, kind)) in call.args.iter().zip(&info.args).enumerate() {
            let param = Param {
                kind,
                ty: params[0],
                is_pure: info.role == Role::Pure,
            };
            params = &params[kind.width()..];
            args.push(
                self.argument(arg, param, place)
                    .with_context(|| format!("`{}`: argument {position}", info.name))?,
            );
        }
        let kinds = result_kinds(&info);
        let expect = call
            .expect
            .as_ref()
            .map(|expect| expectations(expect, &kinds))
            .transpose()
            .with_context(|| format!("`{}`: \"expect\"", info.name))?;
        ensure!(
            call.names.len() <= kinds.len(),
            "`{}` returns {} results, and {} names are given for them",
            info.name,
            kinds.len(),
            call.names.len()
        );
        let fills = call
            .names
            .iter()
            .zip(kinds)
            .map(|(name, kind)| {
                self.kinds.insert(name.clone(), kind);
                let next = self.slots.len();
                *self.slots.entry(name.clone()).or_insert(next)
            })
            .collect();
        Ok(BoundCall {
            line: call.line,
            export: info.name,
            args,
            fills,
            expect,
        })
    }

    fn check_place(&self, info: &ExportInfo, place: Place) -> Result<()> {
        let export = || info.name.clone();
        if self.strict && !info.listed {
            return Err(Error::NotInPolicy { export: export() }.into());
        }
        if place.pinned && info.role.is_journaled() {
            return Err(Error::JournaledInPinned { export: export() }.into());
        }
        let pointers = info.args.contains(&ArgKind::Pointer)
            || info.args.contains(&ArgKind::Pointers)
            || info.results.contains(&ResultKind::Pointer);
        if pointers && !place.pinned {
            return Err(Error::PointerOutsideScope { export: export() })
                .context("put the calls that share the pointer into {\"pinned\":[...]}");
        }
        Ok(())
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
