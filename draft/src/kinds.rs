//! What the glue says of an export, as the kinds of a policy.

use engine_api::{FuncType, ValType};
use glue::{Coerced, Elements, Member, NumberType, Outcome, Param, Passed, Slot};
use guest_calls::{ArgKind, ResultKind};

/// The name for a class that is one of several.
pub(super) const ANY_CLASS: &str = "";

/// The arguments of an export, and where objects are among them.
#[derive(Debug)]
pub(super) struct Args {
    pub(super) kinds: Vec<ArgKind>,
    /// The positions of objects that a call takes over.
    pub(super) consumed: Vec<usize>,
    /// The positions of objects that it only looks at or changes.
    pub(super) borrowed: Vec<usize>,
}

/// Why what the glue says cannot be written into a policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// The glue passes other parameters than the export has.
    Type,
    /// A policy has no kind for it: what it is.
    Kind(&'static str),
}

/// The arguments as the policy writes them.
pub(super) fn args(member: &Member, ty: &FuncType) -> Result<Args, Gap> {
    let skipped = usize::from(member.return_pointer);
    let mut types = ty.params().get(skipped..).ok_or(Gap::Type)?;
    let mut args = Args {
        kinds: Vec::new(),
        consumed: Vec::new(),
        borrowed: Vec::new(),
    };
    let is_buffer = |param: &Param| matches!(param.passed, Passed::Buffer { .. });
    let writes = |param: &Param| param.written_back && is_buffer(param);
    if member.params.iter().any(writes) || member.params.windows(2).any(is_given_beside_copy) {
        return Err(Gap::Kind("a slice that the guest writes into"));
    }
    let last = member.params.len().saturating_sub(1);
    for (position, param) in member.params.iter().enumerate() {
        let (own, rest) = types
            .split_at_checked(param.passed.width())
            .ok_or(Gap::Type)?;
        types = rest;
        if let Passed::Object { consumed, .. } = param.passed {
            let positions = if consumed {
                &mut args.consumed
            } else {
                &mut args.borrowed
            };
            positions.push(args.kinds.len());
        }
        one_arg(param, own, position == last, &mut args.kinds)?;
    }
    if types.is_empty() {
        Ok(args)
    } else {
        Err(Gap::Type)
    }
}

/// `&mut [u8]`: newer glue passes a copy, and the array itself, into which the bytes go back.
fn is_given_beside_copy(params: &[Param]) -> bool {
    let [copy, array] = params else { return false };
    matches!(copy.passed, Passed::Buffer { .. })
        && matches!(array.passed, Passed::Value { .. } | Passed::Plain)
        && !copy.name.is_empty()
        && copy.name == array.name
}

fn one_arg(
    param: &Param,
    types: &[ValType],
    is_last: bool,
    kinds: &mut Vec<ArgKind>,
) -> Result<(), Gap> {
    let is_i32 = types.iter().all(|ty| *ty == ValType::I32);
    let value = || ArgKind::Value;
    match &param.passed {
        Passed::Zero if is_last && is_i32 => kinds.push(ArgKind::Zero),
        Passed::Plain if types.iter().any(|ty| ty.is_reference()) => {
            kinds.push(js_arg(false, param.optional)?);
        }
        Passed::Plain | Passed::Zero => kinds.push(match param.none {
            Some(number) => {
                let coerced = param.coerced.filter(|_| types == [ValType::F64]);
                parsed(&format!("value:null:{number}{}", suffix(coerced)))?
            }
            None => value(),
        }),
        Passed::Flagged if matches!(types, [ValType::I32, ty] if !ty.is_reference()) => {
            kinds.push(or_null(value(), true));
        }
        Passed::Halves => kinds.extend([value(), value()]),
        Passed::Object { class, .. } if is_i32 => {
            kinds.push(or_null(ArgKind::Handle(named(class)), param.optional));
        }
        Passed::Buffer { of, moved } if is_i32 => match buffer_name(*of) {
            Some(name) => {
                let mark = if *moved { ":moved" } else { "" };
                kinds.push(or_null(parsed(&format!("{name}{mark}"))?, param.optional));
            }
            // The guest always takes the array and its objects over.
            None => kinds.push(or_null(parsed("js:list")?, param.optional)),
        },
        Passed::Value { borrowed } => kinds.push(js_arg(*borrowed, param.optional)?),
        _ => return Err(Gap::Type),
    }
    Ok(())
}

