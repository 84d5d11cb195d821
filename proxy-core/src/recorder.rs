//! Between guest and host: records what host functions did, and feeds it back on replay.
//!
//! A recorded host function is not asked again on replay. Its results, and everything that it did
//! to the guest through its [`Caller`], come from the journal; calls that it made back into the
//! guest are made again, since they change the guest. Calls are kept in the order in which they
//! began, so a nested one comes after the one around it.
//!
//! A function that touches nothing but its caller's instance ([`HostFunc::is_local`]) is no part of
//! this: it runs in a replay too.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use engine_api::{
    Caller, Error, Extern, FuncIndex, GlobalIndex, HostFunc, Imports, MemoryIndex, ModuleInfo,
    TableIndex, Val,
};
use smallvec::SmallVec;

use crate::journal::{GuestWrite, HostCall};
use crate::policy;
use crate::policy::plan::Plan;

/// The recorder of one generation. Its lock is never held while guest or host code runs.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    tape: Mutex<Tape>,
    /// Whether a replay of no host calls has begun and none was made since: then there is nothing
    /// on the tape, and replays of entries in a row need not look.
    is_silent: AtomicBool,
}

#[derive(Debug, Default)]
struct Tape {
    mode: Mode,
    recorded: Vec<HostCall>,
    replayed: VecDeque<HostCall>,
    /// Host functions with effects outside have run since [`Recorder::begin`].
    side_effects: bool,
    /// Host functions have run since then, with such effects or without.
    host_ran: bool,
    /// Why the call cannot be kept although it returned: the first reason.
    fault: Option<String>,
    /// Why a call that is kept as far as it can be cannot be repeated: the first reason.
    unrepeatable: Option<String>,
    /// How the replay's host calls differ from the recorded ones: the first difference.
    mismatch: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// Host functions run, nothing is kept.
    #[default]
    Live,
    /// Host functions run and are recorded.
    Record,
    /// Host functions run and are recorded as far as they can be.
    Keep,
    /// Host functions do not run: the journal answers.
    Replay,
}

/// The record from [`Recorder::begin`] to [`Recorder::finish`].
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) calls: Vec<HostCall>,
    pub(crate) fault: Option<String>,
    pub(crate) unrepeatable: Option<String>,
    pub(crate) mismatch: Option<String>,
    /// Recorded host calls that the replay did not make.
    pub(crate) unused: usize,
}

impl Tape {
    /// A host call cannot be recorded. A journaled call cannot be kept then. A call of a turn is none
    /// the worse for it, but cannot be repeated.
    fn note_unrecordable(&mut self, what: String, way_out: &str) {
        if self.mode == Mode::Keep {
            self.unrepeatable.get_or_insert(what);
        } else {
            self.fault.get_or_insert(what + way_out);
        }
    }
}

impl Recorder {
    /// Host functions run and nothing is kept: for pure calls.
    pub(crate) fn begin_live(&self) {
        self.begin(Mode::Live, &[]);
    }

    pub(crate) fn begin_record(&self) {
        self.begin(Mode::Record, &[]);
    }

    /// Host functions run, and are recorded as far as they can be: for the calls of a turn.
    pub(crate) fn begin_keeping(&self) {
        self.begin(Mode::Keep, &[]);
    }

    pub(crate) fn begin_replay(&self, calls: &[HostCall]) {
        self.begin(Mode::Replay, calls);
    }

    fn begin(&self, mode: Mode, calls: &[HostCall]) {
        let mut tape = self.tape();
        *tape = Tape {
            mode,
            replayed: calls.iter().cloned().collect(),
            ..Tape::default()
        };
        let is_silent = mode == Mode::Replay && calls.is_empty();
        self.is_silent.store(is_silent, Ordering::Release);
    }

    /// As [`Recorder::begin_replay`], for the next of entries in a row.
    #[inline]
    pub(crate) fn continue_replay(&self, calls: &[HostCall]) {
        if !(calls.is_empty() && self.is_silent()) {
            self.begin_replay(calls);
        }
    }

