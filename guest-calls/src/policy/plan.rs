//! A policy bound to a module: what to do for each exported function, decided once.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use engine_api::{
    FuncIndex, FuncType, GlobalIndex, HostFunc, ModuleInfo, NumericType, Val, ValType,
};
use globset::GlobMatcher;

use super::{ArgKind, Coercion, Effect, JsPassing, Ownership, ResultKind, Role};
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
    /// Where the results that callers see come from, if not all of them are the function's own.
    pub(crate) gathered: Option<Gathered>,
    /// Whether a result may lie in the buffer of an argument: C functions return such pointers.
    pub(crate) lends_back: bool,
    /// Its effect on the state.
    pub role: Role,
    /// The meaning of its arguments, as many as callers give.
    pub args: Vec<ArgKind>,
    /// Its results, an error included.
    pub results: Vec<ResultPlan>,
    /// Positions of the arguments whose objects a call uses up: handles, or raw pointers of a pure
    /// export.
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

/// Where the results that callers see come from, where the function does not return all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gathered {
    /// The source of each, in order.
    pub(crate) sources: Vec<Source>,
    /// The parameters of the function that say where it leaves one.
    pub(crate) outs: Vec<usize>,
    /// The bytes that the function has at its return pointer; 0 if it has none.
    pub(crate) return_bytes: u32,
}

/// Where a result comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The function returns it.
    Returned,
    /// It is so many bytes after the return pointer.
    ReturnPointer(u32),
    /// It is where this one of the parameters for results says.
    Out(usize),
    /// This export gives it. It takes the first arguments of the call.
    Length(FuncIndex),
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

/// Where results are left, if no function moves the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReturnPlace {
    /// Always at this address.
    Address(u32),
    /// Below the stack pointer, which is this global.
    Global(GlobalIndex),
}

