//! The sections that are encoded by postcard. A change here is a new [`crate::ENCODING`].

use std::path::Path;

use engine_api::{GlobalIndex, Reference, TableIndex, Val};
use memory_image::FileExtent;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Part};

/// One memory. Its extents follow one another in the file, after those of the memory before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) index: u32,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// Offsets in the memory, and lengths, in bytes.
    pub(crate) extents: Vec<(u64, u64)>,
    /// The hash of each [`crate::contents::PIECE_BYTES`] of the extents together.
    pub(crate) hashes: Vec<[u8; 32]>,
}

/// All of a snapshot that is no memory and not the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) globals: Vec<(u32, Number)>,
    pub(crate) references: Vec<(u32, Ref)>,
    pub(crate) tables: Vec<(u32, Vec<Ref>)>,
    pub(crate) dropped_data: Vec<u32>,
    pub(crate) dropped_elements: Vec<u32>,
    /// How many objects of the host the references are to.
    pub(crate) objects: u32,
    /// Whether the host keeps a state of its own.
    pub(crate) host: bool,
}

/// A number or a vector, by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Number {
    I32(u32),
    I64(u64),
    F32(u32),
    F64(u64),
    V128(u128),
}

/// A [`Reference`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ref {
    Null,
    Function(u32),
    Object(u32),
}

impl Number {
    /// The number, or `None` for a reference.
    pub(crate) fn of(value: &Val) -> Option<Self> {
        Some(match value {
            Val::I32(value) => Number::I32(value.cast_unsigned()),
            Val::I64(value) => Number::I64(value.cast_unsigned()),
            Val::F32(bits) => Number::F32(*bits),
            Val::F64(bits) => Number::F64(*bits),
            Val::V128(bits) => Number::V128(*bits),
            Val::FuncRef(_) | Val::ExternRef(_) => return None,
        })
    }
}

impl From<Number> for Val {
    fn from(number: Number) -> Self {
        match number {
            Number::I32(bits) => Val::I32(bits.cast_signed()),
            Number::I64(bits) => Val::I64(bits.cast_signed()),
            Number::F32(bits) => Val::F32(bits),
            Number::F64(bits) => Val::F64(bits),
            Number::V128(bits) => Val::V128(bits),
        }
    }
}

impl From<Reference> for Ref {
    fn from(reference: Reference) -> Self {
        match reference {
            Reference::Null => Ref::Null,
            Reference::Function(index) => Ref::Function(index),
            Reference::Object(number) => Ref::Object(number),
        }
    }
}

impl From<Ref> for Reference {
    fn from(reference: Ref) -> Self {
        match reference {
            Ref::Null => Reference::Null,
            Ref::Function(index) => Reference::Function(index),
            Ref::Object(number) => Reference::Object(number),
        }
    }
}

impl Memory {
    /// The extents in the file, the first one at `offset`, and the end of the last one there.
    pub(crate) fn file_extents(&self, offset: u64) -> Option<(Vec<FileExtent>, u64)> {
        let mut at = offset;
        let extents = self.extents.iter().map(|(start, len)| {
            let offset = at;
            at = at.checked_add(*len)?;
            Some(FileExtent {
                start: *start,
                len: *len,
                offset,
            })
        });
        let extents = extents.collect::<Option<_>>()?;
        Some((extents, at))
    }
}

pub(crate) fn globals(state: &State) -> impl Iterator<Item = (GlobalIndex, Val)> + '_ {
    let globals = state.globals.iter();
    globals.map(|(index, number)| (GlobalIndex(*index), (*number).into()))
}

pub(crate) fn tables(
    state: &State,
) -> impl Iterator<Item = (TableIndex, std::sync::Arc<[Reference]>)> {
    state.tables.iter().map(|(index, elements)| {
        let elements = elements.iter().copied().map(Reference::from).collect();
        (TableIndex(*index), elements)
    })
}

pub(crate) fn encode<T: Serialize>(section: &T) -> Vec<u8> {
    postcard::to_allocvec(section).expect("lists of known length go into a vector")
}

/// Decodes a section whose hash is right. It ends where the section does.
pub(crate) fn decode<T: DeserializeOwned>(
    path: &Path,
    part: Part,
    bytes: &[u8],
) -> Result<T, Error> {
    match postcard::take_from_bytes(bytes) {
        Ok((section, [])) => Ok(section),
        Ok(_) => Err(Error::invalid(
            path,
            format!("its {part} go on after their end"),
        )),
        Err(error) => Err(Error::invalid(path, format!("its {part}: {error}"))),
    }
}