/// The results as the policy writes them.
pub(super) fn results(member: &Member, ty: &FuncType) -> Result<Option<Vec<ResultKind>>, Gap> {
    if member.return_pointer && !ty.results().is_empty() {
        return Err(Gap::Type);
    }
    let mut kinds = match &member.outcome {
        Outcome::Nothing | Outcome::Unknown => {
            // What the glue does not look at.
            let rest = ty
                .results()
                .len()
                .saturating_sub(if member.fails { 2 } else { 0 });
            vec![ResultKind::Value; rest]
        }
        Outcome::Plain { at, none } => match (plain_result(*at, ty)?, none) {
            (ResultKind::Js, _) | (_, None) => vec![plain_result(*at, ty)?],
            (plain, Some(number)) => {
                vec![parsed_result(&format!(
                    "value:null:{number}{}",
                    named_type(&plain)
                ))?]
            }
        },
        Outcome::Flagged { flag, value } => {
            match (plain_result(*flag, ty)?, plain_result(*value, ty)?) {
                (ResultKind::Value, value) if value != ResultKind::Js => {
                    vec![parsed_result(&format!(
                        "optional:value{}",
                        named_type(&value)
                    ))?]
                }
                (flag, value) => vec![flag, value],
            }
        }
        Outcome::Halves => vec![ResultKind::Value, ResultKind::Value],
        Outcome::Object { class, .. } => vec![ResultKind::Handle(named(class))],
        Outcome::Buffer { of, freed, .. } => {
            let mark = if *freed { "" } else { ":borrowed" };
            vec![match buffer_name(*of) {
                Some(name) => parsed_result(&format!("{name}{mark}"))?,
                None => parsed_result("js:list")?,
            }]
        }
        Outcome::Value => vec![js_result()?],
    };
    if member.fails {
        kinds.push(ResultKind::Error);
    }
    Ok(
        (!kinds.iter().all(|kind| *kind == ResultKind::Value) || member.return_pointer)
            .then_some(kinds),
    )
}

fn named(class: &str) -> Option<String> {
    (class != ANY_CLASS).then(|| class.to_owned())
}

fn plain_result(at: Slot, ty: &FuncType) -> Result<ResultKind, Gap> {
    match at {
        Slot::Result(index) => match ty.results().get(index) {
            Some(ty) if ty.is_reference() => js_result(),
            Some(_) => Ok(ResultKind::Value),
            None => Err(Gap::Type),
        },
        Slot::Memory(_, NumberType::I32) => Ok(ResultKind::Value),
        Slot::Memory(_, NumberType::I64) => parsed_result("value:i64"),
        Slot::Memory(_, NumberType::F32) => parsed_result("value:f32"),
        Slot::Memory(_, NumberType::F64) => parsed_result("value:f64"),
    }
}

/// What a kind of number that can be null says of its type, behind the rest.
fn named_type(plain: &ResultKind) -> String {
    match plain {
        ResultKind::Number(ty) => format!(":{ty}"),
        _ => String::new(),
    }
}

/// What becomes of a number, behind the one for null.
fn suffix(coerced: Option<Coerced>) -> &'static str {
    match coerced {
        Some(Coerced::I32) => ":i32",
        Some(Coerced::U32) => ":u32",
        Some(Coerced::F32) => ":f32",
        None => "",
    }
}

fn buffer_name(of: Elements) -> Option<&'static str> {
    match of {
        Elements::Text => Some("string"),
        Elements::Bytes => Some("bytes"),
        Elements::Two => Some("u16s"),
        Elements::Four => Some("u32s"),
        Elements::Eight => Some("u64s"),
        Elements::Values => None,
    }
}

const VALUES: Gap = Gap::Kind("JavaScript values");

/// The kind for a value of JavaScript. `undefined` is one too; none at all is the number 0.
fn js_arg(borrowed: bool, optional: bool) -> Result<ArgKind, Gap> {
    let name = match (optional, borrowed) {
        (true, _) => "js:optional",
        (false, true) => "js:borrowed",
        (false, false) => "js",
    };
    name.parse().map_err(|_| VALUES)
}

fn js_result() -> Result<ResultKind, Gap> {
    "js".parse().map_err(|_| VALUES)
}

/// A kind that null may stand for, where policies have that.
fn or_null(kind: ArgKind, optional: bool) -> ArgKind {
    if !optional {
        return kind;
    }
    format!("optional:{kind}").parse().unwrap_or(kind)
}

fn parsed(name: &str) -> Result<ArgKind, Gap> {
    name.parse().map_err(|_| Gap::Kind("a buffer of its kind"))
}

fn parsed_result(name: &str) -> Result<ResultKind, Gap> {
    name.parse()
        .map_err(|_| Gap::Kind("a number of its type at a return pointer"))
}
