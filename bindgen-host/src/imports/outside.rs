//! Imports that reach outside of the realm: randomness, the clock, the console, and the pool's
//! protocol.

use engine_api::{FuncType, Val, ValType};

use super::buffers::bytes_of;
use crate::call::{Call, ImportOutcome, Out, Serve, Throw};
use crate::system::Level;
use crate::value::{Global, Js, Object};

pub(super) fn find(base: &str, ty: &FuncType) -> Option<Serve> {
    let milliseconds = ty.results() == [ValType::F64];
    Some(match base {
        // Older releases of getrandom ask whether there is this function before they call it.
        "getRandomValues" | "randomFillSync" if ty.params().len() == 1 => {
            |_| Ok(Out::Js(Js::object(Object::GlobalGetter)))
        }
        // The object, and a pointer and a length.
        "getRandomValues" | "randomFillSync" if ty.params().len() == 3 => |call| {
            random_at(call, 1)?;
            Ok(Out::Nothing)
        },
        "getRandomValues" | "randomFillSync" if ty.params().len() == 2 => random,
        // Whether the object is a date is seen at the call: in older releases it is any.
        "now" if milliseconds => now,
        "log" | "info" => |call| print(call, Level::Info),
        "error" => |call| print(call, Level::Error),
        "warn" => |call| print(call, Level::Warn),
        "debug" => |call| print(call, Level::Debug),
        "trace" => |call| print(call, Level::Trace),
        // The pool builder is the last argument. Releases differ in those before it, which are objects that
        // the guest gives up.
        "startWorkers" if !ty.params().is_empty() => |call| {
            let last = call.args.len() - 1;
            for position in 0..last {
                call.take(position)?;
            }
            let builder = call.u32(last);
            call.thread.realm.set_builder(builder);
            Ok(Out::Js(Js::object(Object::Promise)))
        },
        // The host joins the workers after the call that ends the pool.
        "terminateWorkers" => |_| Ok(Out::Js(Js::object(Object::Promise))),
        _ => return None,
    })
}

/// `crypto.getRandomValues(array)`, or a pointer and a length.
fn random(call: &mut Call<'_>) -> ImportOutcome {
    let crypto = call.object(0).ok();
    let by_object = match crypto.as_ref().and_then(Js::as_object) {
        Some(Object::Global(Global::Crypto)) => true,
        _ => matches!(call.args.first(), Some(Val::ExternRef(_))),
    };
    if by_object {
        let node = call.served.name.contains("randomFillSync");
        let array = if node { call.take(1)? } else { call.object(1)? };
        let view = bytes_of(&array)?;
        let mut bytes = call.read_view(&view)?;
        let (system, mut facade) = call.outside()?;
        system.random(&mut facade, &mut bytes)?;
        call.write_view(&view, 0, &bytes)?;
        return Ok(Out::Js(array));
    }
    random_at(call, 0)?;
    Ok(Out::Nothing)
}

/// Fills bytes in the guest's memory, by pointer and length at two arguments.
fn random_at(call: &mut Call<'_>, position: usize) -> Result<(), Throw> {
    let (pointer, len) = (call.u32(position), call.u32(position + 1));
    let mut bytes = call.bytes(pointer, len)?;
    let (system, mut facade) = call.outside()?;
    system.random(&mut facade, &mut bytes)?;
    call.write(pointer.into(), &bytes)
}

fn now(call: &mut Call<'_>) -> ImportOutcome {
    let (system, mut facade) = call.outside()?;
    Ok(Out::F64(system.clock(&mut facade)?))
}

/// Text by pointer and length, or any number of objects.
fn print(call: &mut Call<'_>, level: Level) -> ImportOutcome {
    let numbers = call.args.iter().all(|arg| matches!(arg, Val::I32(_)));
    let pairs = call.args.len().is_multiple_of(2) && !call.args.is_empty();
    let texts = (0..call.args.len()).step_by(2).map(|at| call.text_if(at));
    let text = (numbers && pairs).then(|| texts.collect::<Option<Vec<_>>>());
    let text = text.flatten().map(|texts| texts.join(" "));
    let line = if let Some(text) = text {
        text
    } else {
        let words: Vec<_> = call.objects(0)?.iter().map(Js::to_string).collect();
        words.join(" ")
    };
    call.console(level, &line)
}
