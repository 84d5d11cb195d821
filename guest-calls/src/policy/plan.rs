//! A policy bound to a module: what to do for each exported function, decided once.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use engine_api::{FuncIndex, FuncType, ModuleInfo, NumericType, Val, ValType};
use globset::GlobMatcher;

use super::{ArgKind, Effect, Ownership, ResultKind, Role};
use crate::{CallError, PolicyError, Value};

/// How to call one export.
#[derive(Debug)]
pub struct ExportPlan {
    /// Its name.
    pub name: Arc<str>,
    /// Its index among the exported functions.
    pub func: FuncIndex,
    /// The function's type as callers see it: without a return pointer, whose slots are results,
    /// and without parameters that are always zero.
    pub ty: FuncType,
    /// The function's type as it is.
    pub wasm_ty: FuncType,
    /// Whether the first parameter says where to leave the results.
    pub return_pointer: bool,
    /// Its effect on the state.
    pub role: Role,
    /// The meaning of its arguments, as many as callers give.
    pub args: Vec<ArgKind>,
    /// Its results, an error included.
    pub results: Vec<ResultPlan>,
    /// Positions of the handle arguments that a call frees.
    pub consumes: Vec<usize>,
    /// The objects that a call changes.
    pub changes: Changes,
    /// The type of an object that must be alive, though it is not passed.
    pub needs: Option<Arc<str>>,
    /// The results that mean that the guest had no memory left.
    pub exhausted: Option<StatusCodes>,
    /// The export that gives a created object's fingerprint.
    pub fingerprint: Option<FuncIndex>,
    /// How a created object becomes bytes and comes back.
    pub artifact: Option<ArtifactPlan>,
    /// Numbers in, numbers out: the function's own type in one word, to call it by slots.
    pub numeric: Option<NumericType>,
    /// The same where arguments and results may be objects too: an address is a number.
    pub(crate) slots: Option<NumericType>,
    /// Whether an entry of the policy matched.
    pub listed: bool,
    /// Whether the warning that none did has been given.
    pub warned: AtomicBool,
}

/// The results of a call which mean that the guest had no memory left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusCodes {
    /// The position of the number among the results.
    pub(crate) position: usize,
    pub(crate) codes: Vec<i64>,
}

impl StatusCodes {
    /// Whether the call that gave these results had no memory left.
    #[must_use]
    pub fn are_in(&self, results: &[Value]) -> bool {
        let Some(Value::Val(number)) = results.get(self.position) else {
            return false;
        };
        match number {
            Val::I32(code) => self.codes.contains(&i64::from(*code)),
            Val::I64(code) => self.codes.contains(code),
            #[expect(
                clippy::cast_precision_loss,
                clippy::float_cmp,
                reason = "binding has refused codes that no f64 is equal to"
            )]
            Val::F64(bits) => {
                let number = f64::from_bits(*bits);
                self.codes.iter().any(|code| *code as f64 == number)
            }
            _ => false,
        }
    }
}

/// The exports that turn an object into bytes and back.
#[derive(Clone, Copy, Debug)]
pub struct ArtifactPlan {
    /// Gives an object as bytes.
    pub export: FuncIndex,
    /// Makes an object of bytes.
    pub import: FuncIndex,
    /// Whether a call may be answered from bytes that an earlier call with the same arguments left.
    pub live: bool,
}

/// The changes of a journaled call, besides the objects that it creates and frees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The objects of the handle arguments at these positions: the call can be forgotten with them.
    Handles(Vec<usize>),
    /// Anything: the call is never forgotten.
    Module,
}

/// One result: its meaning and how the function returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultPlan {
    /// The meaning.
    pub kind: ResultKind,
    /// Two i32 results: for bytes and text instead of one i64, for errors always.
    pub pair: bool,
    /// The type of the object, if the policy names one: each object that the export makes shares
    /// the name.
    pub(crate) object: Option<Arc<str>>,
}

