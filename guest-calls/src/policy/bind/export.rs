//! One export: its entry in the policy against its type.

use std::sync::atomic::AtomicBool;

use engine_api::{FuncIndex, FuncType, ModuleInfo, ValType};

use super::super::plan::{ArtifactPlan, Changes, ExportPlan, ResultPlan, StatusCodes, refuse};
use super::gather::{Slots, Split, gather, split_outs};
use crate::{ArgKind, ExportPolicy, Ownership, PolicyError, ResultKind, Role};

pub(super) fn bind_export(
    entry: Option<&ExportPolicy>,
    name: &str,
    func: FuncIndex,
    wasm_ty: &FuncType,
    info: &ModuleInfo,
) -> Result<ExportPlan, PolicyError> {
    let return_pointer = entry.is_some_and(|entry| entry.returns_through_pointer(wasm_ty));
    let params = &wasm_ty.params()[usize::from(return_pointer)..];
    let (args, zeros) = bind_args(entry, name, params.len())?;
    let params = &params[..params.len().saturating_sub(zeros)];
    let Split { args, params, outs } = split_outs(args, params, name)?;
    let kinds = entry.and_then(|entry| entry.results.as_ref());
    if kinds.is_none() && !outs.is_empty() {
        return Err(refuse(format!(
            "`{name}`: name the kinds of its results, those of each `out` last"
        )));
    }
    let Slots { types, gathered } = match kinds {
        Some(kinds) => gather(kinds, name, wasm_ty, &outs, return_pointer, info)?,
        None => Slots::returned(wasm_ty),
    };
    let ty = FuncType::new(&params, &types);
    let value = ResultPlan {
        kind: ResultKind::Value,
        pair: false,
        object: None,
    };
    let results = match kinds {
        Some(kinds) => bind_results(kinds, name, &ty)?,
        None => vec![value; types.len()],
    };
    let role = entry.map_or(Role::Mutate, |entry| entry.role);
    let mutates = entry.and_then(|entry| entry.mutates.clone());
    let changes = match (role, mutates) {
        (Role::Mutate, None) => Changes::Module,
        (_, mutates) => Changes::Handles(mutates.unwrap_or_default()),
    };
    let fingerprint = entry
        .and_then(|entry| entry.fingerprint.as_ref())
        .map(|fingerprint| bind_named(fingerprint, name, "its fingerprint", info))
        .transpose()?;
    let needs = entry.and_then(|entry| entry.needs.as_deref());
    let exhausted = entry
        .filter(|entry| !entry.exhausted.is_empty())
        .map(|entry| bind_exhausted(&entry.exhausted, name, &results, &ty))
        .transpose()?;
    let plain = gathered.is_none()
        && zeros == 0
        && args.iter().all(|kind| *kind == ArgKind::Value)
        && results
            .iter()
            .all(|result| result.kind == ResultKind::Value);
    let in_slots = gathered.is_none()
        && args
            .iter()
            .all(|kind| matches!(kind, ArgKind::Value | ArgKind::Handle(_)))
        && results
            .iter()
            .all(|result| matches!(result.kind, ResultKind::Value | ResultKind::Handle(_)));
    Ok(ExportPlan {
        name: name.into(),
        func,
        wasm_ty: wasm_ty.clone(),
        return_pointer,
        gathered,
        lends_back: lends_back(kinds),
        role,
        consumes: consumed_args(entry, &args),
        args,
        results,
        changes,
        needs: needs.map(Into::into),
        exhausted,
        fingerprint,
        artifact: bind_artifact(entry, name, info)?,
        numeric: ty.numeric().filter(|_| plain),
        slots: wasm_ty.numeric().filter(|_| in_slots),
        ty,
        listed: entry.is_some(),
        warned: AtomicBool::new(false),
    })
}

/// Whether a result of these kinds may lie in the buffer of an argument.
fn lends_back(kinds: Option<&Vec<ResultKind>>) -> bool {
    let lends = |kind: &ResultKind| {
        matches!(
            kind,
            ResultKind::Bytes(Ownership::Guest)
                | ResultKind::Text(Ownership::Guest)
                | ResultKind::Numbers(_, Ownership::Guest)
                | ResultKind::CString(Ownership::Guest)
                | ResultKind::Measured(..)
        )
    };
    kinds.is_some_and(|kinds| kinds.iter().any(lends))
}

