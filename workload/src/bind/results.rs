//! What an export returns, and what a call of it is expected to return.

use anyhow::{Result, bail, ensure};
use engine_api::ValType;
use proxy_core::{ExportInfo, ResultKind};

use super::number::to_val;
use super::{BoundExpected, Kind};
use crate::{Expected, width_name};

/// What the results of an export are, by the policy and the function's type.
pub(super) fn result_kinds(info: &ExportInfo) -> Vec<Kind> {
    let mut wasm = info.ty.results();
    info.results
        .iter()
        // An error is no result: the call fails with it.
        .filter(|kind| **kind != ResultKind::Error)
        .map(|kind| {
            let ty = wasm[0];
            let buffer = matches!(
                kind,
                ResultKind::Bytes(_) | ResultKind::Text(_) | ResultKind::Numbers(..)
            );
            let width = if buffer && ty == ValType::I32 { 2 } else { 1 };
            wasm = &wasm[width..];
            match kind {
                ResultKind::Value => Kind::Val(ty),
                ResultKind::Handle(ty) => Kind::Handle(ty.clone()),
                ResultKind::Bytes(_) => Kind::Bytes,
                ResultKind::Text(_) => Kind::Text,
                ResultKind::Numbers(width, _) => Kind::Numbers(*width),
                ResultKind::Pointer => Kind::Pointer,
                ResultKind::Error => unreachable!("errors were left out"),
            }
        })
        .collect()
}

pub(super) fn expectations(expect: &[Expected], kinds: &[Kind]) -> Result<Vec<BoundExpected>> {
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
            (Expected::Bytes(bytes), Kind::Bytes | Kind::Numbers(_))
            | (Expected::Numbers(_, bytes), Kind::Bytes) => BoundExpected::Bytes(bytes.clone()),
            (Expected::Numbers(width, bytes), Kind::Numbers(needed)) if width == needed => {
                BoundExpected::Bytes(bytes.clone())
            }
            (Expected::Null, Kind::Handle(_) | Kind::Bytes | Kind::Text | Kind::Numbers(_)) => {
                BoundExpected::Null
            }
            (_, Kind::Val(ty)) => bail!("the result is a number of type {ty}"),
            (_, Kind::Handle(_)) => {
                bail!("the result is a handle, which only null can be compared with")
            }
            (_, Kind::Bytes) => {
                bail!("the result is bytes: write a text, {{\"bytes\":..}} or null")
            }
            (_, Kind::Numbers(width)) => bail!(
                "the result is an array of numbers: write {{\"{}\":[..]}}, {{\"bytes\":..}} or null",
                width_name(*width)
            ),
            (_, Kind::Text) => bail!("the result is text: write a text or null"),
            (_, Kind::Pointer | Kind::StalePointer) => {
                bail!("the result is a raw pointer, which differs between generations")
            }
        })
    };
    expect.iter().zip(kinds).map(bind).collect()
}