impl ResultPlan {
    /// The type of the object that it is, if the policy names one.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }
}

/// The guest's allocator, resolved.
#[derive(Clone, Debug)]
pub(crate) struct AllocatorPlan {
    pub(crate) alloc: FuncIndex,
    pub(crate) alloc_takes_align: bool,
    pub(crate) free: FuncIndex,
    pub(crate) free_params: usize,
}

/// A policy bound to a module.
#[derive(Debug)]
pub struct Plan {
    pub(crate) exports: Vec<Arc<ExportPlan>>,
    pub(crate) allocator: Option<AllocatorPlan>,
    /// Says how much memory the module uses, in MiB.
    pub memory_usage: Option<FuncIndex>,
    /// Gives the module's own memory limit, in MiB.
    pub critical_memory: Option<FuncIndex>,
    /// Gives a digest of the whole state: an export without arguments.
    pub state_digest: Option<FuncIndex>,
    /// Moves the guest's stack pointer.
    pub(crate) stack_pointer: Option<FuncIndex>,
    /// Takes the error behind an error object.
    pub(crate) take_error: Option<FuncIndex>,
    /// Whether exports that no entry matches are refused.
    pub strict: bool,
    pub(super) imports: Vec<(GlobMatcher, Effect)>,
    pub(crate) structs: Vec<StructPlan>,
}

/// A type of objects that cross by value, resolved.
#[derive(Debug)]
pub(crate) struct StructPlan {
    pub(crate) name: String,
    pub(crate) new: FuncIndex,
    pub(crate) free: FuncIndex,
    pub(crate) fields: Vec<FieldPlan>,
}

/// A field of a struct, resolved.
#[derive(Clone, Debug)]
pub(crate) struct FieldPlan {
    pub(crate) get: FuncIndex,
    /// `None` if the struct's constructor takes the field.
    pub(crate) set: Option<FuncIndex>,
    pub(crate) kind: FieldKind,
}

/// What a field is, as its getter says. Structs are named by their position in the plan, and are
/// before the struct that has the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    /// A number of this type.
    Val(ValType),
    /// A buffer of numbers of this many bytes, and who frees it once it is read.
    Buffer(u32, Ownership),
    /// Text, and who frees it.
    Text(Ownership),
    /// A struct or null.
    Struct(usize),
    /// An array of structs.
    Structs(usize),
}

impl Plan {
    /// The allocator. Binding refuses exports with buffers if the module has none.
    pub(crate) fn allocator(&self) -> &AllocatorPlan {
        let bound = "the policy was bound with one";
        self.allocator.as_ref().expect(bound)
    }

    /// The position of a struct. Binding refuses kinds of structs that the policy does not have.
    pub(crate) fn struct_named(&self, name: &str) -> usize {
        let position = self.structs.iter().position(|plan| plan.name == name);
        position.expect("the policy was bound with it")
    }

    /// What an object's bytes are, if they are structs: two policies that differ there cannot read
    /// each other's bytes. Empty for plain bytes.
    #[must_use]
    pub fn artifact_layout(&self, artifact: ArtifactPlan) -> Vec<u8> {
        let result = self.export(artifact.export).results.first();
        match result.map(|result| &result.kind) {
            Some(ResultKind::Struct(name) | ResultKind::Structs(name)) => {
                let mut layout = b"structs".to_vec();
                self.layout(self.struct_named(name), &mut layout);
                layout
            }
            _ => Vec::new(),
        }
    }

    fn layout(&self, of: usize, layout: &mut Vec<u8>) {
        for field in &self.structs[of].fields {
            match field.kind {
                FieldKind::Val(ty) => {
                    layout.push(1);
                    layout.extend(ty.to_string().bytes());
                }
                FieldKind::Buffer(width, _) => {
                    layout.push(2);
                    layout.extend(width.to_le_bytes());
                }
                FieldKind::Text(_) => layout.push(3),
                FieldKind::Struct(of) => {
                    layout.push(4);
                    self.layout(of, layout);
                }
                FieldKind::Structs(of) => {
                    layout.push(5);
                    self.layout(of, layout);
                }
            }
        }
        layout.push(0);
    }

