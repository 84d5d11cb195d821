//! The body of one function of the glue: the variables, the one call of an export, and the rest.

use std::collections::{HashMap, HashSet};

use crate::model::{Slot, StackPointer};
use crate::names;
use crate::tree::{Expr, Function, Operator, Stmt, each};

/// How many variables are followed from one to the next.
const STEPS_MAX: usize = 16;

/// Where older modules leave results: they have no data below 1,024.
const FIXED_PLACE: usize = 8;

/// What is in the body of a function.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    /// The values that each variable is given anywhere.
    values: HashMap<&'a str, Vec<&'a Expr>>,
    /// Variables that are declared without a value, and may stay so.
    unset: HashSet<&'a str>,
    /// The class that each argument must be of.
    pub(crate) asserted: HashMap<&'a str, &'a str>,
    /// Arguments whose pointers are set to 0.
    pub(crate) zeroed: HashSet<&'a str>,
    /// Arguments that are written into: `out.set(bytes)`.
    pub(crate) written: HashSet<&'a str>,
    /// Whether the pointer of `this` is set to 0.
    pub(crate) zeroes_this: bool,
    /// What the pointer of `this` is set to.
    pub(crate) made_of: Option<&'a Expr>,
    /// The export and what it is given.
    pub(crate) call: Option<(&'a str, &'a [Expr])>,
    /// The pointers that are given back to the allocator, and the export that takes them.
    pub(crate) freed: Vec<(&'a str, &'a Expr)>,
    pub(crate) thrown: Vec<&'a Expr>,
    pub(crate) returned: Vec<&'a Expr>,
    /// The export that takes an exception.
    pub(crate) exception: Option<&'a str>,
}

impl<'a> Body<'a> {
    pub(crate) fn of(function: &'a Function) -> Self {
        let mut body = Self {
            values: HashMap::new(),
            unset: HashSet::new(),
            asserted: HashMap::new(),
            zeroed: HashSet::new(),
            written: HashSet::new(),
            zeroes_this: false,
            made_of: None,
            call: None,
            freed: Vec::new(),
            thrown: Vec::new(),
            returned: Vec::new(),
            exception: None,
        };
        each(&function.body, &mut |statement| body.see(statement));
        body.settle(&function.body);
        body
    }

    /// Variables that are given a value in any case are not left without one.
    fn settle(&mut self, statements: &'a [Stmt]) {
        for statement in statements {
            match statement {
                Stmt::Expr(Expr::Assign(left, right)) if !is_nothing(right) => {
                    if let Expr::Name(name) = &**left {
                        self.unset.remove(name.as_str());
                    }
                }
                Stmt::Block(inner) => self.settle(inner),
                _ => {}
            }
        }
    }

