//! What a turn remembers of its raw calls: enough to make them again, in order, on another instance.
//!
//! Raw objects belong together if one call met them. Once all of a group are used up, no later call
//! can notice what was done to them, and the calls of the group are forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_api::FuncIndex;
use guest_calls::{HandleMap, OwnedArg, Pointer};
use smallvec::SmallVec;

use crate::generation::Records;
use crate::journal::HostCall;
use crate::policy::plan::{Changes, ExportPlan};
use crate::value::{Arg, Results, Value};
use crate::{CallError, Entry, Handle, SequenceNumber};

/// The raw objects and the raw calls of one turn.
#[derive(Debug, Default)]
pub(super) struct TurnLog {
    /// The raw objects. The first has the name 1.
    named: Vec<Named>,
    groups: Vec<Group>,
    /// The calls that make them again, by their numbers.
    calls: BTreeMap<u64, KeptCall>,
    /// The number of the next call.
    next: u64,
    /// What the calls take in memory.
    bytes: u64,
    bytes_max: u64,
    /// How many raw objects are not used up.
    alive: usize,
    /// Why the calls cannot be made again, if they cannot.
    gap: Option<String>,
}

/// A raw object by its name.
#[derive(Debug)]
struct Named {
    /// What the generation of the turn calls it.
    raw: u64,
    group: u32,
    is_used_up: bool,
}

/// Raw objects that calls have met together, and these calls.
#[derive(Debug, Default)]
struct Group {
    names: Vec<u64>,
    alive: usize,
    calls: Vec<u64>,
}

/// A raw call that returned.
#[derive(Debug)]
pub(super) struct KeptCall {
    pub(super) func: FuncIndex,
    /// The newest entry that its generation had applied.
    pub(super) after: SequenceNumber,
    args: SmallVec<[KeptArg; 4]>,
    pub(super) host_calls: Box<[HostCall]>,
    /// What it gave, raw objects apart.
    pub(super) records: Records,
    /// Whether structs came as raw objects.
    pub(super) raw_structs: bool,
    /// The names of the raw objects that it gave, in order.
    gave: SmallVec<[u64; 1]>,
}

#[derive(Debug)]
enum KeptArg {
    Owned(OwnedArg),
    Pointer(u64),
    Pointers(Box<[u64]>),
}

/// What a raw call that returned left for its repetition, besides its arguments and results.
pub(super) struct Done {
    pub(super) after: SequenceNumber,
    pub(super) host_calls: Box<[HostCall]>,
    pub(super) records: Records,
    pub(super) raw_structs: bool,
}

/// The arguments of a raw call as the generation of the turn takes them.
pub(super) struct RawArgs<'a> {
    args: SmallVec<[RawArg<'a>; 8]>,
}

enum RawArg<'a> {
    Same(Arg<'a>),
    Pointers(Vec<Pointer>),
}

impl RawArgs<'_> {
    pub(super) fn as_args(&self) -> SmallVec<[Arg<'_>; 8]> {
        let args = self.args.iter().map(|arg| match arg {
            RawArg::Same(arg) => arg.clone(),
            RawArg::Pointers(pointers) => Arg::Pointers(pointers),
        });
        args.collect()
    }
}