    /// The effect of a host function outside the guest.
    #[must_use]
    pub fn effect(&self, module: &str, name: &str) -> Effect {
        let path = format!("{module}.{name}");
        self.imports
            .iter()
            .find(|(matcher, _)| matcher.is_match(&path))
            .map_or(Effect::default(), |(_, effect)| *effect)
    }

    /// The plan of a function that the module exports.
    #[must_use]
    #[inline]
    pub fn export(&self, func: FuncIndex) -> &Arc<ExportPlan> {
        &self.exports[func.0 as usize]
    }

    /// The plan of an exported function, if there is one with this number.
    #[must_use]
    pub fn get(&self, func: FuncIndex) -> Option<&Arc<ExportPlan>> {
        self.exports.get(func.0 as usize)
    }

    /// The plan of an export of the module that the plan is bound to.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownExport`] with a similar name, if there is one.
    pub fn named(&self, info: &ModuleInfo, name: &str) -> Result<&Arc<ExportPlan>, CallError> {
        match info.function(name) {
            Ok((func, _)) => Ok(self.export(func)),
            Err(_) => Err(CallError::UnknownExport {
                name: name.to_owned(),
                similar: similar(info, name),
            }),
        }
    }
}

impl ArgKind {
    /// Whether it names guest objects.
    pub(crate) fn is_handle(&self) -> bool {
        matches!(self, ArgKind::Handle(_) | ArgKind::Handles(_))
    }

    /// How many parameters of the wasm function it takes: 2 for a buffer or a list, else 1.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            ArgKind::Bytes(_)
            | ArgKind::Text(_)
            | ArgKind::Numbers(..)
            | ArgKind::Handles(_)
            | ArgKind::Pointers
            | ArgKind::Structs(_) => 2,
            ArgKind::Value
            | ArgKind::Zero
            | ArgKind::Handle(_)
            | ArgKind::Pointer
            | ArgKind::Struct(_) => 1,
        }
    }

    /// Whether an artifact's bytes can go there.
    #[must_use]
    pub fn takes_artifact(&self) -> bool {
        matches!(
            self,
            ArgKind::Bytes(_) | ArgKind::Struct(_) | ArgKind::Structs(_)
        )
    }
}

impl ResultKind {
    /// How many results of the wasm function it takes, if the first has this type: a buffer is one
    /// i64 or two i32, an error always two.
    pub(crate) fn width(&self, ty: ValType) -> usize {
        match self {
            ResultKind::Error => 2,
            _ if self.is_buffer() && ty == ValType::I32 => 2,
            _ => 1,
        }
    }

    /// Whether it is a pointer and a length.
    pub(crate) fn is_buffer(&self) -> bool {
        matches!(
            self,
            ResultKind::Bytes(_)
                | ResultKind::Text(_)
                | ResultKind::Numbers(..)
                | ResultKind::Structs(_)
        )
    }
}

impl ExportPlan {
    /// Whether a call leaves nothing behind when the guest returns an error.
    #[must_use]
    #[inline]
    pub fn only_creates(&self) -> bool {
        let changes_nothing =
            matches!(&self.changes, Changes::Handles(changed) if changed.is_empty());
        self.role == Role::Create && changes_nothing && self.consumes.is_empty()
    }

