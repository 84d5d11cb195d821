//! The functions that JavaScript calls.

use std::collections::BTreeMap;
use std::ffi::CStr;

use engine_api::ExportKind;
use serde::Serialize;

use crate::cells::Cells;
use crate::failure::Failure;
use crate::journal::Restored;
use crate::napi::{Call, Function, Given};
use crate::options::Options;
use crate::surface::{Services, Shape};
use crate::{events, metrics_text, opening};

/// The functions by their names.
pub(crate) static FUNCTIONS: [(&CStr, Function); 14] = [
    (c"open", open),
    (c"describe", describe),
    (c"call", call),
    (c"finish", finish),
    (c"said", said),
    (c"endTurn", end_turn),
    (c"debugInfo", debug_info),
    (c"setEnabled", set_enabled),
    (c"swap", swap),
    (c"setKey", set_key),
    (c"isAlive", is_alive),
    (c"usage", usage),
    (c"metrics", metrics),
    (c"engines", engines),
];

/// `open(wasm, glue, options, listener)`: a session.
fn open(call: &Call) -> Result<Given, Failure> {
    let (glue, options) = (call.text(1)?, Options::read(&call.text(2)?)?);
    let listener = call.listener(3)?;
    let session = call.with_bytes(0, |wasm| opening::open(wasm, &glue, &options, listener))?;
    Ok(Given::Session(Box::new(session)))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    exports: Vec<&'a Shape>,
    left_out: BTreeMap<&'a String, &'a String>,
    has_turns: bool,
    policy: &'a str,
    engine: String,
    /// The names of exported memories and tables.
    memories: Vec<&'a str>,
    tables: Vec<&'a str>,
    services: &'a Services,
    /// The objects of earlier processes, in the order of their creation.
    restored: &'a [Restored],
}

/// `describe(session)`: its exports, as JSON.
fn describe(call: &Call) -> Result<Given, Failure> {
    call.with_session(|session| {
        let named = |kind: fn(ExportKind) -> bool| {
            let exports = session.proxy.module_info().exports().iter();
            exports
                .filter(move |export| kind(export.kind))
                .map(|export| export.name.as_str())
                .collect()
        };
        let description = Description {
            exports: session.exports.iter().map(|export| &export.shape).collect(),
            left_out: session.left_out.iter().collect(),
            has_turns: session.has_turns(),
            policy: &session.policy,
            engine: session.proxy.engine().to_string(),
            memories: named(|kind| matches!(kind, ExportKind::Memory(_))),
            tables: named(|kind| matches!(kind, ExportKind::Table(_))),
            services: &session.services,
            restored: &session.restored,
        };
        let text = serde_json::to_string(&description);
        text.map(Given::Text)
            .map_err(|error| Failure::Internal(error.to_string()))
    })
}

/// `call(session, index, cells, staging)`: an answer, or the size that the staging buffer must have.
fn call(call: &Call) -> Result<Given, Failure> {
    let at = call.index(1)?;
    call.with_session(|session| {
        call.with_buffers((2, 3), |cells, staging| {
            Ok(number(session.call(at, &mut Cells::new(cells), staging)))
        })
    })
}

/// `finish(session, 0, cells, staging)`: the results of a call that found the buffer too small.
fn finish(call: &Call) -> Result<Given, Failure> {
    call.with_session(|session| {
        call.with_buffers((2, 3), |cells, staging| {
            Ok(number(session.finish(&mut Cells::new(cells), staging)))
        })
    })
}

/// `said(session)`: what the last call that failed said.
fn said(call: &Call) -> Result<Given, Failure> {
    call.with_session(|session| Ok(Given::Text(session.said())))
}

/// `endTurn(session)`.
fn end_turn(call: &Call) -> Result<Given, Failure> {
    call.with_session(|session| {
        session.end_turn();
        Ok(Given::Nothing)
    })
}

/// `debugInfo(session)`: as JSON.
fn debug_info(call: &Call) -> Result<Given, Failure> {
    call.with_session(|session| {
        Ok(Given::Text(events::debug_info(
            &session.debug_info(),
            session.names(),
            session.journal(),
        )))
    })
}

/// `setEnabled(session, 0 or 1)`.
fn set_enabled(call: &Call) -> Result<Given, Failure> {
    let enabled = call.index(1)? != 0;
    call.with_session(|session| {
        session.proxy.set_enabled(enabled);
        Ok(Given::Nothing)
    })
}

/// `swap(session)`: a standby is made and takes over, now.
fn swap(call: &Call) -> Result<Given, Failure> {
    call.with_session(|session| session.swap().map(|()| Given::Nothing))
}

/// `setKey(session, key, name)`: the key is on the disk; with 0 it is taken away.
fn set_key(call: &Call) -> Result<Given, Failure> {
    let (key, name) = (call.text(1)?, call.index(2)?);
    let name = u32::try_from(name).unwrap_or(0);
    call.with_session(|session| session.set_key(&key, name).map(|()| Given::Nothing))
}

/// `isAlive(session, name)`: 0 or 1.
fn is_alive(call: &Call) -> Result<Given, Failure> {
    let name = u32::try_from(call.index(1)?).unwrap_or(0);
    call.with_session(|session| Ok(number(session.is_alive(name).into())))
}

/// `usage(session)`: the share of the memory limit that is used.
fn usage(call: &Call) -> Result<Given, Failure> {
    call.with_session(|session| Ok(Given::Number(session.usage())))
}

/// `metrics()`: those of all proxies of this process, in Prometheus' text format.
#[expect(clippy::unnecessary_wraps, reason = "as all functions of the table")]
fn metrics(_: &Call) -> Result<Given, Failure> {
    Ok(Given::Text(metrics_text::text()))
}

/// `engines()`: the names of those that are compiled in, the default first.
#[expect(clippy::unnecessary_wraps, reason = "as all functions of the table")]
fn engines(_: &Call) -> Result<Given, Failure> {
    let names: Vec<&str> = engines::compiled_in().map(|listed| listed.name).collect();
    Ok(Given::Text(names.join(" ")))
}

#[expect(clippy::cast_precision_loss, reason = "sizes are exact in an f64")]
fn number(number: usize) -> Given {
    Given::Number(number as f64)
}