    /// Whether a replay of no host calls has begun, and none was made.
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Acquire)
    }

    /// Ends the recording or replay. Host functions run live from here on. Whether they ran, and had
    /// side effects, is known until the next call begins.
    pub(crate) fn finish(&self) -> Recording {
        let mut place = self.tape();
        let (side_effects, host_ran) = (place.side_effects, place.host_ran);
        let tape = std::mem::replace(
            &mut *place,
            Tape {
                side_effects,
                host_ran,
                ..Tape::default()
            },
        );
        drop(place);
        self.is_silent.store(false, Ordering::Release);
        Recording {
            calls: tape.recorded,
            fault: tape.fault,
            unrepeatable: tape.unrepeatable,
            mismatch: tape.mismatch,
            unused: tape.replayed.len(),
        }
    }

    /// Whether host functions with effects outside have run.
    pub(crate) fn had_side_effects(&self) -> bool {
        self.tape().side_effects
    }

    /// Whether any host function has run.
    pub(crate) fn host_ran(&self) -> bool {
        self.tape().host_ran
    }

    /// Why a call cannot be kept although it returned.
    pub(crate) fn take_fault(&self) -> Option<String> {
        self.tape().fault.take()
    }

    fn tape(&self) -> std::sync::MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The imports as the guest gets them: every host function through the recorder, except those
    /// that touch only the guest. And whether any goes through it: what is given and not imported
    /// costs a call nothing.
    pub(crate) fn wrap(
        self: &Arc<Self>,
        imports: &Imports,
        plan: &Plan,
        info: &ModuleInfo,
    ) -> (Imports, bool) {
        let mut wrapped = Imports::new();
        let mut records = false;
        for (module, name, item) in imports.iter() {
            let position = info
                .imports()
                .iter()
                .position(|import| import.module == module && import.name == name);
            let item = match (item, position) {
                (Extern::Func(func), Some(position)) if !func.is_local() => {
                    records = true;
                    let recorder = Arc::clone(self);
                    let inner = func.clone();
                    let import = u32::try_from(position).expect("imports are counted in u32");
                    let effect = plan.effect(func);
                    Extern::Func(func.replaced(move |caller, args, results| {
                        recorder.host_call(import, effect, caller, args, results, &inner)
                    }))
                }
                (item, _) => item.clone(),
            };
            wrapped.define(module, name, item);
        }
        (wrapped, records)
    }

    fn host_call(
        &self,
        import: u32,
        effect: policy::Effect,
        caller: &mut dyn Caller,
        args: &[Val],
        results: &mut [Val],
        function: &HostFunc,
    ) -> Result<(), Error> {
        let mode = {
            let mut tape = self.tape();
            self.is_silent.store(false, Ordering::Release);
            if tape.mode != Mode::Replay {
                tape.host_ran = true;
                tape.side_effects |= effect == policy::Effect::External;
            }
            tape.mode
        };
        if mode == Mode::Replay {
            return self.replay(import, caller, args, results, function);
        }
        let at = (mode != Mode::Live).then(|| self.begin_call(import, args));
        let mut watched = Watched {
            caller,
            writes: Vec::new(),
            fault: None,
        };
        let outcome = function.invoke(&mut watched, args, results);
        let Watched { writes, fault, .. } = watched;
        let mut tape = self.tape();
        if let Some(fault) = fault {
            tape.fault.get_or_insert(fault);
        }
        let Some(at) = at else { return outcome };
        if args.iter().chain(&*results).any(is_live_reference) {
            let what = "a host function passed a reference, which cannot be recorded";
            tape.note_unrecordable(what.to_owned(), "; make the export pure");
        }
        if let Err(error) = &outcome {
            // Ends the journaled call too, unless a host function around this one swallows it.
            tape.note_unrecordable(format!("a host function failed: {error}"), "");
        }
        let call = &mut tape.recorded[at];
        call.writes = writes;
        call.results = results.iter().cloned().collect();
        outcome
    }

    /// Takes a place for a host call: they are kept in the order in which they begin.
    fn begin_call(&self, import: u32, args: &[Val]) -> usize {
        let mut tape = self.tape();
        tape.recorded.push(HostCall {
            import,
            args: args.iter().cloned().collect(),
            writes: Vec::new(),
            results: SmallVec::new(),
        });
        tape.recorded.len() - 1
    }

    fn replay(
        &self,
        import: u32,
        caller: &mut dyn Caller,
        args: &[Val],
        results: &mut [Val],
        function: &HostFunc,
    ) -> Result<(), Error> {
        let next = {
            let mut tape = self.tape();
            let next = tape.replayed.pop_front();
            match next {
                Some(call) if call.import == import && are_alike(function, &call.args, args) => {
                    Ok(call)
                }
                other => {
                    let info = caller.info();
                    let name = |import: u32| {
                        let import = &info.imports()[import as usize];
                        format!("`{}.{}`", import.module, import.name)
                    };
                    let expected = other.map_or_else(
                        || "no further host call".to_owned(),
                        |call| format!("{} with {:?}", name(call.import), call.args),
                    );
                    let fault = format!("{} with {args:?} instead of {expected}", name(import));
                    tape.mismatch.get_or_insert(fault);
                    Err(Error::Trap(engine_api::Trap::Interrupted))
                }
            }
        };
        let call = next?;
        let observer = function.observer();
        match observer {
            Some(observer) => {
                let written: Vec<&[u8]> = call.writes.iter().filter_map(bytes_of).collect();
                let rewritten = observer.rewrite(function, caller, args, &written);
                rewritten.map_err(|error| {
                    let fault = format!("what {function:?} wrote does not fit here: {error}");
                    self.tape().mismatch.get_or_insert(fault);
                    Error::Trap(engine_api::Trap::Interrupted)
                })?;
            }
            None => write_again(&call, caller)?,
        }
        results.clone_from_slice(&call.results);
        match observer {
            Some(observer) => observer.replayed(function, caller, args, results, note_of(&call)),
            None => Ok(()),
        }
    }
}

