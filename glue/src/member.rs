//! What one function of the glue says of the export that it calls.

use crate::body::{Body, stack_pointer};
use crate::docs::Docs;
use crate::model::{
    Coerced, Elements, Member, MemberKind, NumberType, Outcome, Param, Passed, Slot, StackPointer,
};
use crate::names;
use crate::tree::{Expr, Function, Operator};

/// The function, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) class: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) kind: MemberKind,
    pub(crate) function: &'a Function,
}

/// Reads a function. It is none of the module's if it calls no export.
pub(crate) fn member(place: Place<'_>, body: &Body<'_>, docs: &Docs) -> Option<Member> {
    let (export, arguments) = body.call?;
    let reader = Reader { place, body, docs };
    let return_pointer = arguments
        .first()
        .is_some_and(|first| reader.is_return_pointer(first));
    let rest = &arguments[usize::from(return_pointer)..];
    Some(Member {
        export: export.to_owned(),
        class: place.class.map(ToOwned::to_owned),
        name: place.name.to_owned(),
        kind: place.kind,
        params: reader.params(rest),
        outcome: reader.outcome(),
        fails: reader.fails(),
        return_pointer,
        returns: docs.returns.clone(),
    })
}

struct Reader<'a> {
    place: Place<'a>,
    body: &'a Body<'a>,
    docs: &'a Docs,
}

impl<'a> Reader<'a> {
    /// Whether the first argument is a place for results.
    fn is_return_pointer(&self, first: &'a Expr) -> bool {
        match stack_pointer(self.body.resolved(first)) {
            // A number can also be just that.
            Some(StackPointer::Address(_)) => {
                self.results().any(|slot| matches!(slot, Slot::Memory(..)))
            }
            place => place.is_some(),
        }
    }

    /// The places that are read after the call.
    fn results(&self) -> impl Iterator<Item = Slot> {
        let body = self.body;
        let read = body.returned.iter().chain(&body.thrown).copied();
        let shown = read
            .chain(body.made_of)
            .chain(body.freed.iter().map(|(_, at)| *at));
        let mut slots: Vec<Slot> = Vec::new();
        for expr in shown {
            self.slots_in(expr, &mut slots, 0);
        }
        slots.into_iter()
    }

    fn slots_in(&self, expr: &'a Expr, slots: &mut Vec<Slot>, depth: usize) {
        let expr = self.body.resolved(expr);
        slots.extend(self.body.slot(expr));
        if depth < 8 {
            for part in expr.parts() {
                self.slots_in(part, slots, depth + 1);
            }
        }
    }

    fn fails(&self) -> bool {
        self.body.thrown.iter().any(|thrown| {
            let value = thrown
                .as_call()
                .filter(|(name, _)| names::gives_value(name));
            value.is_some_and(|(_, arguments)| {
                arguments
                    .first()
                    .is_some_and(|at| self.body.slot(at).is_some())
            })
        })
    }

    fn params(&self, arguments: &'a [Expr]) -> Vec<Param> {
        let mut params = Vec::new();
        let mut rest = arguments;
        while let Some(first) = rest.first() {
            let param = self.param(first, rest.get(1));
            let width = param.passed.width();
            rest = rest.get(width..).unwrap_or_default();
            params.push(param);
        }
        params
    }

    fn param(&self, first: &'a Expr, second: Option<&'a Expr>) -> Param {
        let value = self.body.resolved(first);
        let none = number_for_none(value);
        let (value, chosen) = without_none(value);
        let coerced = coerced(value);
        let optional = chosen || self.body.may_be_nothing(first);
        let value = self.body.resolved(value);
        let (name, passed) = self
            .buffer(value, second)
            .or_else(|| self.object(first, value))
            .or_else(|| added(value))
            .or_else(|| Self::number(first, value, second))
            .unwrap_or_else(|| (name_in(first).unwrap_or_default(), Passed::Plain));
        Param {
            declared: self.docs.param(&name),
            optional: optional || matches!(passed, Passed::Flagged),
            none: none.filter(|_| passed == Passed::Plain),
            coerced: coerced.filter(|_| none.is_some() && passed == Passed::Plain),
            written_back: self.body.written.contains(name.as_str()),
            name,
            passed,
        }
    }

