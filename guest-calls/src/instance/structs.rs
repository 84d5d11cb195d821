//! Structs: objects that cross by value. An argument makes them from bytes; a result is read field
//! by field, and its structs are freed.
//!
//! The bytes of a kind, all numbers little-endian:
//!
//! * a struct: one byte, 0 for null or 1, then its fields;
//! * structs: their number in four bytes, then each one's fields;
//! * a field that is a number: its bits; a buffer or text: its length in bytes, four bytes, and the
//!   bytes; a struct or structs: as above.

use std::sync::Arc;

use engine_api::{Val, ValType};
use smallvec::{SmallVec, smallvec};

use super::marshal::{Buffer, returned_buffer};
use super::scalars::{raw_to_val, val_to_raw};
use super::{BoundInstance, CallFailure};
use crate::policy::plan::{ExportPlan, FieldKind, FieldPlan, Plan};
use crate::{ArgKind, Ownership, Pointer};

/// How many times the size of the guest's memory structs may take as bytes. A guest may name one
/// struct again and again.
const EXPANSION_MAX: u64 = 4;

/// Bytes of structs that are read in order. They have been checked.
pub(super) struct Encoded<'a>(&'a [u8]);

impl<'a> Encoded<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn word(&mut self) -> Option<u32> {
        let bytes = self.take(4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn buffer(&mut self) -> Option<&'a [u8]> {
        let len = self.word()?;
        self.take(usize::try_from(len).ok()?)
    }

    /// Whether a struct is there, and not null.
    fn is_some(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn val(&mut self, ty: ValType) -> Option<Val> {
        let bytes = self.take(width(ty))?;
        Some(match ty {
            ValType::I64 => Val::from(u64::from_le_bytes(bytes.try_into().ok()?)),
            ValType::F64 => Val::F64(u64::from_le_bytes(bytes.try_into().ok()?)),
            ValType::F32 => Val::F32(u32::from_le_bytes(bytes.try_into().ok()?)),
            _ => Val::from(u32::from_le_bytes(bytes.try_into().ok()?)),
        })
    }

    /// Steps over what an argument of this kind is. `None` if it is something else.
    fn skip(&mut self, plan: &Plan, kind: FieldKind) -> Option<()> {
        match kind {
            FieldKind::Val(ty) => self.take(width(ty)).map(drop),
            FieldKind::Buffer(width, _) => {
                let bytes = self.buffer()?;
                (bytes.len().is_multiple_of(width as usize)).then_some(())
            }
            FieldKind::Text(_) => std::str::from_utf8(self.buffer()?).ok().map(drop),
            FieldKind::Struct(of) => {
                if self.is_some()? {
                    self.skip_fields(plan, of)?;
                }
                Some(())
            }
            FieldKind::Structs(of) => {
                for _ in 0..self.word()? {
                    self.skip_fields(plan, of)?;
                }
                Some(())
            }
        }
    }

    /// No struct is empty, so the bytes end where a number of structs was made up.
    fn skip_fields(&mut self, plan: &Plan, of: usize) -> Option<()> {
        let mut fields = plan.structs[of].fields.iter();
        fields.try_for_each(|field| self.skip(plan, field.kind))
    }
}

/// Whether these bytes are what an argument of the kind takes.
pub(super) fn are_structs(plan: &Plan, kind: &ArgKind, bytes: &[u8]) -> bool {
    let kind = match kind {
        ArgKind::Struct(name) => FieldKind::Struct(plan.struct_named(name)),
        ArgKind::Structs(name) => FieldKind::Structs(plan.struct_named(name)),
        _ => return false,
    };
    let mut encoded = Encoded(bytes);
    encoded.skip(plan, kind).is_some() && encoded.0.is_empty()
}

const CHECKED: &str = "`check` has seen the bytes";

impl BoundInstance {
    /// Makes a struct, or null. Returns its address.
    pub(super) fn make_struct(
        &mut self,
        of: usize,
        encoded: &mut Encoded<'_>,
    ) -> Result<u64, CallFailure> {
        if encoded.is_some().expect(CHECKED) {
            self.make_fields(of, encoded)
        } else {
            Ok(0)
        }
    }