/// Whether a replay makes the recorded call.
fn are_alike(function: &HostFunc, recorded: &[Val], args: &[Val]) -> bool {
    match function.observer() {
        _ if recorded == args => true,
        None => false,
        Some(observer) => {
            observer.comparable(function, recorded) == observer.comparable(function, args)
        }
    }
}

/// What the host noted for its part in replays: empty if it noted nothing.
fn note_of(call: &HostCall) -> &[u8] {
    let note = call.writes.iter().find_map(|write| match write {
        GuestWrite::Note { bytes } => Some(&**bytes),
        _ => None,
    });
    note.unwrap_or_default()
}

fn bytes_of(write: &GuestWrite) -> Option<&[u8]> {
    match write {
        GuestWrite::Write { bytes, .. } => Some(bytes),
        _ => None,
    }
}

/// Does to the guest what a host function did, at the same places.
fn write_again(call: &HostCall, caller: &mut dyn Caller) -> Result<(), Error> {
    for write in &call.writes {
        match write {
            GuestWrite::Write {
                memory,
                offset,
                bytes,
            } => {
                caller.memory_write(*memory, *offset, bytes)?;
            }
            GuestWrite::GrowMemory { memory, pages } => {
                caller.memory_grow(*memory, *pages)?;
            }
            GuestWrite::GrowTable { table, elements } => {
                let element = caller.info().tables()[table.0 as usize].element;
                caller.table_grow(*table, *elements, &Val::zero(element))?;
            }
            GuestWrite::SetElement {
                table,
                element,
                value,
            } => caller.table_set(*table, *element, value)?,
            GuestWrite::SetGlobal { global, value } => caller.set_global(*global, value)?,
            GuestWrite::Call { func, args } => {
                let ty = caller.info().functions()[func.0 as usize].ty.clone();
                let mut results: SmallVec<[Val; 2]> =
                    ty.results().iter().map(|ty| Val::zero(*ty)).collect();
                caller.call(*func, args, &mut results)?;
            }
            GuestWrite::Note { .. } => {}
        }
    }
    Ok(())
}

/// Whether a value means something in one instance only.
pub(crate) fn is_live_reference(val: &Val) -> bool {
    matches!(val, Val::FuncRef(Some(_)) | Val::ExternRef(Some(_)))
}

/// A caller that notes what goes through it to the guest.
struct Watched<'a> {
    caller: &'a mut dyn Caller,
    writes: Vec<GuestWrite>,
    /// Why the guest's state is lost, or what was done cannot be recorded.
    fault: Option<String>,
}