impl TurnLog {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            ..Self::default()
        }
    }

    /// What the calls in it take in memory, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many calls are in it.
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Why the calls cannot be made again, if they cannot.
    pub(super) fn gap(&self) -> Option<&str> {
        self.gap.as_deref()
    }

    /// The arguments with the addresses that the names stand for.
    ///
    /// # Errors
    ///
    /// [`CallError::PointerOutsideScope`] for a name of something else than this turn;
    /// [`CallError::UsedPointer`].
    pub(super) fn raw_args<'a>(
        &self,
        plan: &ExportPlan,
        args: &'a [Arg<'a>],
        scope: u64,
    ) -> Result<RawArgs<'a>, CallError> {
        let raw = |pointer: &Pointer| {
            let export = || plan.name.to_string();
            let named = position(pointer.bits()).and_then(|at| self.named.get(at));
            match named.filter(|_| pointer.scope() == scope) {
                None => Err(CallError::PointerOutsideScope { export: export() }),
                Some(named) if named.is_used_up => Err(CallError::UsedPointer { export: export() }),
                Some(named) => Ok(Pointer::new(named.raw, scope)),
            }
        };
        let raw_arg = |arg: &'a Arg<'a>| {
            Ok(match arg {
                Arg::Pointer(pointer) => RawArg::Same(Arg::Pointer(raw(pointer)?)),
                Arg::Pointers(pointers) => {
                    let pointers: Result<_, CallError> = pointers.iter().map(raw).collect();
                    RawArg::Pointers(pointers?)
                }
                arg => RawArg::Same(arg.clone()),
            })
        };
        let args: Result<_, CallError> = args.iter().map(raw_arg).collect();
        Ok(RawArgs { args: args? })
    }

    /// Gives the raw objects among the results their names, and keeps the call. Returns the results
    /// with the names.
    pub(super) fn keep(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        results: Results,
        done: Done,
        scope: u64,
    ) -> Results {
        let mut gave = SmallVec::new();
        let results = results.into_vec().into_iter().map(|value| match value {
            Value::Pointer(raw) if raw.bits() == 0 => Value::Null,
            Value::Pointer(raw) => Value::Pointer(self.name(raw.bits(), scope, &mut gave)),
            Value::Pointers(raw) => {
                let raw = raw.into_iter();
                let named = raw.map(|raw| self.name(raw.bits(), scope, &mut gave));
                Value::Pointers(named.collect())
            }
            value => value,
        });
        let results = results.collect();
        if self.gap.is_none() {
            match kept_args(args) {
                Some(args) => self.append(KeptCall {
                    func: plan.func,
                    after: done.after,
                    args,
                    host_calls: done.host_calls,
                    records: done.records,
                    raw_structs: done.raw_structs,
                    gave,
                }),
                None => self.note_gap(format!("`{}` was given a reference", plan.name)),
            }
        }
        self.use_up(plan, args);
        results
    }

    /// From now on the calls cannot be made again.
    pub(super) fn note_gap(&mut self, reason: String) {
        self.gap.get_or_insert(reason);
        self.calls.clear();
        self.groups.clear();
        self.bytes = 0;
    }

    /// The first call that read what was changed since, and by which entry: on a generation with the
    /// whole journal applied it would give something else, and a raw object cannot be compared.
    pub(super) fn outdated(&self, entries: &[Arc<Entry>]) -> Option<(&KeptCall, Arc<Entry>)> {
        let mut changed: HandleMap<&Arc<Entry>> = HandleMap::default();
        let mut module = None;
        for entry in entries {
            if entry.changes == Changes::Module {
                module = Some(entry);
            }
            changed.extend(entry.touched().map(|handle| (handle, entry)));
        }
        self.calls.values().find_map(|call| {
            let read = call.handles().filter_map(|handle| changed.get(handle));
            let mut newest = read.copied().chain(module);
            let entry = newest.find(|entry| entry.sequence > call.after)?;
            Some((call, Arc::clone(entry)))
        })
    }

    /// The newest entry that had been applied at the first call.
    pub(super) fn first_after(&self) -> SequenceNumber {
        let first = self.calls.values().next();
        first.map_or(SequenceNumber::ZERO, |call| call.after)
    }

    /// The calls in order, and where the addresses go that they give now.
    pub(super) fn again(&mut self) -> (impl Iterator<Item = &KeptCall>, Renamed<'_>) {
        (self.calls.values(), Renamed(&mut self.named))
    }

    fn name(&mut self, raw: u64, scope: u64, gave: &mut SmallVec<[u64; 1]>) -> Pointer {
        self.named.push(Named {
            raw,
            group: u32::MAX,
            is_used_up: false,
        });
        self.alive += 1;
        let name = self.named.len() as u64;
        gave.push(name);
        Pointer::new(name, scope)
    }

    fn append(&mut self, call: KeptCall) {
        if call.gave.is_empty() && call.args.iter().all(|arg| arg.names().is_empty()) {
            // It met no raw object, and left none.
            return;
        }
        self.bytes += call.bytes();
        if self.bytes > self.bytes_max {
            let max = self.bytes_max;
            let reason = format!(
                "its calls take more than {max} bytes; raise `Builder::turn_log_bytes_max`"
            );
            self.note_gap(reason);
            return;
        }
        let number = self.next;
        self.next += 1;
        let group = self.group_of(&call);
        self.groups[group].calls.push(number);
        self.calls.insert(number, call);
    }

    /// The group of all raw objects that the call met, made one.
    fn group_of(&mut self, call: &KeptCall) -> usize {
        let own = self.groups.len();
        self.groups.push(Group {
            names: call.gave.to_vec(),
            alive: call.gave.len(),
            calls: Vec::new(),
        });
        for name in &call.gave {
            self.set_group(*name, own);
        }
        let mut one = own;
        for name in call.args.iter().flat_map(KeptArg::names) {
            let other = position(*name).map(|at| self.named[at].group as usize);
            // After a gap the older ones have none, and then nothing is kept.
            if let Some(other) = other.filter(|other| *other != one) {
                one = self.merge(one, other);
            }
        }
        one
    }

    /// Makes two groups one, the smaller part of the larger, and returns that.
    fn merge(&mut self, one: usize, other: usize) -> usize {
        let weight = |group: &Group| group.names.len() + group.calls.len();
        let is_larger = weight(&self.groups[one]) >= weight(&self.groups[other]);
        let (large, small) = if is_larger {
            (one, other)
        } else {
            (other, one)
        };
        let Group {
            names,
            alive,
            calls,
        } = std::mem::take(&mut self.groups[small]);
        for name in &names {
            self.set_group(*name, large);
        }
        let group = &mut self.groups[large];
        group.names.extend(names);
        group.calls.extend(calls);
        group.alive += alive;
        large
    }

    fn set_group(&mut self, name: u64, group: usize) {
        let group = u32::try_from(group).expect("a turn makes fewer calls than that");
        if let Some(at) = position(name) {
            self.named[at].group = group;
        }
    }

    /// Marks the raw objects that a call used up, and forgets what nobody can notice any more.
    fn use_up(&mut self, plan: &ExportPlan, args: &[Arg<'_>]) {
        let consumed = plan.consumes.iter().filter_map(|at| args.get(*at));
        self.take(consumed.flat_map(pointers));
    }

    /// Marks raw objects as used up.
    pub(super) fn take<'a>(&mut self, used: impl Iterator<Item = &'a Pointer>) {
        for pointer in used {
            let Some(at) = position(pointer.bits()) else {
                continue;
            };
            let named = &mut self.named[at];
            if std::mem::replace(&mut named.is_used_up, true) {
                continue;
            }
            self.alive -= 1;
            let Some(group) = self.groups.get_mut(named.group as usize) else {
                continue;
            };
            group.alive -= 1;
            if group.alive == 0 {
                for number in std::mem::take(group).calls {
                    let call = self.calls.remove(&number);
                    self.bytes -= call.map_or(0, |call| call.bytes());
                }
            }
        }
        if self.alive == 0 {
            // Nothing needs the calls that are missing.
            self.gap = None;
            self.groups.clear();
        }
    }
}

