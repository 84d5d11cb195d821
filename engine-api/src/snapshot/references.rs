//! What tables and globals refer to, and which segments are gone, in terms that mean the same in every
//! instance of a module.

use std::collections::HashMap;
use std::fmt;

use crate::ExternRef;

/// For engines: numbers the objects of the host for
/// [`SnapshotParts::objects`](super::SnapshotParts::objects), in the order in
/// which it meets them.
#[derive(Debug, Default)]
pub struct Objects {
    numbers: HashMap<ExternRef, u32>,
    objects: Vec<ExternRef>,
}

impl Objects {
    /// The reference to an object. It is always the same for the same object.
    pub fn reference(&mut self, object: &ExternRef) -> Reference {
        if let Some(number) = self.numbers.get(object) {
            return Reference::Object(*number);
        }
        let number = u32::try_from(self.objects.len()).expect("tables have fewer elements");
        self.numbers.insert(object.clone(), number);
        self.objects.push(object.clone());
        Reference::Object(number)
    }

    /// All objects, by their numbers.
    #[must_use]
    pub fn finish(self) -> Vec<ExternRef> {
        self.objects
    }
}

/// A reference, in terms that mean the same in every instance of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// No reference.
    Null,
    /// A function of the module, by its index in the function index space, imports first.
    Function(u32),
    /// An object of the host, by its place in [`Snapshot::objects`](super::Snapshot::objects).
    Object(u32),
}

/// A segment of a module, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A data segment.
    Data(u32),
    /// An element segment.
    Element(u32),
}

/// Segments that an instance has dropped, by their indexes in the module, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DroppedSegments {
    /// Data segments.
    pub data: Vec<u32>,
    /// Element segments.
    pub elements: Vec<u32>,
}

impl DroppedSegments {
    /// Whether no segment was dropped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && self.elements.is_empty()
    }

    /// Whether a segment was dropped.
    #[must_use]
    pub fn contains(&self, segment: Segment) -> bool {
        match segment {
            Segment::Data(index) => self.data.binary_search(&index).is_ok(),
            Segment::Element(index) => self.elements.binary_search(&index).is_ok(),
        }
    }
}

impl FromIterator<Segment> for DroppedSegments {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        let mut dropped = Self::default();
        for segment in segments {
            match segment {
                Segment::Data(index) => dropped.data.push(index),
                Segment::Element(index) => dropped.elements.push(index),
            }
        }
        dropped.data.sort_unstable();
        dropped.elements.sort_unstable();
        dropped
    }
}

impl Reference {
    /// One byte for what it is, and its index.
    pub(super) fn encoded(self) -> [u8; 5] {
        let (code, index) = match self {
            Reference::Null => (0, 0),
            Reference::Function(index) => (1, index),
            Reference::Object(index) => (2, index),
        };
        let [a, b, c, d] = u32::to_le_bytes(index);
        [code, a, b, c, d]
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Null => f.write_str("null"),
            Reference::Function(index) => write!(f, "function {index}"),
            Reference::Object(index) => write!(f, "object {index} of the host"),
        }
    }
}
