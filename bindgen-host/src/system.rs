//! Randomness, the clock and the console as imports, which a proxy can record.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use engine_api::{
    Caller, Error, Extern, ExternType, FuncType, HostFunc, Import, Imports, JsValue, Val, ValType,
};

use crate::callbacks::{self, CALLBACK, CALLBACK_BYTES, CALLBACKS, Callbacks};
use crate::console::Console;
use crate::error::HostError;

/// The module name of the imports of [`system`].
pub const SYSTEM: &str = "wasm-proxy";

/// The imports that every hosted module has, served by this machine: randomness from the operating
/// system, its clock, and the console as events of `tracing` with the target `guest`.
///
/// | import of `wasm-proxy` | type | |
/// |---|---|---|
/// | `random` | `() -> (i64, i64)` | 16 random bytes |
/// | `clock` | `() -> f64` | milliseconds since 1970 |
/// | `console` | `(i32, i64)` | a line of output: its level, from 0 for errors to 4, and a hash of its text, which is passed beside the call |
///
/// All three are [repeatable](HostFunc::repeatable): a call that used them can be repeated after a
/// trap, unless a policy says otherwise.
/// Two more, of the module `wasm-proxy-callbacks`, refuse every call of a function of the caller's;
/// [`Callbacks`] takes their place.
///
/// Lines are escaped, and no more than [`ConsoleLimits`](crate::ConsoleLimits) say by default.
/// [`Console`] takes other limits, and tells how many lines were dropped.
#[must_use]
pub fn system() -> Imports {
    Console::default().imports()
}

/// These imports with this console.
pub(crate) fn system_with(output: &Console) -> Imports {
    let [random, clock, console] = types();
    let random = HostFunc::new(SYSTEM, "random", random, |_, _, results| {
        let mut bytes = [[0; 8]; 2];
        getrandom::fill(bytes.as_flattened_mut()).map_err(|source| Error::Host {
            module: SYSTEM.to_owned(),
            name: "random".to_owned(),
            source: Box::new(source),
        })?;
        results[0] = Val::I64(i64::from_le_bytes(bytes[0]));
        results[1] = Val::I64(i64::from_le_bytes(bytes[1]));
        Ok(())
    });
    let clock = HostFunc::new(SYSTEM, "clock", clock, |_, _, results| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        results[0] = Val::from(now.unwrap_or_default().as_secs_f64() * 1000.0);
        Ok(())
    });
    let output = output.clone();
    let console = HostFunc::new(SYSTEM, "console", console, move |_, args, _| {
        LINE.with_borrow(|line| output.print(&args[0], line));
        Ok(())
    });
    let mut imports = Imports::new();
    for function in [random, clock, console] {
        let name = function.name().to_owned();
        imports.define(SYSTEM, &name, Extern::Func(function.repeatable()));
    }
    Callbacks::default().serve(&mut imports);
    imports
}

thread_local! {
    /// The line that `console` prints. It travels beside the call, because a recorder keeps the
    /// numbers of a call; on replay the line is not printed again.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn types() -> [FuncType; 3] {
    [
        FuncType::new(&[], &[ValType::I64, ValType::I64]),
        FuncType::new(&[], &[ValType::F64]),
        FuncType::new(&[ValType::I32, ValType::I64], &[]),
    ]
}

/// The imports as the outer module lists them.
pub(crate) fn listed() -> impl Iterator<Item = Import> {
    let own = ["random", "clock", "console"].into_iter().zip(types());
    let own = own.map(|(name, ty)| (SYSTEM, name, ty));
    let callbacks = [CALLBACK, CALLBACK_BYTES]
        .into_iter()
        .zip(callbacks::types());
    let callbacks = callbacks.map(|(name, ty)| (CALLBACKS, name, ty));
    own.chain(callbacks).map(|(module, name, ty)| Import {
        module: module.to_owned(),
        name: name.to_owned(),
        ty: ExternType::Func(ty),
    })
}

