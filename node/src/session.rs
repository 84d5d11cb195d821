//! One module behind a proxy, as JavaScript calls it.

use std::collections::HashMap;
use std::path::Path;

use bindgen_host::HostError;
use engine_api::JsValue;
use guest_calls::js;
use proxy_core::{
    CallError, DebugInfo, Durability, Error, Proxy, ResultKind, Results, Supervisor, Turn,
};

use crate::arguments::{self, Lists};
use crate::cells::Cells;
use crate::failure::{Failure, described, is_of_journal};
use crate::journal::{Journal, Keys, Restored};
use crate::names::{Named, Names};
use crate::results::Pending;
use crate::surface::{Export, Services};

/// Where results begin in the staging buffer. Below is the room for return pointers.
pub(crate) const STAGING_BEGIN: usize = 1024;

/// A module behind a proxy, with the names that JavaScript has for its objects.
#[derive(Debug)]
pub(crate) struct Session {
    /// The calls of this turn of the event loop, if a module has objects that last no longer.
    turn: Option<Turn>,
    _supervisor: Option<Supervisor>,
    pub(crate) proxy: Proxy,
    pub(crate) exports: Vec<Export>,
    /// Exports that cannot be called, and why.
    pub(crate) left_out: HashMap<String, String>,
    pub(crate) policy: String,
    pub(crate) services: Services,
    names: Names,
    /// The journal in a folder, if there is one, with the keys of objects.
    journal: Option<(Journal, Keys)>,
    /// The objects of earlier processes.
    pub(crate) restored: Vec<Restored>,
    has_turns: bool,
    /// Results that wait for a larger staging buffer.
    pending: Option<Pending>,
    /// What the last call said when it failed.
    said: String,
}

/// Why a call gave no results, by what JavaScript does then.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The guest returned an error, which the glue throws: the text of the value.
    Guest(String),
    /// The guest threw an exception: the text of the value.
    Thrown(String),
    /// The guest died.
    Trapped(String),
    /// Nothing ran.
    Refused(String),
    /// The journal cannot be written. The call did not run, or is undone.
    Journal(String),
}

/// What a call answers to JavaScript, beside larger numbers: these are the size that the staging buffer has to
/// have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Done = 0,
    Guest = 1,
    Thrown = 2,
    Trapped = 3,
    Refused = 4,
    Journal = 5,
}

impl Stopped {
    pub(crate) fn refused(text: String) -> Self {
        Stopped::Refused(text)
    }

    /// An error of wasm-bindgen's own code.
    pub(crate) fn thrown(message: &str) -> Self {
        Stopped::Thrown(thrown_text(message, None))
    }

    pub(crate) fn outside(export: &Export) -> Self {
        Stopped::Refused(format!(
            "`{}` was given a buffer that is not in the memory for arguments; its entry in the policy may have the \
             wrong kinds",
            export.name
        ))
    }

    pub(crate) fn too_large() -> Self {
        Stopped::Refused("a result is larger than 4 GiB".to_owned())
    }

    fn of(export: &Export, error: &Error) -> Self {
        let fails = export
            .results
            .last()
            .is_some_and(|(kind, _)| *kind == ResultKind::Error);
        match error {
            Error::Call(CallError::Guest {
                message, thrown, ..
            }) => {
                let text = thrown_text(message, thrown.as_deref());
                if fails {
                    Stopped::Guest(text)
                } else {
                    Stopped::Thrown(text)
                }
            }
            Error::Call(CallError::HostFailed { .. }) => match uncaught(error) {
                Some(text) => Stopped::Thrown(text),
                None => Stopped::Trapped(described(error)),
            },
            Error::Call(
                CallError::Trapped { .. }
                | CallError::OutOfMemory { .. }
                | CallError::Exited { .. },
            ) => Stopped::Trapped(described(error)),
            error if is_of_journal(error) => Stopped::Journal(described(error)),
            _ => Stopped::Refused(described(error)),
        }
    }