/// The status codes of an export: they fit its one number.
fn bind_exhausted(
    codes: &[i64],
    name: &str,
    results: &[ResultPlan],
    ty: &FuncType,
) -> Result<StatusCodes, PolicyError> {
    let refused = |code: i64, reason: String| PolicyError::StatusCode {
        export: name.to_owned(),
        code,
        reason,
    };
    let numbers = results.iter().enumerate();
    let mut numbers = numbers.filter(|(_, result)| result.kind == ResultKind::Value);
    let (Some((position, _)), None) = (numbers.next(), numbers.next()) else {
        let reason = format!(
            "and it returns {ty}: name codes only for exports with one result of kind `value`, in \
             an entry of their own"
        );
        return Err(refused(codes[0], reason));
    };
    let width = |result: &ResultPlan| if result.pair { 2 } else { 1 };
    let before: usize = results[..position].iter().map(width).sum();
    let number = ty.results()[before];
    for code in codes {
        let fits = match number {
            ValType::I32 => i32::try_from(*code).is_ok(),
            ValType::I64 => true,
            // Every whole number up to this one is an f64.
            ValType::F64 => code.unsigned_abs() <= 1 << 53,
            _ => false,
        };
        if !fits {
            let reason = match number {
                ValType::I32 => "which is no i32; write codes above 2147483647 as negative numbers",
                ValType::F64 => "which is no f64; name one that is",
                _ => "but its result is neither i32, i64 nor f64; leave `exhausted` out",
            };
            return Err(refused(*code, reason.to_owned()));
        }
    }
    Ok(StatusCodes {
        position,
        codes: codes.to_vec(),
    })
}

/// The kinds of the arguments that callers give, and how many zeros come after them.
fn bind_args(
    entry: Option<&ExportPolicy>,
    name: &str,
    params: usize,
) -> Result<(Vec<ArgKind>, usize), PolicyError> {
    let mut args = match entry.and_then(|entry| entry.args.clone()) {
        Some(args) => args,
        None => vec![ArgKind::Value; params],
    };
    let is_zero = |kind: &ArgKind| *kind == ArgKind::Zero;
    let given = args.iter().take_while(|kind| !is_zero(kind)).count();
    let zeros = args.split_off(given);
    if zeros.iter().all(is_zero) {
        Ok((args, zeros.len()))
    } else {
        Err(refuse(format!(
            "`{name}`: an argument of kind `zero` comes after all others"
        )))
    }
}

/// The positions of the arguments whose objects the call uses up.
fn consumed_args(entry: Option<&ExportPolicy>, args: &[ArgKind]) -> Vec<usize> {
    let positions = |of: fn(&ArgKind) -> bool| (0..args.len()).filter(move |at| of(&args[*at]));
    let mut consumes = match entry {
        Some(entry) if entry.role == Role::Free => positions(ArgKind::is_handle).collect(),
        Some(entry) => entry.consumes.clone(),
        None => Vec::new(),
    };
    // wasm-bindgen's arrays of objects are the guest's.
    let is_list = |kind: &ArgKind| matches!(kind.inner(), ArgKind::Handles(_) | ArgKind::Pointers);
    // A pure export takes raw objects for structs, and they are the guest's too.
    let is_struct = |kind: &ArgKind| matches!(kind, ArgKind::Struct(_) | ArgKind::Structs(_));
    let is_pure = entry.is_some_and(|entry| entry.role == Role::Pure);
    let structs = positions(is_struct).filter(|_| is_pure);
    for position in positions(is_list).chain(structs) {
        if !consumes.contains(&position) {
            consumes.push(position);
        }
    }
    consumes
}

/// The exports of the artifact that an entry names, unless it is optional and not all are there.
fn bind_artifact(
    entry: Option<&ExportPolicy>,
    name: &str,
    info: &ModuleInfo,
) -> Result<Option<ArtifactPlan>, PolicyError> {
    let Some(artifact) = entry.and_then(|entry| entry.artifact.as_ref()) else {
        return Ok(None);
    };
    let here = |name: &str| info.function(name).is_ok();
    if artifact.optional && !(here(&artifact.export) && here(&artifact.import)) {
        return Ok(None);
    }
    Ok(Some(ArtifactPlan {
        export: bind_named(&artifact.export, name, "its artifact", info)?,
        import: bind_named(&artifact.import, name, "its artifact", info)?,
        live: artifact.live,
    }))
}