    /// Makes structs, and returns their addresses as the guest has them in an array.
    pub(super) fn make_structs(
        &mut self,
        of: usize,
        encoded: &mut Encoded<'_>,
    ) -> Result<Vec<u8>, CallFailure> {
        let count = encoded.word().expect(CHECKED);
        let mut words = Vec::new();
        for _ in 0..count {
            let raw = self.make_fields(of, encoded)?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it came from an i32 of this guest"
            )]
            words.extend((raw as u32).to_le_bytes());
        }
        Ok(words)
    }

    fn make_fields(&mut self, of: usize, encoded: &mut Encoded<'_>) -> Result<u64, CallFailure> {
        let plan = Arc::clone(&self.plan);
        let made = &plan.structs[of];
        let new = plan.export(made.new);
        let by_new = new.args.len();
        let mut vals = SmallVec::new();
        let mut lent = SmallVec::new();
        for (field, kind) in made.fields.iter().zip(&new.args) {
            self.lower_field(new, field, kind, encoded, &mut vals, &mut lent)?;
        }
        let raw = self.call_lent(new, vals, lent)?;
        let address = val_to_raw(&raw[0]);
        if address == 0 {
            return Err(self.garbled(new.func, "a struct at null"));
        }
        for field in &made.fields[by_new..] {
            let set = plan.export(field.set.expect("the constructor takes the others"));
            let mut vals = smallvec![raw_to_val(address, set.ty.params()[0])];
            let mut lent = SmallVec::new();
            self.lower_field(set, field, &set.args[1], encoded, &mut vals, &mut lent)?;
            self.call_lent(set, vals, lent)?;
        }
        Ok(address)
    }

    fn lower_field(
        &mut self,
        plan: &ExportPlan,
        field: &FieldPlan,
        kind: &ArgKind,
        encoded: &mut Encoded<'_>,
        vals: &mut SmallVec<[Val; 8]>,
        lent: &mut SmallVec<[Buffer; 2]>,
    ) -> Result<(), CallFailure> {
        let ty = plan.ty.params()[vals.len()];
        let words;
        let (bytes, align, ownership) = match field.kind {
            FieldKind::Val(ty) => {
                vals.push(encoded.val(ty).expect(CHECKED));
                return Ok(());
            }
            FieldKind::Struct(of) => {
                let address = self.make_struct(of, encoded)?;
                vals.push(raw_to_val(address, ty));
                return Ok(());
            }
            FieldKind::Structs(of) => {
                words = self.make_structs(of, encoded)?;
                (words.as_slice(), 4, Ownership::Guest)
            }
            FieldKind::Buffer(..) | FieldKind::Text(_) => {
                let bytes = encoded.buffer().expect(CHECKED);
                match kind {
                    ArgKind::Numbers(width, ownership) => (bytes, width.bytes(), *ownership),
                    ArgKind::Bytes(ownership) | ArgKind::Text(ownership) => (bytes, 1, *ownership),
                    _ => unreachable!("the binding compares setters with getters"),
                }
            }
        };
        // A list of as many addresses would have filled the memory before.
        let len = u32::try_from(bytes.len()).map_err(|_| CallFailure::Exhausted)?;
        let buffer = self.copy_in(bytes, len, align)?;
        vals.push(raw_to_val(u64::from(buffer.pointer), ty));
        vals.push(raw_to_val(u64::from(len / align), ty));
        if ownership == Ownership::Host {
            lent.push(buffer);
        }
        Ok(())
    }

    fn call_lent(
        &mut self,
        plan: &ExportPlan,
        vals: SmallVec<[Val; 8]>,
        lent: SmallVec<[Buffer; 2]>,
    ) -> Result<SmallVec<[Val; 4]>, CallFailure> {
        let raw = self.call_raw(plan, vals)?;
        for buffer in lent {
            self.free(buffer)?;
        }
        Ok(raw)
    }

    /// Reads a struct that is not null, and frees it.
    pub(super) fn read_struct(&mut self, of: usize, address: u64) -> Result<Vec<u8>, CallFailure> {
        let mut bytes = vec![1];
        self.read_fields(of, address, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads structs and frees them, and the array with their addresses.
    pub(super) fn read_structs(
        &mut self,
        by: &ExportPlan,
        of: usize,
        (pointer, count): (u64, u64),
        bytes: &mut Vec<u8>,
    ) -> Result<(), CallFailure> {
        let mut words = Vec::new();
        self.copy_out(by, pointer, count.saturating_mul(4), &mut words)?;
        self.free(Buffer::returned(pointer, words.len(), 4))?;
        let fits = "they are in a memory with 32-bit addresses";
        bytes.extend(u32::try_from(count).expect(fits).to_le_bytes());
        for word in words.chunks_exact(4) {
            let address = u32::from_le_bytes(word.try_into().expect("chunks of four"));
            if address == 0 {
                return Err(self.garbled(by.func, "a list with null in it"));
            }
            self.read_fields(of, address.into(), bytes)?;
        }
        Ok(())
    }

    /// Reads raw structs and frees them: gives the bytes that an argument of kind `struct:TYPE` or
    /// `structs:TYPE` takes in their place.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Ended`] or [`CallFailure::Garbled`], after which some of them are freed.
    pub fn take_structs(
        &mut self,
        kind: &ArgKind,
        raw: &[Pointer],
    ) -> Result<Vec<u8>, CallFailure> {
        let (name, mut bytes) = match kind {
            ArgKind::Struct(name) => (name, vec![1]),
            ArgKind::Structs(name) => {
                let count = u32::try_from(raw.len()).expect("callers have fewer pointers");
                (name, count.to_le_bytes().to_vec())
            }
            _ => unreachable!("the caller has looked at the kind"),
        };
        let of = self.plan.struct_named(name);
        for pointer in raw {
            self.read_fields(of, pointer.bits(), &mut bytes)?;
        }
        Ok(bytes)
    }

    fn read_fields(
        &mut self,
        of: usize,
        address: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<(), CallFailure> {
        let plan = Arc::clone(&self.plan);
        let read = &plan.structs[of];
        for field in &read.fields {
            let get = plan.export(field.get);
            let vals = smallvec![raw_to_val(address, get.ty.params()[0])];
            let raw = self.call_raw(get, vals)?;
            self.read_field(get, field.kind, &raw, bytes)?;
            self.check_len(get, bytes.len())?;
        }
        let free = plan.export(read.free);
        let vals = smallvec![raw_to_val(address, free.ty.params()[0])];
        self.call_raw(free, vals)?;
        Ok(())
    }

    fn read_field(
        &mut self,
        get: &ExportPlan,
        kind: FieldKind,
        raw: &[Val],
        bytes: &mut Vec<u8>,
    ) -> Result<(), CallFailure> {
        let (width, ownership) = match kind {
            FieldKind::Val(_) => {
                match &raw[0] {
                    Val::I32(bits) => bytes.extend(bits.to_le_bytes()),
                    Val::I64(bits) => bytes.extend(bits.to_le_bytes()),
                    Val::F32(bits) => bytes.extend(bits.to_le_bytes()),
                    Val::F64(bits) => bytes.extend(bits.to_le_bytes()),
                    _ => unreachable!("the binding takes numbers alone"),
                }
                return Ok(());
            }
            FieldKind::Struct(of) => {
                let address = val_to_raw(&raw[0]);
                bytes.push(u8::from(address != 0));
                return if address == 0 {
                    Ok(())
                } else {
                    self.read_fields(of, address, bytes)
                };
            }
            FieldKind::Structs(_) => (4, Ownership::Host),
            FieldKind::Buffer(width, ownership) => (width, ownership),
            FieldKind::Text(ownership) => (1, ownership),
        };
        let (pointer, len) = returned_buffer(&get.results[0], raw);
        if pointer == 0 {
            return Err(self.garbled(get.func, "null for a field of a struct"));
        }
        if let FieldKind::Structs(of) = kind {
            return self.read_structs(get, of, (pointer, len), bytes);
        }
        let at = bytes.len();
        bytes.extend([0; 4]);
        self.copy_out(get, pointer, len.saturating_mul(width.into()), bytes)?;
        let (head, field) = bytes[at..].split_at_mut(4);
        let fits = "it was in a memory with 32-bit addresses";
        head.copy_from_slice(&u32::try_from(field.len()).expect(fits).to_le_bytes());
        if matches!(kind, FieldKind::Text(_)) && std::str::from_utf8(field).is_err() {
            return Err(self.garbled(get.func, "text that is no UTF-8"));
        }
        if ownership == Ownership::Host {
            self.free(Buffer::returned(pointer, field.len(), width))?;
        }
        Ok(())
    }

    /// Refuses to read on where the structs as bytes are out of all proportion to the memory that
    /// they are in.
    fn check_len(&self, by: &ExportPlan, len: usize) -> Result<(), CallFailure> {
        let size = self.instance.memory_bytes();
        if len as u64 <= size.saturating_mul(EXPANSION_MAX) {
            return Ok(());
        }
        let what = format!("structs of more than {EXPANSION_MAX} times the size of the memory");
        Err(self.garbled(by.func, &what))
    }
}

/// Bytes of a number.
fn width(ty: ValType) -> usize {
    match ty {
        ValType::I64 | ValType::F64 => 8,
        _ => 4,
    }
}
