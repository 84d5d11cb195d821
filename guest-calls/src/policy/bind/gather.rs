//! Where the results of an export come from: the function itself, its return pointer, its
//! parameters for results, or another export that gives a length.

use engine_api::{FuncIndex, FuncType, ModuleInfo, ValType};

use super::super::plan::{Gathered, Source, refuse};
use super::export::bind_named;
use crate::{ArgKind, PolicyError, ResultKind};

/// Bytes that results at a return pointer may take.
pub(super) const RETURN_BYTES_MAX: u32 = 256;

/// The results of an export as callers see them.
pub(super) struct Slots {
    pub(super) types: Vec<ValType>,
    /// Where they come from, unless the function returns all of them.
    pub(super) gathered: Option<Gathered>,
}

impl Slots {
    pub(super) fn returned(ty: &FuncType) -> Self {
        Self {
            types: ty.results().to_vec(),
            gathered: None,
        }
    }
}

/// The parameters of an export, by who gives what is in them.
pub(super) struct Split {
    /// The arguments that callers give.
    pub(super) args: Vec<ArgKind>,
    /// The types of their parameters.
    pub(super) params: Vec<ValType>,
    /// The parameters where the function leaves results, counted without a return pointer, and the
    /// type of each result.
    pub(super) outs: Vec<(usize, ValType)>,
}

/// Takes the places for results out of the arguments.
pub(super) fn split_outs(
    args: Vec<ArgKind>,
    params: &[ValType],
    name: &str,
) -> Result<Split, PolicyError> {
    let mut split = Split {
        args: Vec::new(),
        params: Vec::new(),
        outs: Vec::new(),
    };
    if !args.iter().any(|kind| matches!(kind, ArgKind::Out(_))) {
        return Ok(Split {
            args,
            params: params.to_vec(),
            ..split
        });
    }
    let width: usize = args.iter().map(ArgKind::width).sum();
    if width != params.len() {
        return Err(refuse(format!(
            "`{name}` has {} parameters, and the policy's arguments take {width}, each `out` one of \
             them",
            params.len()
        )));
    }
    let mut at = 0;
    for kind in args {
        let own = &params[at..at + kind.width()];
        match kind {
            ArgKind::Out(ty) if own == [ValType::I32] => split.outs.push((at, ty)),
            ArgKind::Out(_) => {
                return Err(refuse(format!(
                    "`{name}`: parameter {at} is {}, and no pointer to a place for a result",
                    own[0]
                )));
            }
            _ => split.params.extend(own),
        }
        at += own.len();
        if kind.is_given() {
            split.args.push(kind);
        }
    }
    Ok(split)
}

/// The results of an export whose kinds the policy names.
pub(super) fn gather(
    kinds: &[ResultKind],
    name: &str,
    ty: &FuncType,
    outs: &[(usize, ValType)],
    return_pointer: bool,
    info: &ModuleInfo,
) -> Result<Slots, PolicyError> {
    let is_measured = |kind: &ResultKind| matches!(kind, ResultKind::Measured(..));
    if !return_pointer && outs.is_empty() && !kinds.iter().any(is_measured) {
        return Ok(Slots::returned(ty));
    }
    let (mut slots, return_bytes) = if return_pointer {
        at_return_pointer(kinds, name)?
    } else {
        let returned = ty.results().iter().map(|ty| (Source::Returned, *ty));
        (returned.collect(), 0)
    };
    let left = outs.iter().enumerate();
    slots.extend(left.map(|(out, (_, ty))| (Source::Out(out), *ty)));
    let mut at = 0;
    for kind in kinds {
        let Some((_, first)) = slots.get(at) else {
            break;
        };
        if let ResultKind::Measured(of, length) = kind {
            let params = &ty.params()[usize::from(return_pointer)..];
            let func = bind_length(length, name, params, info)?;
            slots.insert(at + 1, (Source::Length(func), ValType::I32));
            at += of.width(ValType::I32);
        } else {
            at += kind.width(*first);
        }
    }
    Ok(Slots {
        types: slots.iter().map(|(_, ty)| *ty).collect(),
        gathered: Some(Gathered {
            sources: slots.iter().map(|(source, _)| *source).collect(),
            outs: outs.iter().map(|(param, _)| *param).collect(),
            return_bytes,
        }),
    })
}

/// The export that gives a length: it takes the first arguments of the call, or none.
fn bind_length(
    length: &str,
    name: &str,
    params: &[ValType],
    info: &ModuleInfo,
) -> Result<FuncIndex, PolicyError> {
    let func = bind_named(length, name, "the length of a result", info)?;
    let own = &info.functions()[func.0 as usize].ty;
    if own.results() == [ValType::I32] && params.starts_with(own.params()) {
        return Ok(func);
    }
    Err(refuse(format!(
        "`{name}`: `{length}` has type {own}, needed for a length is a function that takes the first \
         parameters of `{name}`, or none, and gives one i32"
    )))
}

/// What a guest leaves at a return pointer: the fields of a C struct, each aligned to its size.
fn at_return_pointer(
    kinds: &[ResultKind],
    name: &str,
) -> Result<(Vec<(Source, ValType)>, u32), PolicyError> {
    let mut slots = Vec::new();
    let mut end = 0_u32;
    for kind in kinds {
        let i32s = [ValType::I32; 2];
        let types = match kind {
            ResultKind::Number(ty) | ResultKind::OrNull(_, Some(ty)) => &[*ty][..],
            ResultKind::Optional(ty) => &[ValType::I32, ty.unwrap_or(ValType::I32)],
            ResultKind::Value
            | ResultKind::OrNull(_, None)
            | ResultKind::Handle(_)
            | ResultKind::Pointer
            | ResultKind::Js
            | ResultKind::Struct(_)
            | ResultKind::CString(_)
            | ResultKind::Measured(..) => &i32s[..1],
            ResultKind::Bytes(_)
            | ResultKind::Text(_)
            | ResultKind::Numbers(..)
            | ResultKind::Structs(_)
            | ResultKind::JsList
            | ResultKind::Pointers
            | ResultKind::Error => &i32s,
        };
        for ty in types {
            let at = end.next_multiple_of(bytes_of(*ty));
            slots.push((Source::ReturnPointer(at), *ty));
            end = at + bytes_of(*ty);
        }
        if end > RETURN_BYTES_MAX {
            return Err(refuse(format!(
                "`{name}`: the results take more than the {RETURN_BYTES_MAX} bytes that a return \
                 pointer has room for"
            )));
        }
    }
    Ok((slots, end.next_multiple_of(16)))
}

/// The size of a number in memory, and its alignment.
pub(crate) fn bytes_of(ty: ValType) -> u32 {
    match ty {
        ValType::I64 | ValType::F64 => 8,
        _ => 4,
    }
}