/// The functions that the user gave for these imports.
#[derive(Clone, Debug)]
pub(crate) struct System {
    random: HostFunc,
    clock: HostFunc,
    console: HostFunc,
    callback: HostFunc,
    callback_bytes: HostFunc,
}

/// The level of a line on the console, as the import `console` takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Error = 0,
    Warn = 1,
    Info = 2,
    Debug = 3,
    Trace = 4,
}

impl System {
    /// Finds the functions among the imports of an instance.
    pub(crate) fn find(imports: &Imports) -> Result<Self, Error> {
        let mut functions =
            listed().map(|import| match imports.get(&import.module, &import.name) {
                None => Err(Error::Import {
                    module: import.module,
                    name: import.name,
                    expected: import.ty,
                    reason: "missing: start from the imports of `bindgen_host::system()`"
                        .to_owned(),
                }),
                Some(_) => match imports.resolve(&import)? {
                    Extern::Func(function) => Ok(function.clone()),
                    _ => unreachable!("`resolve` compares types"),
                },
            });
        let mut next = || functions.next().expect("five are listed");
        Ok(Self {
            random: next()?,
            clock: next()?,
            console: next()?,
            callback: next()?,
            callback_bytes: next()?,
        })
    }

    /// Fills a buffer with random bytes, 16 in each call.
    pub(crate) fn random(&self, caller: &mut dyn Caller, buffer: &mut [u8]) -> Result<(), Error> {
        for chunk in buffer.chunks_mut(16) {
            let mut drawn = [Val::I64(0), Val::I64(0)];
            self.random.invoke(caller, &[], &mut drawn)?;
            let words = drawn.map(|word| word.i64().unwrap_or(0).to_le_bytes());
            chunk.copy_from_slice(&words.as_flattened()[..chunk.len()]);
        }
        Ok(())
    }

    /// Milliseconds since 1970.
    pub(crate) fn clock(&self, caller: &mut dyn Caller) -> Result<f64, Error> {
        let mut now = [Val::F64(0)];
        self.clock.invoke(caller, &[], &mut now)?;
        Ok(now[0].f64().unwrap_or(0.0))
    }

    /// Calls a function of the caller's: its result, or the message of its error.
    pub(crate) fn callback(
        &self,
        caller: &mut dyn Caller,
        name: &str,
        args: Vec<JsValue>,
    ) -> Result<Result<JsValue, String>, Error> {
        let hash = callbacks::pass(name, args)?;
        let mut len = [Val::I32(0)];
        self.callback.invoke(caller, &[Val::I64(hash)], &mut len)?;
        let len = len[0].i32().unwrap_or(0).max(0);
        let mut bytes = Vec::new();
        for at in (0..len).step_by(16) {
            let mut words = [Val::I64(0), Val::I64(0)];
            self.callback_bytes
                .invoke(caller, &[Val::I32(at)], &mut words)?;
            let words = words.map(|word| word.i64().unwrap_or(0).to_le_bytes());
            bytes.extend_from_slice(words.as_flattened());
        }
        bytes.truncate(usize::try_from(len).unwrap_or_default());
        callbacks::decoded(&bytes).ok_or_else(|| {
            let message = "what a callback gave is no value".to_owned();
            HostError::Value(message).ends(CALLBACK)
        })
    }

    /// Prints a line through the import.
    pub(crate) fn console(
        &self,
        caller: &mut dyn Caller,
        level: Level,
        line: &str,
    ) -> Result<(), Error> {
        LINE.with_borrow_mut(|slot| line.clone_into(slot));
        let args = [Val::I32(level as i32), Val::I64(fnv(line))];
        self.console.invoke(caller, &args, &mut [])
    }
}

/// FNV-1a: it is the same on every machine, and tells lines apart.
fn fnv(text: &str) -> i64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.cast_signed()
}
