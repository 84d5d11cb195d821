//! The one walk over the arguments of an export: what each means, what the function takes there,
//! and what fits.

use engine_api::{FuncType, ValType};

use crate::policy::plan::ExportPlan;
use crate::{Arg, ArgKind, CallError, CallFailure, JsPassing, ResultKind, Role, Width};

/// One argument of an export.
#[derive(Clone, Copy, Debug)]
pub struct Param<'a> {
    /// Its position, from 0.
    pub position: usize,
    /// Its meaning in the policy.
    pub kind: &'a ArgKind,
    /// The type of the first parameter of the function that it takes.
    pub ty: ValType,
    /// Whether the export is pure. Pure calls read lasting and passing objects alike, so a raw
    /// pointer can stand for a handle.
    pub is_pure: bool,
}

/// The shape of a value, which decides whether a parameter takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A plain value of this type.
    Val(ValType),
    /// A guest object, of a type if one is known.
    Handle(Option<String>),
    /// Bytes, of a length if it is known.
    Bytes(Option<usize>),
    /// Text.
    Text,
    /// An array of numbers of this size.
    Numbers(Width),
    /// Guest objects.
    Handles,
    /// A raw pointer.
    Pointer,
    /// Raw pointers.
    Pointers,
    /// A JavaScript value.
    Js,
}

/// The arguments of an export in order.
pub(crate) fn params<'a>(
    kinds: &'a [ArgKind],
    ty: &'a FuncType,
    role: Role,
) -> impl Iterator<Item = Param<'a>> {
    let mut types = ty.params();
    kinds.iter().enumerate().map(move |(position, kind)| {
        let ty = types[usize::from(kind.is_flagged())];
        types = &types[kind.width()..];
        Param {
            position,
            kind,
            ty,
            is_pure: role == Role::Pure,
        }
    })
}

impl Param<'_> {
    /// Whether it takes a value of this shape. Types of objects that the shape does not know are
    /// checked in the call.
    #[must_use]
    pub fn takes(&self, shape: &Shape) -> bool {
        if let ArgKind::Optional(kind) = self.kind {
            let inner = Param { kind, ..*self };
            return *shape == Shape::NULL || inner.takes(shape);
        }
        match (shape, self.kind) {
            (Shape::Val(got), ArgKind::Value) => *got == self.ty,
            (Shape::Val(got), ArgKind::OrNull(..)) => *got == self.ty || *shape == Shape::NULL,
            (_, ArgKind::Js(JsPassing::Optional)) if *shape == Shape::NULL => true,
            (Shape::Handle(Some(got)), ArgKind::Handle(Some(needed))) => got == needed,
            (Shape::Numbers(got), ArgKind::Numbers(needed, _) | ArgKind::Pointed(Some(needed), _)) => {
                got == needed
            }
            (
                Shape::Bytes(Some(len)),
                ArgKind::Numbers(width, _) | ArgKind::Pointed(Some(width), _),
            ) => {
                len.is_multiple_of(width.bytes() as usize)
            }
            (Shape::Handle(_), ArgKind::Handle(_))
            | (Shape::Handles, ArgKind::Handles(_))
            // A buffer is a buffer.
            | (Shape::Bytes(_) | Shape::Numbers(_), ArgKind::Bytes(_) | ArgKind::Pointed(None, _))
            | (Shape::Bytes(None), ArgKind::Numbers(..) | ArgKind::Pointed(..))
            // Whether they are structs is checked in the call, and text need not be UTF-8 in C.
            | (Shape::Bytes(_), ArgKind::Struct(_) | ArgKind::Structs(_) | ArgKind::CString(_))
            | (Shape::Text, ArgKind::Text(_) | ArgKind::CString(_))
            | (Shape::Pointer, ArgKind::Pointer)
            | (Shape::Pointers, ArgKind::Pointers)
            | (Shape::Js, ArgKind::Js(_)) => true,
            (Shape::Pointer, ArgKind::Handle(_) | ArgKind::Struct(_))
            | (Shape::Pointers, ArgKind::Structs(_)) => self.is_pure,
            _ => false,
        }
    }

    /// The shape that it takes.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match self.kind.inner() {
            ArgKind::Value | ArgKind::OrNull(..) => Shape::Val(self.ty),
            ArgKind::Handle(of) => Shape::Handle(of.clone()),
            ArgKind::Bytes(_)
            | ArgKind::Struct(_)
            | ArgKind::Structs(_)
            | ArgKind::Pointed(None, _) => Shape::Bytes(None),
            ArgKind::Text(_) | ArgKind::CString(_) => Shape::Text,
            ArgKind::Numbers(width, _) | ArgKind::Pointed(Some(width), _) => Shape::Numbers(*width),
            ArgKind::Handles(_) => Shape::Handles,
            ArgKind::Pointer => Shape::Pointer,
            ArgKind::Pointers => Shape::Pointers,
            ArgKind::Js(_) => Shape::Js,
            ArgKind::Zero | ArgKind::Out(_) | ArgKind::Optional(_) => {
                unreachable!("the binding leaves out what no caller gives")
            }
        }
    }

    /// The shape that it takes, in words.
    #[must_use]
    pub fn expected(&self) -> String {
        match self.kind {
            ArgKind::Value => format!("a value of type {}", self.ty),
            ArgKind::OrNull(..) => format!("null or a value of type {}", self.ty),
            ArgKind::Numbers(width, _) | ArgKind::Pointed(Some(width), _) => {
                format!("bytes in multiples of {}", width.bytes())
            }
            other => format!("of kind {other}"),
        }
    }
}

