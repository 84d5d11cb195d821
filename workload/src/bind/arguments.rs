//! Arguments against their parameters.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use engine_api::{JsValue, ValType};
use guest_calls::{ArgKind, JsPassing, OwnedArg, Param, Shape, Value, js};
use serde_json::Number;

use super::number::to_val;
use super::{Binder, BoundArg, Enclosing, VariableRef};
use crate::{Argument, Literal, width_name};

impl Binder<'_> {
    pub(super) fn argument(
        &self,
        arg: &Argument,
        param: Param<'_>,
        enclosing: Enclosing,
    ) -> Result<BoundArg> {
        Ok(match (arg, param.kind) {
            (Argument::Null, ArgKind::Optional(_) | ArgKind::OrNull(..)) => {
                BoundArg::Fixed(OwnedArg::NULL)
            }
            // JavaScript has a null of its own, which is nothing where a value may be left out.
            (Argument::Null, ArgKind::Js(passing)) if *passing != JsPassing::List => {
                BoundArg::Fixed(OwnedArg::Js("null".into()))
            }
            (Argument::Named(name), ArgKind::Optional(_)) => {
                BoundArg::Optional(self.variable(name, param)?)
            }
            (_, ArgKind::Optional(kind)) => {
                return self.argument(arg, Param { kind, ..param }, enclosing);
            }
            (Argument::Literal(literal), _) => match literal.fit(&param.shape())? {
                Some(value) => BoundArg::Fixed(checked(&value, param)?),
                None => return Err(misfit(arg, param)),
            },
            (Argument::Index, ArgKind::Value | ArgKind::OrNull(..)) => {
                to_val(&Number::from(enclosing.turns.saturating_sub(1)), param.ty)
                    .context("the repeat has more turns than the parameter can count")?;
                BoundArg::Index(param.ty)
            }
            (Argument::Handles(names), ArgKind::Handles(of)) => {
                let mut seen = HashSet::new();
                let twice = names.iter().find(|name| !seen.insert(*name));
                if let Some(twice) = twice {
                    bail!("the list has `{twice}` twice, and the call uses up each of its objects");
                }
                BoundArg::Handles(self.listed(names, &ArgKind::Handle(of.clone()), param)?)
            }
            (Argument::Pointers(names), _) if param.takes(&Shape::Pointers) => {
                BoundArg::Pointers(self.listed(names, &ArgKind::Pointer, param)?)
            }
            (Argument::Named(name), _) => BoundArg::Variable(self.variable(name, param)?),
            _ => return Err(misfit(arg, param)),
        })
    }

    /// The variables of a list, each of which must hold a thing of one kind.
    fn listed(
        &self,
        names: &[String],
        kind: &ArgKind,
        param: Param<'_>,
    ) -> Result<Vec<VariableRef>> {
        // A list that the guest takes over cannot hold what only this generation knows.
        let each = Param {
            kind,
            is_pure: false,
            ..param
        };
        names.iter().map(|name| self.variable(name, each)).collect()
    }

    /// The variable of an earlier result.
    fn variable(&self, name: &str, param: Param<'_>) -> Result<VariableRef> {
        let Some(known) = self.variables.get(name) else {
            let names = self.variables.keys();
            let mut known: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            known.sort();
            known.truncate(8);
            let known = if known.is_empty() {
                "no result has a name so far".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            bail!("no earlier call names its result `{name}` with \"as\"; {known}");
        };
        ensure!(
            param.takes(&known.shape),
            "`{name}` is {} where {} is needed",
            match &known.shape {
                Shape::Val(ty) => format!("a number of type {ty}"),
                Shape::Handle(None) => "a handle".to_owned(),
                Shape::Handle(Some(ty)) => format!("a handle of type `{ty}`"),
                Shape::Bytes(_) => "bytes".to_owned(),
                Shape::Text => "text".to_owned(),
                Shape::Numbers(width) => format!("an array of {}", width_name(*width)),
                Shape::Pointer => "a raw pointer".to_owned(),
                Shape::Js => "a JavaScript value".to_owned(),
                Shape::Pointers => "a list of raw pointers".to_owned(),
                Shape::Handles => unreachable!("no result is a list of handles"),
            },
            needed(param.kind, param.ty)
        );
        ensure!(
            !known.is_stale,
            "`{name}` is a raw pointer of a pinned scope that has ended; use it inside that scope"
        );
        Ok(VariableRef {
            index: known.index,
            name: name.to_owned(),
        })
    }
}