    /// A pointer and a length.
    fn buffer(&self, value: &'a Expr, second: Option<&'a Expr>) -> Option<(String, Passed)> {
        let value = match value {
            Expr::Binary(Operator::Shift, left, _) => left,
            other => other,
        };
        let (helper, arguments) = value.as_call()?;
        let of = names::passes(helper)?;
        second?;
        let freed = self.body.freed.iter();
        let is_freed = freed
            .map(|(_, pointer)| without_none(self.body.resolved(pointer)).0)
            .any(|pointer| std::ptr::eq(pointer, value));
        let name = name_in(arguments.first()?).unwrap_or_default();
        Some((
            name,
            Passed::Buffer {
                of,
                moved: !is_freed,
            },
        ))
    }

    /// The pointer of an object.
    fn object(&self, first: &'a Expr, value: &'a Expr) -> Option<(String, Passed)> {
        let (object, takes_over) = match value {
            Expr::Member(object, field) if names::is_pointer_field(field) => (&**object, false),
            _ => match value.as_method()? {
                (object, "__destroy_into_raw", []) => (object, true),
                _ => return None,
            },
        };
        // Older glue sets the pointer to 0 itself, but only after it has put it into a variable.
        let through_variable = first.as_name().is_some();
        match object {
            Expr::This => Some((
                "this".to_owned(),
                Passed::Object {
                    class: self.place.class?.to_owned(),
                    consumed: takes_over || (through_variable && self.body.zeroes_this),
                },
            )),
            Expr::Name(name) => Some((
                name.clone(),
                Passed::Object {
                    class: (*self.body.asserted.get(name.as_str())?).to_owned(),
                    consumed: takes_over
                        || (through_variable && self.body.zeroed.contains(name.as_str())),
                },
            )),
            _ => None,
        }
    }

    /// A number that is more than itself.
    fn number(
        first: &'a Expr,
        value: &'a Expr,
        second: Option<&'a Expr>,
    ) -> Option<(String, Passed)> {
        if first.is_zero() {
            return Some((String::new(), Passed::Zero));
        }
        // `!isLikeNone(x), isLikeNone(x) ? 0 : x`
        if let Expr::Not(inner) = value
            && let Some((test, [argument])) = inner.as_call()
            && names::is_like_none(test)
        {
            second?;
            return Some((name_in(argument).unwrap_or_default(), Passed::Flagged));
        }
        // `low0 = u32CvtShim[0], high0 = u32CvtShim[1]`
        if let Expr::Index(array, _) = value
            && array
                .as_name()
                .is_some_and(|name| name.ends_with("CvtShim"))
        {
            second?;
            return Some((String::new(), Passed::Halves));
        }
        None
    }

    fn outcome(&self) -> Outcome {
        if self.place.kind == MemberKind::Free {
            return Outcome::Nothing;
        }
        if let (Some(made_of), Some(class)) = (self.body.made_of, self.place.class)
            && self.body.slot(made_of).is_some()
        {
            return Outcome::Object {
                class: class.to_owned(),
                optional: false,
            };
        }
        let of = |value: &&'a Expr| self.outcome_of(value);
        let all: Vec<Outcome> = self.body.returned.iter().map(of).collect();
        let says = |outcome: &&Outcome| !matches!(outcome, Outcome::Nothing);
        all.iter().find(says).cloned().unwrap_or(Outcome::Nothing)
    }

