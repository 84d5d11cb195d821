//! Arguments against the parameters that they are for.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use engine_api::ValType;
use proxy_core::ArgKind;
use serde_json::Number;

use super::number::to_val;
use super::{Binder, BoundArg, Kind, Place};
use crate::{Argument, width_name};

/// What an argument is for.
#[derive(Clone, Copy)]
pub(super) struct Param<'a> {
    pub(super) kind: &'a ArgKind,
    /// The type of the first wasm parameter that it takes.
    pub(super) ty: ValType,
    /// Whether the export is pure: such calls read what lasts and what does not alike, so that a raw pointer
    /// can stand for a handle.
    pub(super) is_pure: bool,
}

impl Binder<'_> {
    pub(super) fn argument(
        &self,
        arg: &Argument,
        param: Param<'_>,
        place: Place,
    ) -> Result<BoundArg> {
        let ty = param.ty;
        Ok(match (arg, param.kind) {
            (Argument::Number(number), ArgKind::Value) => BoundArg::Val(to_val(number, ty)?),
            (Argument::Index, ArgKind::Value) => {
                to_val(&Number::from(place.turns.saturating_sub(1)), ty)
                    .context("the repeat has more turns than the parameter can count")?;
                BoundArg::Index(ty)
            }
            (Argument::Text(text), ArgKind::Text(_)) => BoundArg::Text(text.clone()),
            // A buffer is a buffer.
            (Argument::Bytes(bytes) | Argument::Numbers(_, bytes), ArgKind::Bytes(_)) => {
                BoundArg::Bytes(bytes.clone())
            }
            (Argument::Text(text), ArgKind::Bytes(_)) => BoundArg::Bytes(text.clone().into_bytes()),
            (Argument::Numbers(width, bytes), ArgKind::Numbers(needed, _)) if width == needed => {
                BoundArg::Bytes(bytes.clone())
            }
            (Argument::Bytes(bytes), ArgKind::Numbers(width, _)) => {
                ensure!(
                    bytes.len().is_multiple_of(width.bytes() as usize),
                    "{} bytes where an array of numbers of {} bytes each is needed",
                    bytes.len(),
                    width.bytes()
                );
                BoundArg::Bytes(bytes.clone())
            }
            (Argument::Handles(names), ArgKind::Handles(of)) => {
                let mut seen = HashSet::new();
                let twice = names.iter().find(|name| !seen.insert(*name));
                if let Some(twice) = twice {
                    bail!("the list has `{twice}` twice, and the call uses up each of its objects");
                }
                BoundArg::Handles(self.listed(names, &ArgKind::Handle(of.clone()), param)?)
            }
            (Argument::Pointers(names), ArgKind::Pointers) => {
                BoundArg::Pointers(self.listed(names, &ArgKind::Pointer, param)?)
            }
            (Argument::Named(name), _) => BoundArg::Slot(self.named(name, param)?, name.to_owned()),
            (got, kind) => bail!("{} where {} is needed", describe(got), needed(kind, ty)),
        })
    }

    /// The slots of a list, each of which must hold a thing of one kind.
    fn listed(
        &self,
        names: &[String],
        kind: &ArgKind,
        param: Param<'_>,
    ) -> Result<Vec<(usize, String)>> {
        // A list that the guest takes over cannot hold what only this generation knows.
        let each = Param {
            kind,
            is_pure: false,
            ..param
        };
        let slot = |name: &String| Ok((self.named(name, each)?, name.clone()));
        names.iter().map(slot).collect()
    }

    /// The slot of an earlier result.
    fn named(&self, name: &str, param: Param<'_>) -> Result<usize> {
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
        let fits = match (got, param.kind) {
            (Kind::Val(got), ArgKind::Value) => *got == param.ty,
            (Kind::Handle(Some(got)), ArgKind::Handle(Some(needed))) => got == needed,
            (Kind::Numbers(got), ArgKind::Numbers(needed, _)) => got == needed,
            (Kind::Handle(_), ArgKind::Handle(_))
            // Whether bytes are whole numbers shows in the call.
            | (Kind::Bytes | Kind::Numbers(_), ArgKind::Bytes(_))
            | (Kind::Bytes, ArgKind::Numbers(..))
            | (Kind::Text, ArgKind::Text(_)) => true,
            (Kind::Pointer, kind) => accepts_pointer(kind, param.is_pure),
            (Kind::StalePointer, kind) if accepts_pointer(kind, param.is_pure) => bail!(
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
                Kind::Numbers(width) => format!("an array of {}", width_name(*width)),
                Kind::Pointer | Kind::StalePointer => "a raw pointer".to_owned(),
            },
            needed(param.kind, param.ty)
        );
        Ok(*slot)
    }
}

/// A pure call reads what lasts and what does not alike.
fn accepts_pointer(kind: &ArgKind, is_pure: bool) -> bool {
    *kind == ArgKind::Pointer || (is_pure && matches!(kind, ArgKind::Handle(_)))
}

fn describe(arg: &Argument) -> String {
    match arg {
        Argument::Number(_) => "a number",
        Argument::Named(_) => "an earlier result",
        Argument::Bytes(_) => "bytes",
        Argument::Text(_) => "text",
        Argument::Numbers(width, _) => return format!("an array of {}", width_name(*width)),
        Argument::Handles(_) => "a list of handles",
        Argument::Pointers(_) => "a list of raw pointers",
        Argument::Index => "the turn",
    }
    .to_owned()
}

fn needed(kind: &ArgKind, ty: ValType) -> String {
    match kind {
        ArgKind::Value => format!("a number of type {ty}"),
        ArgKind::Handle(None) => "a handle, {\"handle\":\"name\"},".to_owned(),
        ArgKind::Handle(Some(of)) => format!("a handle of type `{of}`, {{\"handle\":\"name\"}},"),
        ArgKind::Bytes(_) => "a buffer, {\"bytes\":\"<base64>\"},".to_owned(),
        ArgKind::Text(_) => "text, {\"text\":\"...\"},".to_owned(),
        ArgKind::Numbers(width, _) => {
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
        ArgKind::Zero => unreachable!("the binding leaves out what is always zero"),
    }
}