    fn see(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Let(name, Some(value)) => {
                self.values.entry(name).or_default().push(value);
                self.look_for_calls(value);
            }
            Stmt::Let(name, None) => {
                self.unset.insert(name);
            }
            Stmt::Expr(expr) => {
                if let Some((Expr::Name(array), "set", [_])) = expr.as_method() {
                    self.written.insert(array);
                }
                self.assignment(expr);
                self.look_for_calls(expr);
            }
            Stmt::Return(Some(value)) => {
                self.look_for_calls(value);
                self.returned.push(value);
            }
            Stmt::Throw(value) => self.thrown.push(value),
            Stmt::If(test, ..) => self.look_for_calls(test),
            _ => {}
        }
    }

    fn assignment(&mut self, expr: &'a Expr) {
        let Expr::Assign(left, right) = expr else {
            if let Some(("_assertClass", [Expr::Name(name), Expr::Name(class)])) = expr.as_call() {
                self.asserted.insert(name, class);
            }
            return;
        };
        match &**left {
            Expr::Name(name) => self.values.entry(name).or_default().push(right),
            Expr::Member(object, field) if names::is_pointer_field(field) => match &**object {
                Expr::This if right.is_zero() => self.zeroes_this = true,
                Expr::This => self.made_of = Some(right),
                Expr::Name(name) if right.is_zero() => {
                    self.zeroed.insert(name);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn look_for_calls(&mut self, expr: &'a Expr) {
        if let Some((name, arguments)) = expr.as_export() {
            if !names::is_service(name) {
                self.call.get_or_insert((name, arguments));
            } else if let [pointer, _, ..] = arguments {
                self.freed.push((name, pointer));
            } else if let [Expr::Call(..) | Expr::Name(_)] = arguments {
                self.exception.get_or_insert(name);
            }
        }
        for part in expr.parts() {
            self.look_for_calls(part);
        }
    }

    /// What a variable stands for: the value that it is given, other than 0 and undefined.
    pub(crate) fn resolved(&self, expr: &'a Expr) -> &'a Expr {
        let mut expr = expr;
        for _ in 0..STEPS_MAX {
            let Expr::Name(name) = expr else { break };
            let values = self.values.get(name.as_str());
            let value = values.and_then(|all| all.iter().find(|value| !is_nothing(value)));
            let Some(value) = value else { break };
            expr = value;
        }
        expr
    }

    /// Whether a variable can also be 0, or nothing.
    pub(crate) fn may_be_nothing(&self, expr: &Expr) -> bool {
        let Expr::Name(name) = expr else { return false };
        let values = self.values.get(name.as_str());
        self.unset.contains(name.as_str())
            || values.is_some_and(|all| all.len() > 1 && all.iter().any(|value| is_nothing(value)))
    }

    /// The place that a value is read from, if it is a result of the export.
    pub(crate) fn slot(&self, expr: &'a Expr) -> Option<Slot> {
        let expr = self.resolved(expr);
        if let Some((name, _)) = expr.as_export() {
            return (!names::is_service(name)).then_some(Slot::Result(0));
        }
        if let Some((_, method, [at, ..])) = expr.as_method()
            && let Some(ty) = names::reads(method)
        {
            return Some(Slot::Memory(behind_pointer(at)?, ty));
        }
        match expr {
            Expr::Index(array, index) => match (&**index, array.as_call()) {
                // One of several results.
                (Expr::Number(index), _) if self.slot(array) == Some(Slot::Result(0)) => {
                    Some(Slot::Result(whole(*index)?))
                }
                (_, Some((name, []))) => {
                    let ty = names::view(name)?;
                    Some(Slot::Memory(element(index)?, ty))
                }
                // One of an enumeration of texts, by its number.
                _ => self.slot(index),
            },
            Expr::Binary(Operator::Shift | Operator::SignedShift | Operator::Unequal, left, _) => {
                self.slot(left)
            }
            // `BigInt.asUintN(64, ret)`, `String.fromCodePoint(ret)`
            Expr::Call(_, arguments) => self.slot(arguments.last()?),
            _ => None,
        }
    }
}

/// The place that an argument points to, if it is one for results.
pub(crate) fn stack_pointer(value: &Expr) -> Option<StackPointer> {
    // `wasm.__wbindgen_add_to_stack_pointer(-16)`
    if let Some((name, [_])) = value.as_export() {
        return names::is_service(name).then(|| StackPointer::Function(name.to_owned()));
    }
    match value {
        // `wasm.__wbindgen_export_2.value - 16`
        Expr::Binary(Operator::Other, pointer, _) => match &**pointer {
            Expr::Member(global, value) if value == "value" => match &**global {
                Expr::Member(wasm, name) if wasm.as_name() == Some("wasm") => {
                    Some(StackPointer::Global(name.clone()))
                }
                _ => None,
            },
            _ => None,
        },
        Expr::Number(at) => whole(*at)
            .filter(|at| *at == FIXED_PLACE)
            .and_then(|at| u32::try_from(at).ok())
            .map(StackPointer::Address),
        _ => None,
    }
}

/// Whether an expression is 0 or undefined.
fn is_nothing(expr: &Expr) -> bool {
    expr.is_zero() || expr.as_name() == Some("undefined")
}

/// A number as an index.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a small number without a fraction"
)]
fn whole(number: f64) -> Option<usize> {
    ((0.0..4096.0).contains(&number) && number.fract() == 0.0).then_some(number as usize)
}

/// The bytes behind a return pointer, of `retptr + 4 * 1`.
fn behind_pointer(at: &Expr) -> Option<usize> {
    let Expr::Binary(Operator::Plus, _, offset) = at else {
        return None;
    };
    match &**offset {
        Expr::Binary(Operator::Times, size, count) => match (&**size, &**count) {
            (Expr::Number(size), Expr::Number(count)) => whole(size * count),
            _ => None,
        },
        Expr::Number(bytes) => whole(*bytes),
        _ => None,
    }
}

/// The bytes behind a return pointer, of `retptr / 4 + 1`.
fn element(index: &Expr) -> Option<usize> {
    let Expr::Binary(Operator::Plus, base, count) = index else {
        return None;
    };
    match (&**base, &**count) {
        (Expr::Binary(Operator::Over, _, size), Expr::Number(count)) => match &**size {
            Expr::Number(size) => whole(size * count),
            _ => None,
        },
        _ => None,
    }
}
