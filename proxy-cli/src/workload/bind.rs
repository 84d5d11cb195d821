//! A workload bound to a module and its policy: every name, number and kind is checked before
//! anything runs.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use engine_api::{Val, ValType};
use proxy_core::{ArgKind, Error, ExportInfo, Proxy, ResultKind};
use serde_json::Number;

use super::{Argument, Call, Expected, Step, Workload};

/// A workload that fits a module.
#[derive(Debug)]
pub(crate) struct Bound {
    /// What to do.
    pub(crate) steps: Vec<BoundStep>,
    /// How many different names there are.
    pub(crate) slots: usize,
    /// The file's name, for messages.
    pub(crate) name: String,
}

/// One thing to do.
#[derive(Debug)]
pub(crate) enum BoundStep {
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
pub(crate) struct Scope {
    /// Where it is in the file.
    pub(crate) line: usize,
    /// What to do: calls and repeats of calls.
    pub(crate) steps: Vec<BoundStep>,
    /// The slots that it fills.
    pub(crate) fills: Vec<usize>,
}

/// A call that fits its export.
#[derive(Debug)]
pub(crate) struct BoundCall {
    /// Where it is in the file.
    pub(crate) line: usize,
    /// What to call.
    pub(crate) export: String,
    /// With what.
    pub(crate) args: Vec<BoundArg>,
    /// The slots that its results go to.
    pub(crate) fills: Vec<usize>,
    /// What it must return.
    pub(crate) expect: Option<Vec<BoundExpected>>,
}

/// An argument of the parameter's type.
#[derive(Debug)]
pub(crate) enum BoundArg {
    /// A number.
    Val(Val),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
    /// What is in a slot.
    Slot(usize, String),
    /// The turn of the innermost repeat, as this type.
    Index(ValType),
}

/// A result of the function's type.
#[derive(Debug)]
pub(crate) enum BoundExpected {
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

struct Binder<'a> {
    proxy: &'a Proxy,
    file: &'a str,
    strict: bool,
    slots: HashMap<String, usize>,
    kinds: HashMap<String, Kind>,
}

impl Workload {
    /// Checks the workload against the module and the policy that the proxy was built with.
    pub(crate) fn bind(&self, proxy: &Proxy, strict: bool) -> Result<Bound> {
        let mut binder = Binder {
            proxy,
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
        let info = self.proxy.export(&call.export)?;
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
            let ty = params[0];
            let width = if matches!(kind, ArgKind::Bytes(_) | ArgKind::Text(_)) {
                2
            } else {
                1
            };
            params = &params[width..];
            args.push(
                self.argument(arg, kind, ty, place)
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
        let pointers =
            info.args.contains(&ArgKind::Pointer) || info.results.contains(&ResultKind::Pointer);
        if pointers && !place.pinned {
            return Err(Error::PointerOutsideScope { export: export() })
                .context("put the calls that share the pointer into {\"pinned\":[...]}");
        }
        Ok(())
    }

    fn argument(
        &self,
        arg: &Argument,
        kind: &ArgKind,
        ty: ValType,
        place: Place,
    ) -> Result<BoundArg> {
        Ok(match (arg, kind) {
            (Argument::Number(number), ArgKind::Value) => BoundArg::Val(to_val(number, ty)?),
            (Argument::Index, ArgKind::Value) => {
                to_val(&Number::from(place.turns.saturating_sub(1)), ty)
                    .context("the repeat has more turns than the parameter can count")?;
                BoundArg::Index(ty)
            }
            (Argument::Bytes(bytes), ArgKind::Bytes(_)) => BoundArg::Bytes(bytes.clone()),
            (Argument::Text(text), ArgKind::Text(_)) => BoundArg::Text(text.clone()),
            // A buffer is a buffer.
            (Argument::Text(text), ArgKind::Bytes(_)) => BoundArg::Bytes(text.clone().into_bytes()),
            (Argument::Named(name), kind) => self.named(name, kind, ty)?,
            (got, kind) => bail!("{} where {} is needed", describe(got), needed(kind, ty)),
        })
    }

    fn named(&self, name: &str, kind: &ArgKind, ty: ValType) -> Result<BoundArg> {
        let (Some(slot), Some(got)) = (self.slots.get(name), self.kinds.get(name)) else {
            let mut known: Vec<_> = self.slots.keys().map(|name| format!("`{name}`")).collect();
            known.sort();
            known.truncate(8);
            let known = if known.is_empty() {
                "no result has a name so far".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            bail!("no earlier call names its result `{name}` with \"as\"; {known}");
        };
        let fits = match (got, kind) {
            (Kind::Val(got), ArgKind::Value) => *got == ty,
            (Kind::Handle(Some(got)), ArgKind::Handle(Some(needed))) => got == needed,
            (Kind::Handle(_), ArgKind::Handle(_))
            | (Kind::Bytes, ArgKind::Bytes(_))
            | (Kind::Text, ArgKind::Text(_))
            | (Kind::Pointer, ArgKind::Pointer) => true,
            (Kind::StalePointer, ArgKind::Pointer) => bail!(
                "`{name}` is a raw pointer of a pinned scope that has ended; use it inside that scope"
            ),
            _ => false,
        };
        ensure!(
            fits,
            "`{name}` is {} where {} is needed",
            match got {
                Kind::Val(ty) => format!("a number of type {ty}"),
                Kind::Handle(None) => "a handle".to_owned(),
                Kind::Handle(Some(ty)) => format!("a handle of type `{ty}`"),
                Kind::Bytes => "bytes".to_owned(),
                Kind::Text => "text".to_owned(),
                Kind::Pointer | Kind::StalePointer => "a raw pointer".to_owned(),
            },
            needed(kind, ty)
        );
        Ok(BoundArg::Slot(*slot, name.to_owned()))
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

/// What the results of an export are, by the policy and the function's type.
fn result_kinds(info: &ExportInfo) -> Vec<Kind> {
    let mut wasm = info.ty.results();
    info.results
        .iter()
        .map(|kind| {
            let ty = wasm[0];
            let buffer = matches!(kind, ResultKind::Bytes(_) | ResultKind::Text(_));
            let width = if buffer && ty == ValType::I32 { 2 } else { 1 };
            wasm = &wasm[width..];
            match kind {
                ResultKind::Value => Kind::Val(ty),
                ResultKind::Handle(ty) => Kind::Handle(ty.clone()),
                ResultKind::Bytes(_) => Kind::Bytes,
                ResultKind::Text(_) => Kind::Text,
                ResultKind::Pointer => Kind::Pointer,
            }
        })
        .collect()
}

fn expectations(expect: &[Expected], kinds: &[Kind]) -> Result<Vec<BoundExpected>> {
    if kinds.is_empty() && expect == [Expected::Null] {
        return Ok(Vec::new());
    }
    ensure!(
        expect.len() == kinds.len(),
        "it returns {} results, and {} are expected",
        kinds.len(),
        expect.len()
    );
    let bind = |(expected, kind): (&Expected, &Kind)| {
        Ok(match (expected, kind) {
            (Expected::Number(number), Kind::Val(ty)) => BoundExpected::Val(to_val(number, *ty)?),
            (Expected::Text(text), Kind::Text) => BoundExpected::Text(text.clone()),
            (Expected::Text(text), Kind::Bytes) => BoundExpected::Bytes(text.clone().into_bytes()),
            (Expected::Bytes(bytes), Kind::Bytes) => BoundExpected::Bytes(bytes.clone()),
            (Expected::Null, Kind::Handle(_) | Kind::Bytes | Kind::Text) => BoundExpected::Null,
            (_, Kind::Val(ty)) => bail!("the result is a number of type {ty}"),
            (_, Kind::Handle(_)) => {
                bail!("the result is a handle, which only null can be compared with")
            }
            (_, Kind::Bytes) => {
                bail!("the result is bytes: write a text, {{\"bytes\":..}} or null")
            }
            (_, Kind::Text) => bail!("the result is text: write a text or null"),
            (_, Kind::Pointer | Kind::StalePointer) => {
                bail!("the result is a raw pointer, which differs between generations")
            }
        })
    };
    expect.iter().zip(kinds).map(bind).collect()
}

fn describe(arg: &Argument) -> &'static str {
    match arg {
        Argument::Number(_) => "a number",
        Argument::Named(_) => "an earlier result",
        Argument::Bytes(_) => "bytes",
        Argument::Text(_) => "text",
        Argument::Index => "the turn",
    }
}

fn needed(kind: &ArgKind, ty: ValType) -> String {
    match kind {
        ArgKind::Value => format!("a number of type {ty}"),
        ArgKind::Handle(None) => "a handle, {\"handle\":\"name\"},".to_owned(),
        ArgKind::Handle(Some(of)) => format!("a handle of type `{of}`, {{\"handle\":\"name\"}},"),
        ArgKind::Bytes(_) => "a buffer, {\"bytes\":\"<base64>\"},".to_owned(),
        ArgKind::Text(_) => "text, {\"text\":\"...\"},".to_owned(),
        ArgKind::Pointer => "a raw pointer of the same pinned scope".to_owned(),
    }
}

/// A number as a value of a wasm type. Integers may be written signed or unsigned.
fn to_val(number: &Number, ty: ValType) -> Result<Val> {
    let whole = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    let in_range = |signed_min: i128, unsigned_max: i128| match whole {
        Some(whole) if (signed_min..=unsigned_max).contains(&whole) => Ok(whole),
        Some(whole) => bail!("{whole} is out of range for {ty}"),
        None => bail!("{number} is no whole number, as {ty} needs"),
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range was checked; unsigned numbers keep their bits, floats take the nearest"
    )]
    Ok(match ty {
        ValType::I32 => Val::I32(in_range(i32::MIN.into(), u32::MAX.into())? as i32),
        ValType::I64 => Val::I64(in_range(i64::MIN.into(), u64::MAX.into())? as i64),
        ValType::F32 => {
            let value = number.as_f64().unwrap_or(f64::NAN) as f32;
            ensure!(value.is_finite(), "{number} is out of range for f32");
            Val::from(value)
        }
        ValType::F64 => Val::from(number.as_f64().unwrap_or(f64::NAN)),
        ValType::V128 | ValType::FuncRef | ValType::ExternRef => {
            bail!("a workload cannot write a {ty}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn val(text: &str, ty: ValType) -> Result<Val> {
        to_val(&serde_json::from_str(text).unwrap(), ty)
    }

    #[test]
    fn numbers_take_the_type_of_the_parameter() {
        assert_eq!(val("-1", ValType::I32).unwrap(), Val::I32(-1));
        assert_eq!(val("4294967295", ValType::I32).unwrap(), Val::I32(-1));
        assert_eq!(
            val("18446744073709551615", ValType::I64).unwrap(),
            Val::I64(-1)
        );
        assert_eq!(val("1", ValType::F64).unwrap(), Val::from(1.0_f64));
        assert_eq!(val("0.1", ValType::F32).unwrap(), Val::from(0.1_f32));
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        for (text, ty) in [
            ("4294967296", ValType::I32),
            ("-2147483649", ValType::I32),
            ("1.5", ValType::I32),
            ("1e300", ValType::F32),
            ("1", ValType::V128),
            ("1", ValType::ExternRef),
        ] {
            assert!(val(text, ty).is_err(), "{text} as {ty}");
        }
    }
}