/// The addresses behind the names, on their way to another generation.
pub(super) struct Renamed<'a>(&'a mut Vec<Named>);

impl Renamed<'_> {
    /// The arguments of a kept call, with the addresses that earlier ones gave.
    pub(super) fn args<'a>(&self, call: &'a KeptCall, scope: u64) -> RawArgs<'a> {
        let raw = |name: &u64| {
            let named = position(*name).and_then(|at| self.0.get(at));
            Pointer::new(named.map_or(0, |named| named.raw), scope)
        };
        let args = call.args.iter().map(|arg| match arg {
            KeptArg::Owned(arg) => RawArg::Same(arg.as_arg()),
            KeptArg::Pointer(name) => RawArg::Same(Arg::Pointer(raw(name))),
            KeptArg::Pointers(names) => RawArg::Pointers(names.iter().map(raw).collect()),
        });
        RawArgs {
            args: args.collect(),
        }
    }

    /// Notes the addresses that a kept call gives now. Returns `false` if they are fewer or more than
    /// before.
    pub(super) fn note(&mut self, call: &KeptCall, results: &Results) -> bool {
        let values = results.as_slice().iter().flat_map(raw_objects);
        let raw: SmallVec<[u64; 4]> = values.map(|raw| raw.bits()).collect();
        if raw.len() != call.gave.len() {
            return false;
        }
        for (name, raw) in call.gave.iter().zip(raw) {
            if let Some(at) = position(*name) {
                self.0[at].raw = raw;
            }
        }
        true
    }
}