    fn split(self) -> (Answer, String) {
        match self {
            Stopped::Guest(text) => (Answer::Guest, text),
            Stopped::Thrown(text) => (Answer::Thrown, text),
            Stopped::Trapped(text) => (Answer::Trapped, text),
            Stopped::Refused(text) => (Answer::Refused, text),
            Stopped::Journal(text) => (Answer::Journal, text),
        }
    }
}

/// The text of the value that a guest threw. What means nothing outside of the guest becomes an error
/// with its message.
fn thrown_text(message: &str, thrown: Option<&JsValue>) -> String {
    let text = thrown.map(js::encode);
    let text = text.filter(|text| js::decode(text).is_ok());
    text.unwrap_or_else(|| {
        js::encode(&JsValue::Error {
            name: "Error".to_owned(),
            message: message.to_owned(),
        })
    })
}

/// The text of the exception of the guest's that ended a call, if one did.
fn uncaught(error: &dyn std::error::Error) -> Option<String> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(HostError::Uncaught { message, thrown }) = error.downcast_ref() {
            return Some(thrown_text(message, thrown.as_ref()));
        }
        source = error.source();
    }
    None
}

impl Session {
    pub(crate) fn new(
        (proxy, supervisor): (Proxy, Option<Supervisor>),
        exports: Vec<Export>,
        left_out: HashMap<String, String>,
        (policy, services): (String, Services),
    ) -> Self {
        Self {
            turn: None,
            _supervisor: supervisor,
            has_turns: crate::surface::has_pointers(&exports),
            journal: None,
            restored: Vec::new(),
            proxy,
            exports,
            left_out,
            policy,
            services,
            names: Names::default(),
            pending: None,
            said: String::new(),
        }
    }

    /// Makes a call. The answer is an [`Answer`], or the size that the staging buffer has to have
    /// for the results, which [`finish`](Self::finish) then gives.
    pub(crate) fn call(&mut self, at: usize, cells: &mut Cells<'_>, staging: &mut [u8]) -> usize {
        self.pending = None;
        match self.results_of(at, cells, staging) {
            Ok(pending) => self.write(pending, cells, staging),
            Err(stopped) => {
                let (answer, text) = stopped.split();
                self.said = text;
                answer as usize
            }
        }
    }

    /// Gives the results of the last call, for which the staging buffer was too small.
    pub(crate) fn finish(&mut self, cells: &mut Cells<'_>, staging: &mut [u8]) -> usize {
        match self.pending.take() {
            Some(pending) => self.write(pending, cells, staging),
            None => Answer::Done as usize,
        }
    }

    fn write(&mut self, pending: Pending, cells: &mut Cells<'_>, staging: &mut [u8]) -> usize {
        match pending.write(cells, staging) {
            Ok(()) => Answer::Done as usize,
            Err((_, needed)) if u32::try_from(needed).is_err() => {
                let (answer, text) = Stopped::too_large().split();
                self.said = text;
                answer as usize
            }
            Err((pending, needed)) => {
                self.pending = Some(pending);
                needed
            }
        }
    }

    fn results_of(
        &mut self,
        at: usize,
        cells: &Cells<'_>,
        staging: &[u8],
    ) -> Result<Pending, Stopped> {
        let Some(export) = self.exports.get(at) else {
            return Err(Stopped::refused(format!("there is no export {at}")));
        };
        if let Some(reason) = self.left_out.get(&export.name) {
            return Err(Stopped::refused(format!(
                "`{}` cannot be called: {reason}",
                export.name
            )));
        }
        let used_up = arguments::used_up(export, cells, staging);
        // A finalizer frees what is gone with its turn, or was used up.
        if export.frees
            && let [name] = used_up[..]
            && name != 0
            && self.names.get(name).is_none()
        {
            return Ok(Pending::nothing(export));
        }
        let lists = Lists::of(export, cells, staging, &self.names)?;
        let args = arguments::read(export, cells, staging, &self.names, &lists)?;
        let made = if self.has_turns {
            in_turn(&self.proxy, &mut self.turn, &export.name, &args)
        } else {
            self.proxy.call(&export.name, &args)
        };
        let ran = made.map_err(|error| Stopped::of(export, &error));
        if !matches!(ran, Err(Stopped::Refused(_) | Stopped::Journal(_))) {
            for name in used_up {
                self.names.forget(name);
            }
        }
        Pending::of(export, ran?, &mut self.names)
    }

