//! The results of one call, into the cells and the staging buffer.

use engine_api::{Val, ValType};
use proxy_core::{ResultKind, Results, Value};

use crate::cells::{Cells, Span};
use crate::names::{Named, Names};
use crate::session::{STAGING_BEGIN, Stopped};
use crate::surface::Export;

/// Results that lie in the staging buffer begin at multiples of this.
const ALIGNMENT: usize = 16;

/// The results of a call, of which some wait for room in the staging buffer.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    cells: Vec<Cell>,
    buffers: Vec<Vec<u8>>,
}

/// What one cell gets.
#[derive(Debug)]
enum Cell {
    Value(Val),
    Word(u32),
    /// The start of a buffer, by its position among the buffers.
    Start(usize),
    /// Start and length of a text.
    Span(usize),
}

impl Pending {
    /// Takes the results of a call. Objects get names.
    pub(crate) fn of(
        export: &Export,
        results: Results,
        names: &mut Names,
    ) -> Result<Self, Stopped> {
        let mut pending = Self::default();
        let mut values = results.into_vec().into_iter();
        for (kind, ty) in &export.results {
            if *kind == ResultKind::Error {
                pending.cells.extend([Cell::Word(0), Cell::Word(0)]);
                continue;
            }
            let Some(value) = values.next() else {
                return Err(Stopped::refused(format!(
                    "`{}` gave too few results",
                    export.name
                )));
            };
            match (kind, value) {
                (ResultKind::OrNull(number, _), Value::Null) => {
                    pending.cells.push(Cell::Value(number_as(*number, *ty)));
                }
                (ResultKind::Optional(_), Value::Val(value)) => {
                    pending.cells.extend([Cell::Word(1), Cell::Value(value)]);
                }
                (_, value) => pending.add(kind, value, names)?,
            }
        }
        Ok(pending)
    }

    /// The results of a call that changed nothing and gives nothing: zeros.
    pub(crate) fn nothing(export: &Export) -> Self {
        let words = export
            .results
            .iter()
            .map(|(kind, ty)| width(kind, *ty))
            .sum();
        Self {
            cells: (0..words).map(|_| Cell::Word(0)).collect(),
            buffers: Vec::new(),
        }
    }

    fn add(&mut self, kind: &ResultKind, value: Value, names: &mut Names) -> Result<(), Stopped> {
        let mut name = |object| {
            names.give(object).map_err(|_| {
                Stopped::refused(
                    "all 4,294,967,295 names for objects were given; restart the process"
                        .to_owned(),
                )
            })
        };
        match value {
            Value::Val(value) => self.cells.push(Cell::Value(value)),
            Value::Handle(handle) => self.cells.push(Cell::Word(name(Named::Handle(handle))?)),
            Value::Pointer(pointer) => self.cells.push(Cell::Word(name(Named::Pointer(pointer))?)),
            Value::Null => {
                let words = width(kind, ValType::I32);
                self.cells.extend((0..words).map(|_| Cell::Word(0)));
            }
            Value::Pointers(pointers) => {
                let mut bytes = Vec::with_capacity(4 * pointers.len());
                for pointer in pointers {
                    bytes.extend(name(Named::Pointer(pointer))?.to_le_bytes());
                }
                self.buffer(bytes, 4)?;
            }
            Value::Text(text) => self.buffer(text.into_bytes(), 1)?,
            Value::Bytes(bytes) => {
                let unit = match kind {
                    ResultKind::Numbers(width, _) => width.bytes() as usize,
                    _ => 1,
                };
                self.buffer(bytes, unit)?;
            }
            Value::Js(text) => {
                self.cells.push(Cell::Span(self.buffers.len()));
                self.buffers.push(text.into_bytes());
            }
        }
        Ok(())
    }

    fn buffer(&mut self, bytes: Vec<u8>, unit: usize) -> Result<(), Stopped> {
        let len = u32::try_from(bytes.len() / unit).map_err(|_| Stopped::too_large())?;
        self.cells.push(Cell::Start(self.buffers.len()));
        self.cells.push(Cell::Word(len));
        self.buffers.push(bytes);
        Ok(())
    }

    /// How large the staging buffer has to be.
    fn needed(&self) -> usize {
        let buffers = self.buffers.iter().map(Vec::len);
        buffers.fold(STAGING_BEGIN, |end, len| {
            end.saturating_add(len).next_multiple_of(ALIGNMENT)
        })
    }

    /// Writes the results. The size that the staging buffer has to have is returned if it is smaller.
    pub(crate) fn write(
        self,
        cells: &mut Cells<'_>,
        staging: &mut [u8],
    ) -> Result<(), (Self, usize)> {
        let needed = self.needed();
        if needed > staging.len() || u32::try_from(needed).is_err() {
            return Err((self, needed));
        }
        let mut spans = Vec::with_capacity(self.buffers.len());
        let mut at = STAGING_BEGIN;
        for bytes in &self.buffers {
            staging[at..at + bytes.len()].copy_from_slice(bytes);
            spans.push(span(at, bytes.len()));
            at = (at + bytes.len()).next_multiple_of(ALIGNMENT);
        }
        for (place, cell) in self.cells.into_iter().enumerate() {
            match cell {
                Cell::Value(value) => {
                    cells.set_value(place, &value);
                }
                Cell::Word(word) => cells.set_word(place, word),
                Cell::Start(buffer) => cells.set_word(place, spans[buffer].start),
                Cell::Span(buffer) => cells.set_span(place, spans[buffer]),
            }
        }
        Ok(())
    }
}

/// The number that stands for nothing, as the glue compares it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the binding has compared it with the type"
)]
fn number_as(number: u64, ty: ValType) -> Val {
    match ty {
        ValType::F64 => Val::from(number as f64),
        ValType::F32 => Val::from(number as f32),
        ValType::I64 => Val::from(number),
        _ => Val::from(number as u32),
    }
}

fn width(kind: &ResultKind, ty: ValType) -> usize {
    match kind {
        ResultKind::Js | ResultKind::JsList => 1,
        _ => kind.width(ty),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what is needed fits 32 bits, which the caller has checked"
)]
fn span(start: usize, len: usize) -> Span {
    Span {
        start: start as u32,
        len: len as u32,
    }
}
