//! The places of a binary's sections, and a copy of the binary with some of them changed.

use std::ops::Range;

use engine_api::Error;
use wasm_encoder::{Encode, RawSection, Section, SectionId};

use crate::format::refused;

/// The order in which the sections of a module must come (core specification, section 5.5.2).
const ORDER: [SectionId; 13] = [
    SectionId::Type,
    SectionId::Import,
    SectionId::Function,
    SectionId::Table,
    SectionId::Memory,
    SectionId::Tag,
    SectionId::Global,
    SectionId::Export,
    SectionId::Start,
    SectionId::Element,
    SectionId::DataCount,
    SectionId::Code,
    SectionId::Data,
];

/// The most types, functions, globals and exports that a module may have: the limit of the
/// JavaScript embedding (section "Implementation limits"), which wasmparser enforces, and with it
/// every engine.
const ITEMS_MAX: usize = 1_000_000;

fn rank(id: u8) -> Option<usize> {
    ORDER.iter().position(|known| u8::from(*known) == id)
}

/// The place of a section.
#[derive(Clone, Debug)]
pub(super) struct Place {
    id: u8,
    /// With its identifier and size.
    whole: Range<usize>,
    /// After the number of items, if it begins with one.
    items: Range<usize>,
    count: usize,
}

/// The places of all sections but the custom ones.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    places: Vec<Place>,
}

impl Layout {
    /// Notes a section. `contents` come after its identifier and size.
    pub(crate) fn note(
        &mut self,
        wasm: &[u8],
        id: u8,
        whole: Range<usize>,
        contents: Range<usize>,
    ) {
        if rank(id).is_none() {
            return;
        }
        let mut reader = wasmparser::BinaryReader::new(&wasm[contents.start..], contents.start);
        // A start section begins with an index instead.
        let count = reader.read_var_u32().unwrap_or(0) as usize;
        self.places.push(Place {
            id,
            whole,
            items: reader.original_position()..contents.end,
            count,
        });
    }

    fn place(&self, id: SectionId) -> Option<&Place> {
        self.places.iter().find(|place| place.id == id.into())
    }

    /// The place of a section: where it is, or where it would have to be.
    fn place_or_gap(&self, id: SectionId, end: usize) -> Place {
        if let Some(place) = self.place(id) {
            return place.clone();
        }
        let follows = |place: &&Place| rank(place.id) > rank(id.into());
        let next = self.places.iter().find(follows);
        let at = next.map_or(end, |place| place.whole.start);
        Place {
            id: id.into(),
            whole: at..at,
            items: at..at,
            count: 0,
        }
    }
}

/// Items for the end of a section, encoded.
#[derive(Debug, Default)]
pub(crate) struct Items {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: usize,
}

/// A part of the binary, and what comes in its place.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(super) place: Range<usize>,
    pub(super) bytes: Vec<u8>,
}

/// A copy of the binary that is being made.
pub(crate) struct Rewrite<'a> {
    wasm: &'a [u8],
    layout: &'a Layout,
    edits: Vec<Edit>,
}

impl<'a> Rewrite<'a> {
    pub(crate) fn new(wasm: &'a [u8], layout: &'a Layout) -> Self {
        Self {
            wasm,
            layout,
            edits: Vec::new(),
        }
    }

    /// Adds items to the end of a section, which is made if it is missing, and changes some of its
    /// own. `what` names the items in the refusal.
    pub(crate) fn add(
        &mut self,
        id: SectionId,
        what: &str,
        added: &Items,
        changed: &[Edit],
    ) -> Result<(), Error> {
        if added.count == 0 && changed.is_empty() {
            return Ok(());
        }
        let Place {
            whole,
            items,
            count: own,
            ..
        } = self.layout.place_or_gap(id, self.wasm.len());
        let count = own + added.count;
        if count > ITEMS_MAX {
            return Err(refused(format!(
                "{own} {what} and {} more for checkpoints exceed the limit of {ITEMS_MAX}; build \
                 the module with fewer of them, with fewer mutable globals, or with fewer \
                 functions in tables",
                added.count
            )));
        }
        let mut contents = Vec::with_capacity(items.len() + added.bytes.len() + 5);
        count.encode(&mut contents);
        copy(self.wasm, items, changed, &mut contents);
        contents.extend_from_slice(&added.bytes);
        if u32::try_from(contents.len()).is_err() {
            return Err(refused(format!(
                "with what checkpoints need, the section of the {what} would exceed 4 GiB; build \
                 the module with fewer or smaller ones"
            )));
        }
        let mut bytes = Vec::with_capacity(contents.len() + 6);
        let data = &contents;
        RawSection {
            id: id.into(),
            data,
        }
        .append_to(&mut bytes);
        self.edits.push(Edit {
            place: whole,
            bytes,
        });
        Ok(())
    }

    /// Leaves a section out.
    pub(super) fn leave_out(&mut self, id: SectionId) {
        if let Some(place) = self.layout.place(id) {
            self.edits.push(Edit {
                place: place.whole.clone(),
                bytes: Vec::new(),
            });
        }
    }

    /// The copy. Sections must have been changed in their order, because two new ones can belong
    /// to one place.
    pub(crate) fn finish(self) -> Vec<u8> {
        let added: usize = self.edits.iter().map(|edit| edit.bytes.len()).sum();
        let mut rewritten = Vec::with_capacity(self.wasm.len() + added);
        copy(self.wasm, 0..self.wasm.len(), &self.edits, &mut rewritten);
        rewritten
    }
}

/// Appends a part of the binary with edits, which lie in it in ascending order.
pub(super) fn copy(wasm: &[u8], part: Range<usize>, edits: &[Edit], to: &mut Vec<u8>) {
    let mut from = part.start;
    for edit in edits {
        to.extend_from_slice(&wasm[from..edit.place.start]);
        to.extend_from_slice(&edit.bytes);
        from = edit.place.end;
    }
    to.extend_from_slice(&wasm[from..part.end]);
}