impl KeptCall {
    /// The lasting objects that it was given.
    fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.args.iter().flat_map(KeptArg::handles)
    }

    fn bytes(&self) -> u64 {
        let arg = |arg: &KeptArg| match arg {
            KeptArg::Owned(OwnedArg::Bytes(bytes)) => bytes.len(),
            KeptArg::Owned(OwnedArg::Text(text) | OwnedArg::Js(text)) => text.len(),
            KeptArg::Owned(OwnedArg::Handles(handles)) => size_of_val(&**handles),
            KeptArg::Owned(OwnedArg::Val(_) | OwnedArg::Handle(_)) | KeptArg::Pointer(_) => 0,
            KeptArg::Pointers(names) => size_of_val(&**names),
        };
        let args: usize = self.args.iter().map(arg).sum();
        let host_calls: usize = self.host_calls.iter().map(HostCall::bytes).sum();
        (size_of::<Self>() + args + host_calls) as u64
    }
}

impl KeptArg {
    fn handles(&self) -> &[Handle] {
        match self {
            KeptArg::Owned(arg) => arg.handles(),
            KeptArg::Pointer(_) | KeptArg::Pointers(_) => &[],
        }
    }

    fn names(&self) -> &[u64] {
        match self {
            KeptArg::Owned(_) => &[],
            KeptArg::Pointer(name) => std::slice::from_ref(name),
            KeptArg::Pointers(names) => names,
        }
    }
}

/// Copies of the arguments, or `None` if one is a reference.
fn kept_args(args: &[Arg<'_>]) -> Option<SmallVec<[KeptArg; 4]>> {
    let kept = |arg: &Arg<'_>| {
        Some(match arg {
            Arg::Pointer(pointer) => KeptArg::Pointer(pointer.bits()),
            Arg::Pointers(pointers) => {
                KeptArg::Pointers(pointers.iter().map(|pointer| pointer.bits()).collect())
            }
            arg => KeptArg::Owned(OwnedArg::record(arg)?),
        })
    };
    args.iter().map(kept).collect()
}

/// The pointers that an argument has.
pub(super) fn pointers<'a>(arg: &'a Arg<'a>) -> &'a [Pointer] {
    match arg {
        Arg::Pointer(pointer) => std::slice::from_ref(pointer),
        Arg::Pointers(pointers) => pointers,
        _ => &[],
    }
}

/// The raw objects in a result.
fn raw_objects(value: &Value) -> &[Pointer] {
    match value {
        Value::Pointer(raw) if raw.bits() != 0 => std::slice::from_ref(raw),
        Value::Pointers(raw) => raw,
        _ => &[],
    }
}

/// Where a raw object with this name is.
fn position(name: u64) -> Option<usize> {
    usize::try_from(name).ok()?.checked_sub(1)
}
