//! Between guest and host: records what host functions did, and feeds it back on replay.
//!
//! A recorded host function is not asked again on replay. Its results, and everything that it did
//! to the guest through its [`Caller`], come from the journal; calls that it made back into the
//! guest are made again, since they change the guest. Calls are kept in the order in which they
//! began, so a nested one comes after the one around it.

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
    /// Host functions do not run: the journal answers.
    Replay,
}

/// The record from [`Recorder::begin`] to [`Recorder::finish`].
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) calls: Vec<HostCall>,
    pub(crate) fault: Option<String>,
    pub(crate) mismatch: Option<String>,
    /// Recorded host calls that the replay did not make.
    pub(crate) unused: usize,
}

impl Recorder {
    /// Host functions run and nothing is kept: for pure calls.
    pub(crate) fn begin_live(&self) {
        self.begin(Mode::Live, &[]);
    }

    pub(crate) fn begin_record(&self) {
        self.begin(Mode::Record, &[]);
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

    /// Ends the recording or replay. Host functions run live from here on. Whether they had side
    /// effects is known until the next call begins.
    pub(crate) fn finish(&self) -> Recording {
        let mut place = self.tape();
        let side_effects = place.side_effects;
        let tape = std::mem::replace(
            &mut *place,
            Tape {
                side_effects,
                ..Tape::default()
            },
        );
        drop(place);
        self.is_silent.store(false, Ordering::Release);
        Recording {
            calls: tape.recorded,
            fault: tape.fault,
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

    /// The imports as the guest gets them: every host function through the recorder.
    pub(crate) fn wrap(
        self: &Arc<Self>,
        imports: &Imports,
        plan: &Plan,
        info: &ModuleInfo,
    ) -> Imports {
        let mut wrapped = Imports::new();
        for (module, name, item) in imports.iter() {
            let position = info
                .imports()
                .iter()
                .position(|import| import.module == module && import.name == name);
            let item = match (item, position) {
                (Extern::Func(func), Some(position)) => {
                    let recorder = Arc::clone(self);
                    let inner = func.clone();
                    let import = u32::try_from(position).expect("imports are counted in u32");
                    let effect = plan.effect(module, name);
                    Extern::Func(func.replaced(move |caller, args, results| {
                        recorder.host_call(import, effect, caller, args, results, &inner)
                    }))
                }
                (item, _) => item.clone(),
            };
            wrapped.define(module, name, item);
        }
        wrapped
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
            return self.replay(import, caller, args, results);
        }
        let at = (mode == Mode::Record).then(|| self.begin_call(import, args));
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
            let fault = "a host function passed a reference, which cannot be recorded; make the \
                         export pure";
            tape.fault.get_or_insert_with(|| fault.to_owned());
        }
        if let Err(error) = &outcome {
            // Ends the journaled call too, unless a host function around this one swallows it.
            let fault = format!("a host function failed: {error}");
            tape.fault.get_or_insert(fault);
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
    ) -> Result<(), Error> {
        let next = {
            let mut tape = self.tape();
            let next = tape.replayed.pop_front();
            match next {
                Some(call) if call.import == import && call.args.as_slice() == args => Ok(call),
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
            }
        }
        results.clone_from_slice(&call.results);
        Ok(())
    }
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
        caller: memory_size, memory_read, global, table_size, table_get
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
        if let Err(error @ (Error::Trap(_) | Error::Host { .. } | Error::HostPanicked { .. })) =
            &outcome
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