    fn outcome_of(&self, returned: &'a Expr) -> Outcome {
        let optional = self.body.may_be_nothing(returned);
        let value = self.body.resolved(returned);
        let value = match value.as_method() {
            Some((inner, "slice", [])) => inner,
            _ => value,
        };
        if matches!(value, Expr::This) || value.as_name() == Some("undefined") {
            return Outcome::Nothing;
        }
        if let Expr::Choice(test, then, otherwise) = value {
            return self.choice(test, then, otherwise);
        }
        if let Some((Expr::Name(class), "__wrap", [_])) = value.as_method() {
            return Outcome::Object {
                class: class.clone(),
                optional,
            };
        }
        if let Some((helper, arguments)) = value.as_call() {
            if let (Some(of), Some(pointer)) = (names::takes(helper), arguments.first()) {
                return Outcome::Buffer {
                    of,
                    freed: self.is_freed(pointer),
                    optional,
                };
            }
            if names::gives_value(helper) {
                return Outcome::Value;
            }
        }
        if let Expr::Index(array, _) = value
            && array
                .as_name()
                .is_some_and(|name| name.ends_with("CvtShim"))
        {
            return Outcome::Halves;
        }
        if let Some(at) = self.body.slot(value) {
            return Outcome::Plain { at, none: None };
        }
        let value_inside = |expr: &'a Expr| {
            expr.as_call()
                .is_some_and(|(name, _)| names::gives_value(name))
                .then_some(())
        };
        match value.find(&value_inside) {
            Some(()) => Outcome::Value,
            None => Outcome::Unknown,
        }
    }

    /// `ret === 0 ? undefined : ..`
    fn choice(&self, test: &'a Expr, then: &'a Expr, otherwise: &'a Expr) -> Outcome {
        let Expr::Binary(operator, tested, against) = test else {
            return Outcome::Unknown;
        };
        let (none, some) = match operator {
            Operator::Equal => (then, otherwise),
            Operator::Unequal => (otherwise, then),
            _ => return Outcome::Unknown,
        };
        let (Some(tested), Some("undefined" | "null")) = (self.body.slot(tested), none.as_name())
        else {
            return Outcome::Unknown;
        };
        match self.outcome_of(some) {
            Outcome::Object { class, .. } => Outcome::Object {
                class,
                optional: true,
            },
            Outcome::Buffer { of, freed, .. } => Outcome::Buffer {
                of,
                freed,
                optional: true,
            },
            Outcome::Plain { at: value, .. } if against.is_zero() && value != tested => {
                Outcome::Flagged {
                    flag: tested,
                    value,
                }
            }
            Outcome::Plain { at, .. } => Outcome::Plain {
                at,
                none: whole(against),
            },
            other => other,
        }
    }

    /// Whether a result's buffer is given back.
    fn is_freed(&self, pointer: &'a Expr) -> bool {
        let Some(at) = self.body.slot(pointer) else {
            return false;
        };
        let mut freed = self.body.freed.iter();
        freed.any(|(_, freed)| self.body.slot(freed) == Some(at))
    }
}

/// `isLikeNone(x) ? 0 : value`: the value, and whether it can be left out.
fn without_none(expr: &Expr) -> (&Expr, bool) {
    if let Expr::Choice(test, _, value) = expr
        && let Some((name, _)) = test.as_call()
        && names::is_like_none(name)
    {
        return (value, true);
    }
    (expr, false)
}

/// `isLikeNone(x) ? 0xFFFFFF : value`: the number.
fn number_for_none(expr: &Expr) -> Option<u64> {
    let Expr::Choice(test, none, _) = expr else {
        return None;
    };
    let (name, _) = test.as_call()?;
    whole(none).filter(|_| names::is_like_none(name))
}

/// A whole number that JavaScript has exactly.
fn whole(expr: &Expr) -> Option<u64> {
    const MAX: f64 = 9_007_199_254_740_991.0;
    let number = match expr {
        Expr::Number(number) => *number,
        Expr::Member(object, name)
            if name == "MAX_SAFE_INTEGER" && object.as_name() == Some("Number") =>
        {
            MAX
        }
        _ => return None,
    };
    let is_whole = number.fract() == 0.0 && (0.0..=MAX).contains(&number);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole, and in these bounds"
    )]
    is_whole.then_some(number as u64)
}

/// `x >>> 0` and its like: what it makes of a number.
fn coerced(expr: &Expr) -> Option<Coerced> {
    match expr {
        Expr::Binary(Operator::Shift, _, by) if by.is_zero() => Some(Coerced::U32),
        Expr::Binary(Operator::SignedShift, _, by) if by.is_zero() => Some(Coerced::I32),
        _ => match expr.as_method()? {
            (math, "fround", [_]) if math.as_name() == Some("Math") => Some(Coerced::F32),
            _ => None,
        },
    }
}

/// A value of JavaScript that is given a number.
fn added(value: &Expr) -> Option<(String, Passed)> {
    let (helper, arguments) = value.as_call()?;
    let borrowed = names::adds_value(helper)?;
    let name = name_in(arguments.first()?).unwrap_or_default();
    Some((name, Passed::Value { borrowed }))
}

/// The first variable in an expression that is not a function's name.
fn name_in(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Name(name) => Some(name.clone()),
        Expr::Call(_, arguments) => arguments.iter().find_map(name_in),
        other => other.parts().into_iter().find_map(name_in),
    }
}

impl NumberType {
    /// Its size.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            NumberType::I32 | NumberType::F32 => 4,
            NumberType::I64 | NumberType::F64 => 8,
        }
    }
}

impl Elements {
    /// The size of one of them.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Elements::Text | Elements::Bytes => 1,
            Elements::Two => 2,
            Elements::Four | Elements::Values => 4,
            Elements::Eight => 8,
        }
    }
}