/// Whether an entry is for functions of this many parameters.
pub(super) fn fits_params(entry: &ExportPolicy, ty: &FuncType) -> bool {
    let count = ty.params().len() - usize::from(entry.returns_through_pointer(ty));
    entry.params.is_none_or(|params| params == count)
}

fn bind_results(
    kinds: &[ResultKind],
    name: &str,
    ty: &FuncType,
) -> Result<Vec<ResultPlan>, PolicyError> {
    let mut wasm = ty.results();
    let mut plans = Vec::with_capacity(kinds.len());
    for (position, named) in kinds.iter().enumerate() {
        // The length of a buffer is among the results by then, and so is a number's type.
        let kind = match named {
            ResultKind::Measured(of, _) => of,
            ResultKind::Number(_) => &ResultKind::Value,
            ResultKind::OrNull(number, _) => &ResultKind::OrNull(*number, None),
            ResultKind::Optional(_) => &ResultKind::Optional(None),
            kind => kind,
        };
        let buffer = kind.is_buffer();
        if *kind == ResultKind::Error && position + 1 < kinds.len() {
            return Err(refuse(format!(
                "`{name}`: a result of kind `error` comes after all others"
            )));
        }
        let (width, pair) = match (buffer, wasm) {
            (_, [ValType::I32, ValType::I32]) if *kind == ResultKind::Error => (2, true),
            _ if *kind == ResultKind::Error => {
                return Err(refuse(format!(
                    "`{name}` returns {ty}: no place there for a result of kind `error`, which is \
                     two i32"
                )));
            }
            (_, [first, ..]) if matches!(named, ResultKind::Number(ty) if ty != first) => {
                return Err(no_place(name, ty, named));
            }
            _ if named.may_be_null() => match nullable(named, wasm) {
                Some(place) => place,
                None => return Err(no_place(name, ty, named)),
            },
            (true, [ValType::I64, ..]) | (false, [ValType::I32, ..]) => (1, false),
            (false, [ValType::I64, ..]) if *kind != ResultKind::Js => (1, false),
            (true, [ValType::I32, ValType::I32, ..]) => (2, true),
            (false, [_, ..]) if *kind == ResultKind::Value => (1, false),
            (false, [ValType::ExternRef, ..]) if *kind == ResultKind::Js => (1, false),
            _ => return Err(no_place(name, ty, named)),
        };
        wasm = &wasm[width..];
        let object = match kind {
            ResultKind::Handle(ty) => ty.as_deref().map(Into::into),
            _ => None,
        };
        plans.push(ResultPlan {
            kind: kind.clone(),
            pair,
            object,
        });
    }
    if wasm.is_empty() {
        Ok(plans)
    } else {
        Err(refuse(format!(
            "`{name}` has type {ty}, of whose results the policy names only {}",
            kinds.len()
        )))
    }
}

/// How many results a number takes that can be null, and whether they are two.
fn nullable(kind: &ResultKind, wasm: &[ValType]) -> Option<(usize, bool)> {
    let fits = |ty: ValType, named: Option<ValType>| {
        !ty.is_reference() && ty != ValType::V128 && named.is_none_or(|named| named == ty)
    };
    match (kind, wasm) {
        (ResultKind::OrNull(number, named), [ty, ..]) => {
            let is_one = *ty != ValType::I32 || u32::try_from(*number).is_ok();
            (is_one && fits(*ty, *named)).then_some((1, false))
        }
        (ResultKind::Optional(named), [ValType::I32, ty, ..]) => {
            fits(*ty, *named).then_some((2, true))
        }
        _ => None,
    }
}

fn no_place(name: &str, ty: &FuncType, kind: &ResultKind) -> PolicyError {
    refuse(format!(
        "`{name}` returns {ty}: no place there for a result of kind `{kind}`"
    ))
}

pub(super) fn bind_named(
    service: &str,
    name: &str,
    purpose: &str,
    info: &ModuleInfo,
) -> Result<FuncIndex, PolicyError> {
    info.function(service).map(|(func, _)| func).map_err(|_| {
        refuse(format!(
            "`{name}`: the module exports no function `{service}` for {purpose}"
        ))
    })
}