impl Shape {
    /// The shape of [`Arg::NULL`].
    pub const NULL: Self = Shape::Val(ValType::ExternRef);

    /// The shape of a result, or `None` for an error, with which the call fails instead. The type is
    /// that of its number, or of its first word.
    #[must_use]
    pub fn of_result(kind: &ResultKind, ty: ValType) -> Option<Self> {
        Some(match kind {
            ResultKind::Value
            | ResultKind::Number(_)
            | ResultKind::OrNull(..)
            | ResultKind::Optional(_) => Shape::Val(ty),
            ResultKind::Handle(ty) => Shape::Handle(ty.clone()),
            ResultKind::Bytes(_) | ResultKind::Struct(_) | ResultKind::Structs(_) => {
                Shape::Bytes(None)
            }
            ResultKind::Text(_) | ResultKind::CString(_) => Shape::Text,
            ResultKind::Measured(of, _) => return Self::of_result(of, ty),
            ResultKind::Numbers(width, _) => Shape::Numbers(*width),
            ResultKind::Pointer => Shape::Pointer,
            ResultKind::Pointers => Shape::Pointers,
            ResultKind::Js | ResultKind::JsList => Shape::Js,
            ResultKind::Error => return None,
        })
    }
}

impl ExportPlan {
    /// Its arguments in order.
    pub fn params(&self) -> impl Iterator<Item = Param<'_>> {
        params(&self.args, &self.ty, self.role)
    }

    /// Refuses more or fewer arguments than the export takes; `got` says in words how many there
    /// are.
    ///
    /// # Errors
    ///
    /// [`CallError::Argument`].
    pub(crate) fn check_count(
        &self,
        count: usize,
        got: impl FnOnce(usize) -> String,
    ) -> Result<(), CallError> {
        if count == self.args.len() {
            return Ok(());
        }
        Err(CallError::Argument {
            export: self.name.to_string(),
            position: count.min(self.args.len()),
            expected: format!("one of {}", self.args.len()),
            got: got(count),
        })
    }

    /// Refuses more or fewer arguments than the export takes.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Refused`].
    #[inline]
    pub fn check_args(&self, args: &[Arg<'_>]) -> Result<(), CallFailure> {
        self.check_count(args.len(), |count| format!("{count} arguments"))
            .map_err(CallFailure::Refused)
    }

    /// An argument that its parameter does not take.
    #[cold]
    pub(crate) fn misfit(&self, param: Param<'_>, got: String) -> CallError {
        CallError::Argument {
            export: self.name.to_string(),
            position: param.position,
            expected: param.expected(),
            got,
        }
    }
}