    /// What the last call that failed said.
    pub(crate) fn said(&mut self) -> String {
        std::mem::take(&mut self.said)
    }

    /// Ends this turn of the event loop: a swap that waited takes place.
    pub(crate) fn end_turn(&mut self) {
        if let Some(turn) = self.turn.take() {
            turn.end();
        }
        self.names.end_turn();
    }

    pub(crate) fn has_turns(&self) -> bool {
        self.has_turns
    }

    pub(crate) fn debug_info(&self) -> DebugInfo {
        self.proxy.debug_info()
    }

    /// How many objects JavaScript has names for.
    pub(crate) fn names(&self) -> usize {
        self.names.len()
    }

    /// Takes the objects that the journal brought back, and their keys.
    pub(crate) fn with_journal(mut self, journal: Journal) -> Result<Self, Failure> {
        let keys = Keys::open(&journal.folder, &self.proxy)?;
        self.restored = keys.restore(self.proxy.live_objects(), &mut self.names)?;
        self.journal = Some((journal, keys));
        Ok(self)
    }

    /// The journal's folder, and whether each call is flushed.
    pub(crate) fn journal(&self) -> Option<(&Path, bool)> {
        let (journal, _) = self.journal.as_ref()?;
        let is_durable = journal.durability == Durability::Durable;
        Some((&journal.folder, is_durable))
    }

    /// Gives an object a key that later processes know it by. Without an object the key is taken
    /// away.
    pub(crate) fn set_key(&mut self, key: &str, name: u32) -> Result<(), Failure> {
        let object = match self.names.get(name) {
            _ if name == 0 => None,
            Some(Named::Handle(handle)) => Some(handle),
            _ => {
                return Err(Failure::Value(
                    "what is given a key must be a live object of one of the package's classes"
                        .to_owned(),
                ));
            }
        };
        let (_, keys) = self.journal.as_mut().ok_or_else(|| {
            Failure::Option(
                "without option `journal` no later process could find an object by its key; give a folder"
                    .to_owned(),
            )
        })?;
        keys.set(key, object)
    }

    /// Whether an object with this name is alive.
    pub(crate) fn is_alive(&self, name: u32) -> bool {
        self.names.get(name).is_some()
    }

    /// The share of the memory limit that is used.
    #[expect(clippy::cast_precision_loss, reason = "sizes are exact in an f64")]
    pub(crate) fn usage(&self) -> f64 {
        let limit = self.proxy.memory_limit_bytes().max(1);
        self.proxy.memory_bytes() as f64 / limit as f64
    }

    /// Makes a standby and swaps to it, now.
    pub(crate) fn swap(&mut self) -> Result<(), Failure> {
        self.end_turn();
        self.proxy.prepare_standby()?;
        self.proxy.swap()?;
        Ok(())
    }
}

fn in_turn(
    proxy: &Proxy,
    turn: &mut Option<Turn>,
    export: &str,
    args: &[proxy_core::Arg<'_>],
) -> Result<Results, Error> {
    match turn {
        Some(turn) => turn.call(export, args),
        // To glue a struct is an object as others.
        None => turn
            .insert(proxy.turn()?.with_raw_structs())
            .call(export, args),
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.turn = None;
        // A preparation that is under way ends, so that the supervisor's thread can be waited for.
        // What a host function still keeps, it frees itself.
        let _ = self.proxy.shutdown();
    }
}
