//! The identity of a call: the same on every engine, in every process, at any time.

use blake3::Hasher;

use super::record::CallKey;
use crate::Handle;
use crate::policy::plan::{ExportPlan, Plan};
use crate::policy::{ArgKind, Coercion, JsPassing, Ownership, ResultKind, Width};
use crate::val_bytes::encode_val;
use crate::value::Arg;
use engine_api::ModuleHash;

/// Keeps these hashes apart from all others, and one version of what goes into them from the next.
const CONTEXT: &str = "wasm-proxy 2026 key of a call with an artifact, version 2";

/// The key of a call, or `None` if its arguments do not describe it completely: the policy does not
/// promise that they do (`artifact.live`), or an argument names an object that has no key. `key_of`
/// gives the keys of objects, which are those of the calls that created them.
pub(crate) fn of_call(
    module: ModuleHash,
    bound: &Plan,
    plan: &ExportPlan,
    args: &[Arg<'_>],
    key_of: impl Fn(Handle) -> Option<CallKey>,
) -> Option<CallKey> {
    let artifact = plan.artifact.filter(|artifact| artifact.live)?;
    if args.len() != plan.args.len() {
        return None;
    }
    let mut hasher = Hasher::new_derive_key(CONTEXT);
    hasher.update(module.as_bytes());
    part(&mut hasher, plan.name.as_bytes());
    for service in [
        Some(artifact.export),
        Some(artifact.import),
        plan.fingerprint,
    ] {
        let name = service.map(|func| &*bound.export(func).name);
        part(&mut hasher, name.unwrap_or_default().as_bytes());
    }
    let layout = bound.artifact_layout(artifact);
    if !layout.is_empty() {
        part(&mut hasher, &layout);
    }
    // Where the results end and the arguments begin.
    part(&mut hasher, &(plan.results.len() as u64).to_le_bytes());
    for result in &plan.results {
        part(&mut hasher, &result_kind(&result.kind));
    }
    for (arg, kind) in args.iter().zip(&plan.args) {
        part(&mut hasher, &arg_kind(kind));
        match arg {
            Arg::Val(_) if *arg == Arg::NULL => part(&mut hasher, b"null"),
            Arg::Val(val) => part(&mut hasher, &encode_val(val)?),
            Arg::Bytes(bytes) => part(&mut hasher, bytes),
            Arg::Text(text) | Arg::Js(text) => part(&mut hasher, text.as_bytes()),
            Arg::Handle(handle) => {
                part(&mut hasher, &key_of(*handle)?.0);
                part(&mut hasher, &handle.result().to_le_bytes());
            }
            Arg::Pointer(_) | Arg::Handles(_) | Arg::Pointers(_) => return None,
        }
    }
    Some(CallKey(hasher.finalize().into()))
}

/// Each part goes in with its length, so no two lists of parts give the same bytes.
fn part(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// A kind as bytes: its tag, a byte that says which of its sort, and the name of a type if there is
/// one.
fn arg_kind(kind: &ArgKind) -> Vec<u8> {
    match kind {
        ArgKind::Value => vec![1, 0],
        ArgKind::Handle(ty) => typed(2, ty.as_deref()),
        ArgKind::Bytes(ownership) => vec![3, owner(*ownership)],
        ArgKind::Text(ownership) => vec![4, owner(*ownership)],
        ArgKind::Numbers(width, ownership) => vec![5, numbers(*width, *ownership)],
        ArgKind::Pointer => vec![6, 0],
        ArgKind::Pointers => vec![7, 0],
        ArgKind::Handles(ty) => typed(8, ty.as_deref()),
        ArgKind::Zero => vec![9, 0],
        ArgKind::Struct(ty) => typed(11, Some(ty)),
        ArgKind::Structs(ty) => typed(12, Some(ty)),
        ArgKind::CString(ownership) => vec![32, owner(*ownership)],
        ArgKind::Pointed(None, ownership) => vec![33, owner(*ownership)],
        ArgKind::Pointed(Some(width), ownership) => vec![34, numbers(*width, *ownership)],
        ArgKind::Optional(kind) => [&[35, 0], &*arg_kind(kind)].concat(),
        ArgKind::Out(ty) => typed(36, Some(&ty.to_string())),
        ArgKind::Js(passing) => vec![20, js(*passing)],
        ArgKind::OrNull(number, coercion) => {
            [&[39, coerced(*coercion)], &number.to_le_bytes()[..]].concat()
        }
    }
}

fn result_kind(kind: &ResultKind) -> Vec<u8> {
    match kind {
        ResultKind::Value => vec![1, 0],
        ResultKind::Handle(ty) => typed(2, ty.as_deref()),
        ResultKind::Bytes(ownership) => vec![3, owner(*ownership)],
        ResultKind::Text(ownership) => vec![4, owner(*ownership)],
        ResultKind::Numbers(width, ownership) => vec![5, numbers(*width, *ownership)],
        ResultKind::Pointer => vec![6, 0],
        ResultKind::Pointers => vec![7, 0],
        ResultKind::Error => vec![10, 0],
        ResultKind::Struct(ty) => typed(11, Some(ty)),
        ResultKind::Structs(ty) => typed(12, Some(ty)),
        ResultKind::CString(ownership) => vec![32, owner(*ownership)],
        ResultKind::Measured(of, export) => [&typed(37, Some(export)), &*result_kind(of)].concat(),
        ResultKind::Number(ty) => typed(38, Some(&ty.to_string())),
        ResultKind::OrNull(number, ty) => {
            let ty = ty.map(|ty| ty.to_string());
            [&*typed(39, ty.as_deref()), &number.to_le_bytes()].concat()
        }
        ResultKind::Optional(ty) => typed(40, ty.map(|ty| ty.to_string()).as_deref()),
        ResultKind::Js => vec![20, 0],
        ResultKind::JsList => vec![20, 3],
    }
}

fn typed(tag: u8, ty: Option<&str>) -> Vec<u8> {
    let name = ty.unwrap_or_default().as_bytes();
    [&[tag, u8::from(ty.is_some())], name].concat()
}

fn owner(ownership: Ownership) -> u8 {
    match ownership {
        Ownership::Host => 0,
        Ownership::Guest => 1,
    }
}

fn coerced(coercion: Coercion) -> u8 {
    match coercion {
        Coercion::AsIs => 0,
        Coercion::I32 => 1,
        Coercion::U32 => 2,
        Coercion::F32 => 3,
    }
}

fn js(passing: JsPassing) -> u8 {
    match passing {
        JsPassing::Moved => 0,
        JsPassing::Borrowed => 1,
        JsPassing::Optional => 2,
        JsPassing::List => 3,
    }
}

fn numbers(width: Width, ownership: Ownership) -> u8 {
    let log2 = match width {
        Width::Two => 1,
        Width::Four => 2,
        Width::Eight => 3,
    };
    2 * log2 + owner(ownership)
}

#[cfg(test)]
mod tests {
    use engine_api::ValType;

    use super::*;

    /// Directories outlive programs. If this fails, the version in the context has to change too.
    #[test]
    fn kinds_enter_keys_as_documented() {
        let srs = || Some("srs".to_owned());
        let args = [
            (ArgKind::Value, b"\x01\0".as_slice()),
            (ArgKind::Handle(None), b"\x02\0"),
            (ArgKind::Handle(srs()), b"\x02\x01srs"),
            (ArgKind::Bytes(Ownership::Host), b"\x03\0"),
            (ArgKind::Text(Ownership::Guest), b"\x04\x01"),
            (ArgKind::Numbers(Width::Two, Ownership::Host), b"\x05\x02"),
            (
                ArgKind::Numbers(Width::Eight, Ownership::Guest),
                b"\x05\x07",
            ),
            (ArgKind::Pointer, b"\x06\0"),
            (ArgKind::Pointers, b"\x07\0"),
            (ArgKind::Handles(srs()), b"\x08\x01srs"),
            (ArgKind::Zero, b"\x09\0"),
            (ArgKind::Struct("point".to_owned()), b"\x0b\x01point"),
            (ArgKind::Structs("point".to_owned()), b"\x0c\x01point"),
            (ArgKind::CString(Ownership::Guest), b"\x20\x01"),
            (ArgKind::Pointed(None, Ownership::Host), b"\x21\0"),
            (
                ArgKind::Pointed(Some(Width::Four), Ownership::Host),
                b"\x22\x04",
            ),
            (
                ArgKind::Optional(Box::new(ArgKind::Bytes(Ownership::Host))),
                b"\x23\0\x03\0",
            ),
            (ArgKind::Js(JsPassing::Moved), b"\x14\0"),
            (ArgKind::Js(JsPassing::Borrowed), b"\x14\x01"),
            (ArgKind::Js(JsPassing::Optional), b"\x14\x02"),
            (ArgKind::Js(JsPassing::List), b"\x14\x03"),
            (
                ArgKind::OrNull(7, Coercion::AsIs),
                b"\x27\0\x07\0\0\0\0\0\0\0",
            ),
            (
                ArgKind::OrNull(7, Coercion::U32),
                b"\x27\x02\x07\0\0\0\0\0\0\0",
            ),
        ];
        for (kind, bytes) in args {
            assert_eq!(arg_kind(&kind), bytes, "{kind}");
        }
        let results = [
            (ResultKind::Value, b"\x01\0".as_slice()),
            (ResultKind::Handle(srs()), b"\x02\x01srs"),
            (ResultKind::Bytes(Ownership::Guest), b"\x03\x01"),
            (ResultKind::Text(Ownership::Host), b"\x04\0"),
            (
                ResultKind::Numbers(Width::Four, Ownership::Host),
                b"\x05\x04",
            ),
            (ResultKind::Pointer, b"\x06\0"),
            (ResultKind::Pointers, b"\x07\0"),
            (ResultKind::Error, b"\x0a\0"),
            (ResultKind::CString(Ownership::Host), b"\x20\0"),
            (ResultKind::Js, b"\x14\0"),
            (ResultKind::JsList, b"\x14\x03"),
            (
                ResultKind::OrNull(7, Some(ValType::F64)),
                b"\x27\x01f64\x07\0\0\0\0\0\0\0",
            ),
            (ResultKind::Optional(None), b"\x28\0"),
        ];
        for (kind, bytes) in results {
            assert_eq!(result_kind(&kind), bytes, "{kind}");
        }
    }
}