/// The value as an argument, if its bytes are whole numbers where the parameter takes an array.
fn checked(value: &Value, param: Param<'_>) -> Result<OwnedArg> {
    if let (Value::Bytes(bytes), ArgKind::Numbers(width, _) | ArgKind::Pointed(Some(width), _)) =
        (value, param.kind)
    {
        ensure!(
            param.takes(&Shape::Bytes(Some(bytes.len()))),
            "{} bytes where an array of numbers of {} bytes each is needed",
            bytes.len(),
            width.bytes()
        );
    }
    if let Value::Js(text) = value {
        let value = js::decode(text).map_err(anyhow::Error::msg)?;
        let needs_list = *param.kind == ArgKind::Js(JsPassing::List);
        ensure!(
            !needs_list || matches!(value, JsValue::Array(_)),
            "a JavaScript value that is no array where an array, {{\"js\":[..]}}, is needed"
        );
    }
    let arg = value.as_arg().and_then(|arg| OwnedArg::record(&arg));
    Ok(arg.expect("a file writes no nulls, references or pointers"))
}

fn misfit(arg: &Argument, param: Param<'_>) -> anyhow::Error {
    let needed = needed(param.kind, param.ty);
    anyhow::anyhow!("{} where {needed} is needed", describe(arg))
}

fn describe(arg: &Argument) -> String {
    match arg {
        Argument::Literal(Literal::Number(_)) => "a number",
        Argument::Named(_) => "an earlier result",
        Argument::Literal(Literal::Bytes(_)) => "bytes",
        Argument::Literal(Literal::Text(_)) => "text",
        Argument::Literal(Literal::Js(_)) => "a JavaScript value",
        Argument::Literal(Literal::Numbers(width, _)) => {
            return format!("an array of {}", width_name(*width));
        }
        Argument::Handles(_) => "a list of handles",
        Argument::Pointers(_) => "a list of raw pointers",
        Argument::Index => "the turn",
        Argument::Null => "null",
    }
    .to_owned()
}

fn needed(kind: &ArgKind, ty: ValType) -> String {
    match kind {
        ArgKind::Value => format!("a number of type {ty}"),
        ArgKind::OrNull(..) => format!("null or a number of type {ty}"),
        ArgKind::Handle(None) => "a handle, {\"handle\":\"name\"},".to_owned(),
        ArgKind::Handle(Some(of)) => format!("a handle of type `{of}`, {{\"handle\":\"name\"}},"),
        ArgKind::Bytes(_) | ArgKind::Pointed(None, _) => {
            "a buffer, {\"bytes\":\"<base64>\"},".to_owned()
        }
        ArgKind::Text(_) | ArgKind::CString(_) => "text, {\"text\":\"...\"},".to_owned(),
        ArgKind::Numbers(width, _) | ArgKind::Pointed(Some(width), _) => {
            let name = width_name(*width);
            format!("an array of {name}, {{\"{name}\":[1,2]}} or {{\"bytes\":\"<base64>\"}},")
        }
        ArgKind::Handles(None) => {
            "a list of handles, {\"handles\":[\"name\",\"other\"]},".to_owned()
        }
        ArgKind::Handles(Some(of)) => {
            format!("a list of handles of type `{of}`, {{\"handles\":[\"name\",\"other\"]}},")
        }
        ArgKind::Pointer => "a raw pointer of the same pinned scope".to_owned(),
        ArgKind::Pointers => {
            "a list of raw pointers of the same pinned scope, {\"pointers\":[\"name\",\"other\"]},"
                .to_owned()
        }
        ArgKind::Struct(of) => {
            format!("a struct of type `{of}` as bytes, {{\"bytes\":\"<base64>\"}},")
        }
        ArgKind::Structs(of) => {
            format!("structs of type `{of}` as bytes, {{\"bytes\":\"<base64>\"}},")
        }
        ArgKind::Js(JsPassing::Optional) => "null or a JavaScript value, {\"js\":..},".to_owned(),
        ArgKind::Js(JsPassing::List) => "an array, {\"js\":[..]},".to_owned(),
        ArgKind::Js(_) => "a JavaScript value, {\"js\":..},".to_owned(),
        ArgKind::Optional(kind) => format!("null or {}", needed(kind, ty)),
        ArgKind::Zero | ArgKind::Out(_) => {
            unreachable!("the binding leaves out what no caller gives")
        }
    }
}