    /// Checks the entry against itself and the function's type.
    pub(super) fn check(&self, allocator: bool) -> Result<(), PolicyError> {
        let name = &self.name;
        self.check_params()?;
        for position in self.consumes.iter().chain(match &self.changes {
            Changes::Handles(positions) => positions.as_slice(),
            Changes::Module => &[],
        }) {
            if !self.args.get(*position).is_some_and(ArgKind::is_handle) {
                return Err(refuse(format!(
                    "`{name}`: consumes or mutates argument {position}, which is no handle"
                )));
            }
        }
        let creates = self
            .results
            .iter()
            .any(|r| matches!(r.kind, ResultKind::Handle(_)));
        let pointers = self.args.contains(&ArgKind::Pointer)
            || self.args.contains(&ArgKind::Pointers)
            || self
                .results
                .iter()
                .any(|result| result.kind == ResultKind::Pointer);
        let buffers = self.args.iter().any(|kind| kind.width() == 2)
            || self.results.iter().any(|result| {
                matches!(
                    result.kind,
                    ResultKind::Bytes(Ownership::Host)
                        | ResultKind::Text(Ownership::Host)
                        | ResultKind::Numbers(_, Ownership::Host)
                        | ResultKind::Structs(_)
                )
            });
        let references = self
            .ty
            .params()
            .iter()
            .chain(self.ty.results())
            .any(|ty| ty.is_reference());
        let complaint = match self.role {
            Role::Create if !creates => "is `create`, but no result is a handle",
            Role::Free if self.consumes.is_empty() => "is `free`, but no argument is a handle",
            Role::Pure if creates => {
                "is `pure`, but a result is a handle: an object that lasts is `create`, one that is \
                 used up in a pinned scope is a `pointer`"
            }
            Role::Pure if !self.consumes.is_empty() => {
                "is `pure`, but consumes a handle: what a pinned scope uses up is a `pointer`"
            }
            Role::Free | Role::Mutate | Role::Pure if self.artifact.is_some() => {
                "has an artifact, but only what is `create`d can be made from one"
            }
            Role::Create
                if self.artifact.is_some_and(|artifact| artifact.live) && !self.only_creates() =>
            {
                "has artifact.live, but consumes or mutates objects, which an answer from the store \
                 would leave as they are"
            }
            Role::Create | Role::Mutate | Role::Free if pointers => {
                "is journaled, but deals in raw pointers, which another generation cannot know"
            }
            Role::Create | Role::Mutate | Role::Free if references && self.listed => {
                "is journaled, but passes references, which cannot be recorded"
            }
            _ if buffers && !allocator => {
                "passes bytes or text, but the module has no allocator that is known; name it in \
                 module.allocator"
            }
            _ => return Ok(()),
        };
        Err(refuse(format!("`{name}` {complaint}")))
    }

    fn check_params(&self) -> Result<(), PolicyError> {
        let width: usize = self.args.iter().map(ArgKind::width).sum();
        if width != self.ty.params().len() {
            let besides = if self.return_pointer {
                ", besides the return pointer"
            } else {
                ""
            };
            return Err(refuse(format!(
                "`{}` has type {}, the policy's arguments take {width} parameters{besides} (bytes, \
                 strings and arrays take two each)",
                self.name, self.wasm_ty
            )));
        }
        let mut params = self.ty.params();
        for kind in &self.args {
            let (own, rest) = params.split_at(kind.width());
            let fits = *kind == ArgKind::Value
                || own.iter().all(|ty| *ty == ValType::I32)
                || own.iter().all(|ty| *ty == ValType::I64);
            if !fits {
                return Err(refuse(format!(
                    "`{}` has type {}: no place there for an argument of kind `{kind}`",
                    self.name, self.ty
                )));
            }
            params = rest;
        }
        Ok(())
    }
}

pub(super) fn refuse(reason: String) -> PolicyError {
    PolicyError::Misfit { reason }
}

/// The exported function whose name shares the longest prefix with `name`, if that is most of it.
pub(super) fn similar(info: &ModuleInfo, name: &str) -> Option<String> {
    let shared = |other: &str| {
        other
            .chars()
            .zip(name.chars())
            .take_while(|(a, b)| a == b)
            .count()
    };
    let closeness = |other: &str| (shared(other), Reverse(other.len().abs_diff(name.len())));
    let best = info
        .functions()
        .iter()
        .max_by_key(|function| closeness(&function.name))?;
    (shared(&best.name) * 2 > name.len()).then(|| best.name.clone())
}