/// The functions of a host that has JavaScript objects. A value crosses in an externref that holds
/// an [`engine_api::JsValue`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsServices {
    /// Makes an object, and gives the number by which the guest names it.
    pub(crate) give: FuncIndex,
    /// Makes an object, and gives the reference that the guest takes.
    pub(crate) give_ref: FuncIndex,
    /// Reads the object of a number, which the guest gives up.
    pub(crate) take: FuncIndex,
    /// Reads the object of a reference.
    pub(crate) take_ref: FuncIndex,
    /// Forgets the object of a number.
    pub(crate) forget: FuncIndex,
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
    /// Asks for a swap by a number above 0.
    pub swap_request: Option<FuncIndex>,
    /// The global with the guest's stack pointer, if the policy names one.
    pub stack_global: Option<GlobalIndex>,
    /// Gives a digest of the whole state: an export without arguments.
    pub state_digest: Option<FuncIndex>,
    /// Moves the guest's stack pointer.
    pub(crate) stack_pointer: Option<FuncIndex>,
    /// Where results are left, if no function moves the stack pointer.
    pub(crate) return_place: Option<ReturnPlace>,
    /// Takes the error behind an error object.
    pub(crate) take_error: Option<FuncIndex>,
    /// Makes objects of JavaScript values, and reads them.
    pub(crate) js: Option<JsServices>,
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

    /// The functions of JavaScript values. Binding refuses kind `js` without them.
    pub(crate) fn js(&self) -> JsServices {
        self.js.expect("the policy was bound with them")
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

    /// The effect of a host function outside the guest: what the policy says of its name, or what
    /// the function itself says.
    #[must_use]
    pub fn effect(&self, function: &HostFunc) -> Effect {
        let path = format!("{}.{}", function.module(), function.name());
        let own = if function.is_repeatable() {
            Effect::None
        } else {
            Effect::External
        };
        self.imports
            .iter()
            .find(|(matcher, _)| matcher.is_match(&path))
            .map_or(own, |(_, effect)| *effect)
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
        matches!(self.inner(), ArgKind::Handle(_) | ArgKind::Handles(_))
    }

    /// Whether it names raw objects.
    #[must_use]
    pub fn is_pointer(&self) -> bool {
        matches!(self.inner(), ArgKind::Pointer | ArgKind::Pointers)
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
            | ArgKind::Js(JsPassing::List)
            | ArgKind::Structs(_) => 2,
            ArgKind::Value
            | ArgKind::OrNull(..)
            | ArgKind::Zero
            | ArgKind::Handle(_)
            | ArgKind::Pointer
            | ArgKind::Struct(_)
            | ArgKind::CString(_)
            | ArgKind::Pointed(..)
            | ArgKind::Js(_)
            | ArgKind::Out(_) => 1,
            ArgKind::Optional(_) if self.is_flagged() => 2,
            ArgKind::Optional(kind) => kind.width(),
        }
    }

    /// Whether a parameter before it says if there is one.
    #[must_use]
    pub fn is_flagged(&self) -> bool {
        matches!(self, ArgKind::Optional(kind) if **kind == ArgKind::Value)
    }

    /// The kind of what is not null.
    #[must_use]
    pub fn inner(&self) -> &ArgKind {
        match self {
            ArgKind::Optional(kind) => kind,
            kind => kind,
        }
    }

    /// Whether callers give it.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(self, ArgKind::Zero | ArgKind::Out(_))
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
    #[must_use]
    pub fn width(&self, ty: ValType) -> usize {
        match self {
            ResultKind::Error | ResultKind::Optional(_) => 2,
            _ if self.is_buffer() && ty == ValType::I32 => 2,
            _ => 1,
        }
    }

    /// Whether it is one raw pointer or several.
    #[must_use]
    pub fn is_pointer(&self) -> bool {
        matches!(self, ResultKind::Pointer | ResultKind::Pointers)
    }

    /// Whether it is a number that can be null.
    pub(crate) fn may_be_null(&self) -> bool {
        matches!(self, ResultKind::OrNull(..) | ResultKind::Optional(_))
    }

    /// Whether it is a pointer and a length.
    pub(crate) fn is_buffer(&self) -> bool {
        matches!(
            self,
            ResultKind::Bytes(_)
                | ResultKind::Text(_)
                | ResultKind::Numbers(..)
                | ResultKind::Structs(_)
                | ResultKind::JsList
                | ResultKind::Pointers
        )
    }

    /// Whether it is a JavaScript value, or several.
    pub(crate) fn is_js(&self) -> bool {
        matches!(self, ResultKind::Js | ResultKind::JsList)
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
        let is_raw = |kind: &ArgKind| {
            let is_struct = matches!(kind, ArgKind::Struct(_) | ArgKind::Structs(_));
            self.role == Role::Pure && (kind.is_pointer() || is_struct)
        };
        for position in self.consumes.iter().chain(match &self.changes {
            Changes::Handles(positions) => positions.as_slice(),
            Changes::Module => &[],
        }) {
            let kind = self.args.get(*position);
            if !kind.is_some_and(|kind| kind.is_handle() || is_raw(kind)) {
                return Err(refuse(format!(
                    "`{name}`: consumes or mutates argument {position}, which is no handle"
                )));
            }
        }
        let creates = self
            .results
            .iter()
            .any(|r| matches!(r.kind, ResultKind::Handle(_)));
        let pointers = self.args.iter().any(ArgKind::is_pointer)
            || self.results.iter().any(|result| result.kind.is_pointer());
        let consumes_handle = self
            .consumes
            .iter()
            .any(|position| self.args[*position].is_handle());
        let buffers = self.needs_allocator();
        let references = self.passes_references();
        let complaint = match self.role {
            Role::Create if !creates => "is `create`, but no result is a handle",
            Role::Free if self.consumes.is_empty() => "is `free`, but no argument is a handle",
            Role::Pure if creates => {
                "is `pure`, but a result is a handle: an object that lasts is `create`, one that is \
                 used up in a pinned scope is a `pointer`"
            }
            Role::Pure if consumes_handle => {
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

    /// Whether it passes what the guest's allocator has to make room for, or gives back.
    fn needs_allocator(&self) -> bool {
        let passes = |kind: &ArgKind| {
            let kind = kind.inner();
            kind.width() == 2 || matches!(kind, ArgKind::CString(_) | ArgKind::Pointed(..))
        };
        let gives = |result: &ResultPlan| {
            matches!(
                result.kind,
                ResultKind::Bytes(Ownership::Host)
                    | ResultKind::Text(Ownership::Host)
                    | ResultKind::Numbers(_, Ownership::Host)
                    | ResultKind::CString(Ownership::Host)
                    | ResultKind::Structs(_)
                    | ResultKind::JsList
                    | ResultKind::Pointers
            )
        };
        let has_outs = |gathered: &Gathered| !gathered.outs.is_empty();
        self.args.iter().any(passes)
            || self.results.iter().any(gives)
            || self.gathered.as_ref().is_some_and(has_outs)
    }

    /// Whether it takes or gives references other than JavaScript values, which are recorded by
    /// value.
    fn passes_references(&self) -> bool {
        let in_args = self
            .params()
            .any(|param| param.ty.is_reference() && !matches!(param.kind, ArgKind::Js(_)));
        let mut types = self.ty.results();
        in_args
            || self.results.iter().any(|result| {
                let (own, rest) = types.split_at(if result.pair { 2 } else { 1 });
                types = rest;
                result.kind != ResultKind::Js && own.iter().any(|ty| ty.is_reference())
            })
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
                 strings and arrays take two each; cstring and bytes:pointer take one)",
                self.name, self.wasm_ty
            )));
        }
        let mut params = self.ty.params();
        for kind in &self.args {
            let (own, rest) = params.split_at(kind.width());
            let is_number = |ty: ValType| !ty.is_reference() && ty != ValType::V128;
            let is_js = matches!(kind.inner(), ArgKind::Js(_));
            let fits = match (kind, own) {
                (ArgKind::Value, _) | (ArgKind::Js(_), [ValType::ExternRef]) => true,
                (ArgKind::OrNull(_, coercion), [ty])
                    if *coercion != Coercion::AsIs && *ty != ValType::F64 =>
                {
                    false
                }
                (ArgKind::OrNull(number, _), [ValType::I32]) => u32::try_from(*number).is_ok(),
                (ArgKind::OrNull(..), [ty]) => is_number(*ty),
                (_, [ValType::I32, ty]) if kind.is_flagged() => is_number(*ty),
                _ if kind.is_flagged() => false,
                _ => {
                    own.iter().all(|ty| *ty == ValType::I32)
                        || (!is_js && own.iter().all(|ty| *ty == ValType::I64))
                }
            };
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