impl Watched<'_> {
    fn note_references(&mut self, vals: &[Val]) {
        if vals.iter().any(is_live_reference) {
            self.fault.get_or_insert_with(|| {
                "a host function gave the guest a reference, which cannot be recorded".to_owned()
            });
        }
    }
}

impl Caller for Watched<'_> {
    engine_api::delegate_caller! {
        caller: may_go_on, memory_size, memory_read, global, table_size, table_get
    }

    fn info(&self) -> &Arc<ModuleInfo> {
        self.caller.info()
    }

    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
        self.note_references(args);
        self.writes.push(GuestWrite::Call {
            func,
            args: args.iter().cloned().collect(),
        });
        let outcome = self.caller.call(func, args, results);
        if let Err(
            error @ (Error::Trap(_)
            | Error::Exit { .. }
            | Error::Host { .. }
            | Error::HostPanicked { .. }),
        ) = &outcome
        {
            // Even if a host function swallows this error, the guest's state is lost.
            let fault = format!("a nested call ended early: {error}");
            self.fault.get_or_insert(fault);
        }
        outcome
    }

    fn memory_write(
        &mut self,
        memory: MemoryIndex,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.caller.memory_write(memory, offset, bytes)?;
        self.writes.push(GuestWrite::Write {
            memory,
            offset,
            bytes: bytes.into(),
        });
        Ok(())
    }

    fn note(&mut self, bytes: &[u8]) {
        self.writes.push(GuestWrite::Note {
            bytes: bytes.into(),
        });
    }

    fn memory_grow(&mut self, memory: MemoryIndex, pages_delta: u64) -> Result<u64, Error> {
        let pages = self.caller.memory_grow(memory, pages_delta)?;
        self.writes.push(GuestWrite::GrowMemory {
            memory,
            pages: pages_delta,
        });
        Ok(pages)
    }

    fn set_global(&mut self, global: GlobalIndex, value: &Val) -> Result<(), Error> {
        self.note_references(std::slice::from_ref(value));
        self.caller.set_global(global, value)?;
        self.writes.push(GuestWrite::SetGlobal {
            global,
            value: value.clone(),
        });
        Ok(())
    }

    fn table_grow(
        &mut self,
        table: TableIndex,
        elements_delta: u64,
        initial: &Val,
    ) -> Result<u64, Error> {
        self.note_references(std::slice::from_ref(initial));
        let elements = self.caller.table_grow(table, elements_delta, initial)?;
        self.writes.push(GuestWrite::GrowTable {
            table,
            elements: elements_delta,
        });
        Ok(elements)
    }

    fn table_set(&mut self, table: TableIndex, element: u64, value: &Val) -> Result<(), Error> {
        self.note_references(std::slice::from_ref(value));
        self.caller.table_set(table, element, value)?;
        self.writes.push(GuestWrite::SetElement {
            table,
            element,
            value: value.clone(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use engine_api::{ExternType, FuncType, Import, ModuleContents, ModuleHash};

    use super::*;
    use crate::Policy;

    fn importing(names: &[&str]) -> ModuleInfo {
        let import = |name: &&str| Import {
            module: "env".to_owned(),
            name: (*name).to_owned(),
            ty: ExternType::Func(FuncType::default()),
        };
        let info = ModuleInfo::new(ModuleContents {
            hash: ModuleHash::of(b""),
            imports: names.iter().map(import).collect(),
            exports: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            has_start: false,
            function_count: names.len(),
        });
        info.expect("there are no exports")
    }

    #[test]
    fn only_what_a_module_imports_and_reaches_outside_is_recorded() {
        let mut imports = Imports::new();
        let ty = FuncType::default();
        imports.func("env", "outside", ty.clone(), |_, _, _| Ok(()));
        imports.local_func("env", "inside", ty, |_, _, _| Ok(()));
        for (names, expected) in [
            (&[][..], false),
            (&["inside"], false),
            (&["other"], false),
            (&["inside", "outside"], true),
        ] {
            let info = importing(names);
            let plan = Plan::bind(&Policy::default(), &info).expect("it is empty");
            let (_, records) = Arc::new(Recorder::default()).wrap(&imports, &plan, &info);
            assert_eq!(records, expected, "{names:?}");
        }
    }
}
