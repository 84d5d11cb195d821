//! Flags for dropped segments: code that drops a segment says so in a global, and a restored
//! instance drops the segments whose flags are set.

use std::collections::BTreeSet;
use std::ops::Range;

use engine_api::{Error, Segment};
use wasm_encoder::{BlockType, Encode, Function, Instruction};
use wasmparser::{
    BinaryReaderError, DataKind, DataSectionReader, ElementKind, ElementSectionReader, FunctionBody,
};

use super::layout::{Edit, Items, copy};
use crate::code::Change;
use crate::format::invalid;

/// A function's body with instructions that drop segments.
#[derive(Debug)]
struct Body {
    /// With its size in front.
    whole: Range<usize>,
    /// Without it.
    contents: Range<usize>,
    /// Where such an instruction ends, and what it drops.
    drops: Vec<(usize, Segment)>,
}

/// What the code of a module changes besides memories and globals.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// The tables whose elements or size an instruction changes.
    pub(super) tables: BTreeSet<u32>,
    bodies: Vec<Body>,
}

impl Code {
    /// Reads the body of a function. The one before it, or the number of bodies, ends at `start`.
    pub(super) fn read(
        &mut self,
        body: &FunctionBody<'_>,
        start: usize,
    ) -> Result<(), BinaryReaderError> {
        let mut drops = Vec::new();
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            match Change::of(&operators.read()?) {
                None => {}
                Some(Change::Table { table, .. }) => {
                    self.tables.insert(table);
                }
                Some(Change::Drop(segment)) => drops.push((operators.original_position(), segment)),
            }
        }
        if !drops.is_empty() {
            self.bodies.push(Body {
                whole: start..body.range().end,
                contents: body.range(),
                drops,
            });
        }
        Ok(())
    }

    /// The passive segments that the code drops. All others are dropped while an instance is made,
    /// and dropping them again changes nothing.
    pub(super) fn droppable(
        &self,
        data: Option<DataSectionReader<'_>>,
        elements: Option<ElementSectionReader<'_>>,
    ) -> Result<BTreeSet<Segment>, Error> {
        let bodies = self.bodies.iter();
        let mut dropped: BTreeSet<Segment> = bodies
            .flat_map(|body| body.drops.iter().map(|(_, segment)| *segment))
            .collect();
        if dropped.is_empty() {
            return Ok(dropped);
        }
        let mut passive = BTreeSet::new();
        for (index, segment) in (0..).zip(data.into_iter().flatten()) {
            let segment = segment.map_err(|error| invalid(&error))?;
            if matches!(segment.kind, DataKind::Passive) {
                passive.insert(Segment::Data(index));
            }
        }
        for (index, segment) in (0..).zip(elements.into_iter().flatten()) {
            let segment = segment.map_err(|error| invalid(&error))?;
            if matches!(segment.kind, ElementKind::Passive) {
                passive.insert(Segment::Element(index));
            }
        }
        dropped.retain(|segment| passive.contains(segment));
        Ok(dropped)
    }

    /// The changed bodies: after each instruction that drops a segment with a flag, the flag is
    /// set.
    pub(super) fn edits(&self, wasm: &[u8], flags: &Flags) -> Vec<Edit> {
        let bodies = self.bodies.iter();
        bodies.filter_map(|body| body.edit(wasm, flags)).collect()
    }
}

impl Body {
    fn edit(&self, wasm: &[u8], flags: &Flags) -> Option<Edit> {
        let edits: Vec<Edit> = self
            .drops
            .iter()
            .filter_map(|(end, segment)| {
                let flag = flags.global(*segment)?;
                let mut bytes = Vec::new();
                Instruction::I32Const(1).encode(&mut bytes);
                Instruction::GlobalSet(flag).encode(&mut bytes);
                Some(Edit {
                    place: *end..*end,
                    bytes,
                })
            })
            .collect();
        if edits.is_empty() {
            return None;
        }
        let mut contents = Vec::with_capacity(self.contents.len() + 8 * edits.len());
        copy(wasm, self.contents.clone(), &edits, &mut contents);
        let mut bytes = Vec::with_capacity(contents.len() + 5);
        contents.encode(&mut bytes);
        Some(Edit {
            place: self.whole.clone(),
            bytes,
        })
    }
}

/// The globals that say which segments were dropped.
#[derive(Debug)]
pub(super) struct Flags {
    segments: Vec<Segment>,
    first: u32,
}

impl Flags {
    /// The flags are new globals, from the index `first` on.
    pub(super) fn new(segments: BTreeSet<Segment>, first: u32) -> Self {
        Self {
            segments: segments.into_iter().collect(),
            first,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Segment, u32)> + '_ {
        self.segments.iter().copied().zip(self.first..)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    fn global(&self, segment: Segment) -> Option<u32> {
        let position = self.segments.binary_search(&segment).ok()?;
        Some(self.first + u32::try_from(position).ok()?)
    }

    /// The globals, for the end of the section of globals.
    pub(super) fn globals(&self) -> Items {
        // A mutable i32 that starts with 0 (core specification, section 5.5.9).
        let global = [0x7f, 0x01, 0x41, 0x00, 0x0b];
        Items {
            bytes: global.repeat(self.segments.len()),
            count: self.segments.len(),
        }
    }

    /// A function of no parameters and no results that drops each segment whose flag is set.
    pub(super) fn function(&self) -> Items {
        let mut function = Function::new([]);
        for (segment, flag) in self.iter() {
            function.instruction(&Instruction::GlobalGet(flag));
            function.instruction(&Instruction::If(BlockType::Empty));
            function.instruction(&match segment {
                Segment::Data(index) => Instruction::DataDrop(index),
                Segment::Element(index) => Instruction::ElemDrop(index),
            });
            function.instruction(&Instruction::End);
        }
        function.instruction(&Instruction::End);
        let mut items = Items {
            bytes: Vec::new(),
            count: 1,
        };
        function.encode(&mut items.bytes);
        items
    }
}
