//! The state of an instance at one moment, to make other instances like it.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use memory_image::{ImageError, MemoryImage};

use crate::{Error, ExternRef, GlobalIndex, MemoryIndex, ModuleHash, TableIndex, Val};

/// The state of an instance at a moment when nothing ran in it: its linear memories, its mutable
/// globals, the tables that can change, and which segments were dropped.
/// [`crate::Module::obstacles`] says whether that is enough.
///
/// It does not depend on the runtime: a snapshot from one engine makes instances on every other.
/// See [`crate::Instance::capture`] and [`crate::Module::restore`].
#[derive(Clone)]
pub struct Snapshot {
    parts: SnapshotParts,
    host: Option<Arc<dyn HostState>>,
}

/// For engines: the parts of a [`Snapshot`], each in the order of its indexes.
#[derive(Clone, Debug)]
pub struct SnapshotParts {
    /// The module whose instance was captured.
    pub module: ModuleHash,
    /// All memories.
    pub memories: Vec<(MemoryIndex, MemoryImage)>,
    /// All mutable globals of numbers and vectors.
    pub globals: Vec<(GlobalIndex, Val)>,
    /// All mutable globals of references.
    pub references: Vec<(GlobalIndex, Reference)>,
    /// All tables that anything can change after the instantiation, with their elements: imported
    /// and exported ones, and those that the code changes.
    pub tables: Vec<(TableIndex, Arc<[Reference]>)>,
    /// The segments that a new instance has and this one has no more.
    pub dropped: DroppedSegments,
    /// The objects of the host that globals and tables refer to, each once, in the order in which
    /// they first occur there: globals before tables. See [`Objects`].
    pub objects: Vec<ExternRef>,
}

/// For engines: numbers the objects of the host for [`SnapshotParts::objects`], in the order in
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
    /// An object of the host, by its place in [`Snapshot::objects`].
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

/// State of an instance that its host keeps, such as the objects that a guest refers to. It goes
/// with the [`Snapshot`] of the instance, as a copy that nothing changes.
pub trait HostState: fmt::Debug + Send + Sync {
    /// The host's own type.
    fn as_any(&self) -> &dyn Any;

    /// The first difference of another state from this one, in words, or `None` if they are equal.
    fn difference(&self, other: &dyn HostState) -> Option<String>;

    /// A hash of the state: equal for equal states, on every engine and in every process.
    fn digest(&self) -> [u8; 32];

    /// The bytes that the copy keeps.
    fn bytes_kept(&self) -> u64;

    /// The state as bytes, for [`Module::decode_host_state`](crate::Module::decode_host_state) in
    /// any process. They say in which version of the host's own layout they are.
    ///
    /// # Errors
    ///
    /// [`Error::HostState`] if the host does not write its state, or part of it cannot be written,
    /// such as objects of somebody else.
    fn encode(&self) -> Result<Vec<u8>, Error> {
        Err(Error::HostState {
            reason: "its host does not write it".to_owned(),
        })
    }
}

impl Snapshot {
    /// The version of the layout that [`Snapshot::digest`] hashes. The hash covers it.
    pub const FORMAT: u32 = 3;

    /// For engines: the state of an instance.
    #[must_use]
    pub fn new(parts: SnapshotParts) -> Self {
        Self { parts, host: None }
    }

    /// For hosts: the same state, with what the host keeps of it.
    #[must_use]
    pub fn with_host(mut self, host: Arc<dyn HostState>) -> Self {
        self.host = Some(host);
        self
    }

    /// For hosts: the same state with other objects in the places of its own, to restore an
    /// instance that shares no object with the captured one.
    #[must_use]
    pub fn with_objects(mut self, objects: Vec<ExternRef>) -> Self {
        self.parts.objects = objects;
        self
    }

    /// The hash of the module whose instance was captured.
    #[must_use]
    pub fn module(&self) -> ModuleHash {
        self.parts.module
    }

    /// The images of all memories.
    #[must_use]
    pub fn memories(&self) -> &[(MemoryIndex, MemoryImage)] {
        &self.parts.memories
    }

    /// The image of one memory.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] if there is none.
    pub fn memory(&self, memory: MemoryIndex) -> Result<&MemoryImage, Error> {
        of_index(&self.parts.memories, memory).ok_or_else(|| lacks("memory", memory.0))
    }

    /// For engines: the bytes by which a memory must grow from its first size to its image's.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] if there is no image, or if it is smaller than the memory.
    pub fn growth(&self, memory: MemoryIndex, size: u64) -> Result<u64, Error> {
        let bytes = self.memory(memory)?.bytes();
        bytes.checked_sub(size).ok_or_else(|| Error::Snapshot {
            reason: format!("it has a memory of {bytes} bytes, which here starts with {size}"),
        })
    }

    /// The values of all mutable globals of numbers and vectors.
    #[must_use]
    pub fn globals(&self) -> &[(GlobalIndex, Val)] {
        &self.parts.globals
    }

    /// The value of one mutable global.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] if there is none.
    pub fn global(&self, global: GlobalIndex) -> Result<&Val, Error> {
        of_index(&self.parts.globals, global).ok_or_else(|| lacks("global", global.0))
    }

    /// What all mutable globals of references refer to.
    #[must_use]
    pub fn references(&self) -> &[(GlobalIndex, Reference)] {
        &self.parts.references
    }

    /// What one mutable global refers to.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] if it is not there.
    pub fn reference(&self, global: GlobalIndex) -> Result<Reference, Error> {
        let found = of_index(&self.parts.references, global).copied();
        found.ok_or_else(|| lacks("global", global.0))
    }

    /// The elements of all tables that can change.
    #[must_use]
    pub fn tables(&self) -> &[(TableIndex, Arc<[Reference]>)] {
        &self.parts.tables
    }

    /// The elements of one table.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] if there are none.
    pub fn table(&self, table: TableIndex) -> Result<&[Reference], Error> {
        let found = of_index(&self.parts.tables, table).map(|elements| &**elements);
        found.ok_or_else(|| lacks("table", table.0))
    }

    /// For engines: the elements of a table that starts with `size` elements.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] if there are none, or fewer than that.
    pub fn table_from(&self, table: TableIndex, size: u64) -> Result<&[Reference], Error> {
        let elements = self.table(table)?;
        if elements.len() as u64 >= size {
            return Ok(elements);
        }
        Err(Error::Snapshot {
            reason: format!(
                "it has a table of {} elements, which here starts with {size}",
                elements.len()
            ),
        })
    }

    /// The segments that were dropped.
    #[must_use]
    pub fn dropped(&self) -> &DroppedSegments {
        &self.parts.dropped
    }

    /// The objects of the host that tables and globals refer to.
    #[must_use]
    pub fn objects(&self) -> &[ExternRef] {
        &self.parts.objects
    }

    /// What the host keeps of the state, if it does.
    #[must_use]
    pub fn host(&self) -> Option<&Arc<dyn HostState>> {
        self.host.as_ref()
    }

    /// The size of all memories, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let images = self.parts.memories.iter();
        images.map(|(_, image)| image.bytes()).sum()
    }

    /// The bytes that these images keep and no older ones do, with those of the tables.
    #[must_use]
    pub fn bytes_kept(&self) -> u64 {
        let images = self.parts.memories.iter();
        let images: u64 = images.map(|(_, image)| image.bytes_kept()).sum();
        let tables = self.parts.tables.iter();
        let tables: u64 = tables
            .map(|(_, elements)| size_of_val(&**elements) as u64)
            .sum();
        images + tables + self.host.as_ref().map_or(0, |host| host.bytes_kept())
    }

    /// The blake3 hash of the state: equal for equal states, on every engine and in every release
    /// of the same [`Snapshot::FORMAT`]. It reads all of the memories.
    ///
    /// It hashes these bytes, with all numbers little endian:
    ///
    /// ```text
    /// bytes      content
    /// 4          Snapshot::FORMAT
    /// 32         blake3 of the module's binary form
    /// 4          number of memories, and for each:
    ///   4          its index
    ///   8          its size in bytes
    ///   32         MemoryImage::digest
    /// 4          number of globals, and for each:
    ///   4          its index
    ///   1          the code of its type in the binary format of WebAssembly
    ///   16         its bits, padded with zeros
    /// 4          number of globals of references, and for each:
    ///   4          its index
    ///   5          its reference
    /// 4          number of tables, and for each:
    ///   4          its index
    ///   4          number of elements, and for each:
    ///     5          its reference
    /// 4          number of dropped data segments, and for each:
    ///   4          its index
    /// 4          number of dropped element segments, and for each:
    ///   4          its index
    /// 4          number of objects of the host
    /// 32         HostState::digest, or zeros
    /// ```
    ///
    /// A reference is one byte, 0 for null, 1 for a function and 2 for an object, and 4 bytes of its
    /// index. What an object is counts only if the host keeps it.
    ///
    /// # Errors
    ///
    /// [`Error::Image`].
    pub fn digest(&self) -> Result<[u8; 32], Error> {
        let parts = &self.parts;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&Self::FORMAT.to_le_bytes());
        hasher.update(parts.module.as_bytes());
        hasher.update(&count(parts.memories.len()));
        for (index, image) in &parts.memories {
            hasher.update(&index.0.to_le_bytes());
            hasher.update(&image.bytes().to_le_bytes());
            hasher.update(&image.digest()?);
        }
        hasher.update(&count(parts.globals.len()));
        for (index, value) in &parts.globals {
            let (ty, bits) = encoded(value);
            hasher.update(&index.0.to_le_bytes());
            hasher.update(&[ty]);
            hasher.update(&bits.to_le_bytes());
        }
        hasher.update(&count(parts.references.len()));
        for (index, reference) in &parts.references {
            hasher.update(&index.0.to_le_bytes());
            hasher.update(&reference.encoded());
        }
        hasher.update(&count(parts.tables.len()));
        for (index, elements) in &parts.tables {
            hasher.update(&index.0.to_le_bytes());
            hasher.update(&count(elements.len()));
            for element in &**elements {
                hasher.update(&element.encoded());
            }
        }
        for dropped in [&parts.dropped.data, &parts.dropped.elements] {
            hasher.update(&count(dropped.len()));
            for index in dropped {
                hasher.update(&index.to_le_bytes());
            }
        }
        hasher.update(&count(parts.objects.len()));
        let host = self.host.as_ref();
        hasher.update(&host.map_or([0; 32], |host| host.digest()));
        Ok(hasher.finalize().into())
    }

    /// The first difference of another state from this one, in words, or `None` if they are equal.
    ///
    /// # Errors
    ///
    /// [`Error::Image`].
    pub fn difference(&self, other: &Self) -> Result<Option<String>, Error> {
        let (ours, theirs) = (&self.parts, &other.parts);
        if ours.module != theirs.module {
            return Ok(Some(format!(
                "module {} instead of {}",
                theirs.module, ours.module
            )));
        }
        if ours.memories.len() != theirs.memories.len()
            || ours.globals.len() != theirs.globals.len()
            || ours.references.len() != theirs.references.len()
            || ours.tables.len() != theirs.tables.len()
        {
            return Ok(Some(
                "another number of memories, globals or tables".to_owned(),
            ));
        }
        for ((index, ours), (_, theirs)) in ours.memories.iter().zip(&theirs.memories) {
            if ours.bytes() != theirs.bytes() {
                return Ok(Some(format!(
                    "memory {} of {} bytes instead of {}",
                    index.0,
                    theirs.bytes(),
                    ours.bytes()
                )));
            }
            if let Some(offset) = ours.first_difference(theirs)? {
                return Ok(Some(format!(
                    "memory {} from offset {offset:#x} on",
                    index.0
                )));
            }
        }
        Ok(ours
            .difference_of_values(theirs)
            .or_else(|| self.difference_of_objects(other)))
    }

    /// The first difference of the host's objects.
    fn difference_of_objects(&self, other: &Self) -> Option<String> {
        match (&self.host, &other.host) {
            (Some(ours), Some(theirs)) => ours.difference(&**theirs),
            (None, None) if self.parts.objects == other.parts.objects => None,
            _ => Some("other objects of the host".to_owned()),
        }
    }

    /// For engines: refuses a snapshot of another module.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`].
    pub fn check_module(&self, module: ModuleHash) -> Result<(), Error> {
        let own = self.parts.module;
        if own == module {
            return Ok(());
        }
        Err(Error::Snapshot {
            reason: format!("it was taken of module {own}, this is {module}"),
        })
    }
}

impl SnapshotParts {
    /// The state of an instance of a module without memories, globals and tables.
    #[must_use]
    pub fn empty(module: ModuleHash) -> Self {
        Self {
            module,
            memories: Vec::new(),
            globals: Vec::new(),
            references: Vec::new(),
            tables: Vec::new(),
            dropped: DroppedSegments::default(),
            objects: Vec::new(),
        }
    }

    /// The first difference of globals, tables and segments.
    fn difference_of_values(&self, other: &Self) -> Option<String> {
        for ((index, ours), (_, theirs)) in self.globals.iter().zip(&other.globals) {
            if ours != theirs {
                return Some(format!(
                    "global {} is {theirs:?} instead of {ours:?}",
                    index.0
                ));
            }
        }
        for ((index, ours), (_, theirs)) in self.references.iter().zip(&other.references) {
            if ours != theirs {
                return Some(format!("global {} is {theirs} instead of {ours}", index.0));
            }
        }
        for ((index, ours), (_, theirs)) in self.tables.iter().zip(&other.tables) {
            if ours.len() != theirs.len() {
                return Some(format!(
                    "table {} of {} elements instead of {}",
                    index.0,
                    theirs.len(),
                    ours.len()
                ));
            }
            let mut elements = ours.iter().zip(&**theirs);
            if let Some(element) = elements.position(|(ours, theirs)| ours != theirs) {
                return Some(format!(
                    "element {element} of table {} is {} instead of {}",
                    index.0, theirs[element], ours[element]
                ));
            }
        }
        (self.dropped != other.dropped).then(|| "other dropped segments".to_owned())
    }
}

impl Reference {
    fn encoded(self) -> [u8; 5] {
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

fn count(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()
}

fn of_index<I: PartialEq + Copy, T>(items: &[(I, T)], index: I) -> Option<&T> {
    let mut items = items.iter();
    items.find(|(own, _)| *own == index).map(|(_, item)| item)
}

fn lacks(kind: &str, index: u32) -> Error {
    Error::Snapshot {
        reason: format!("{kind} {index} is missing"),
    }
}

/// The code of a value's type (core specification, section 5.3), and its bits.
fn encoded(value: &Val) -> (u8, u128) {
    match value {
        Val::I32(value) => (0x7f, value.cast_unsigned().into()),
        Val::I64(value) => (0x7e, value.cast_unsigned().into()),
        Val::F32(bits) => (0x7d, (*bits).into()),
        Val::F64(bits) => (0x7c, (*bits).into()),
        Val::V128(bits) => (0x7b, *bits),
        // An engine gives references in `SnapshotParts::references`. Here only their types count.
        Val::FuncRef(_) => (0x70, 0),
        Val::ExternRef(_) => (0x6f, 0),
    }
}

impl From<ImageError> for Error {
    fn from(source: ImageError) -> Self {
        Error::Image { source }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("module", &self.parts.module)
            .field("bytes", &self.bytes())
            .field("globals", &self.parts.globals.len())
            .field("tables", &self.parts.tables.len())
            .field("objects", &self.parts.objects.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut SnapshotParts);

    fn parts() -> SnapshotParts {
        SnapshotParts {
            memories: vec![(MemoryIndex(0), MemoryImage::of_bytes(&[0, 1, 2]))],
            globals: vec![(GlobalIndex(2), Val::I32(5))],
            references: vec![(GlobalIndex(3), Reference::Null)],
            tables: vec![(
                TableIndex(1),
                [Reference::Function(7), Reference::Null].into(),
            )],
            ..SnapshotParts::empty(ModuleHash::of(b"m"))
        }
    }

    #[test]
    fn a_difference_is_named_and_changes_the_digest() {
        let one = Snapshot::new(parts());
        let same = Snapshot::new(parts());
        assert_eq!(one.difference(&same).unwrap(), None);
        assert_eq!(one.digest().unwrap(), same.digest().unwrap());

        let changes: [(Change, &str); 8] = [
            (
                |parts| parts.memories[0].1 = MemoryImage::of_bytes(&[0, 1, 3]),
                "memory 0 from offset 0x2 on",
            ),
            (
                |parts| parts.memories[0].1 = MemoryImage::of_bytes(&[0, 1]),
                "memory 0 of 2 bytes instead of 3",
            ),
            (
                |parts| parts.globals[0].1 = Val::I32(6),
                "global 2 is I32(6) instead of I32(5)",
            ),
            (
                |parts| parts.references[0].1 = Reference::Object(0),
                "global 3 is object 0 of the host instead of null",
            ),
            (
                |parts| parts.tables[0].1 = [Reference::Function(8), Reference::Null].into(),
                "element 0 of table 1 is function 8 instead of function 7",
            ),
            (
                |parts| parts.tables[0].1 = [Reference::Function(7)].into(),
                "table 1 of 1 elements instead of 2",
            ),
            (
                |parts| parts.dropped.elements.push(0),
                "other dropped segments",
            ),
            (
                |parts| parts.objects.push(ExternRef::new(1)),
                "other objects of the host",
            ),
        ];
        for (change, named) in changes {
            let mut parts = parts();
            change(&mut parts);
            let other = Snapshot::new(parts);
            assert_eq!(one.difference(&other).unwrap().as_deref(), Some(named));
            assert_ne!(one.digest().unwrap(), other.digest().unwrap(), "{named}");
        }
    }

    #[derive(Debug)]
    struct Number(u8);

    impl HostState for Number {
        fn as_any(&self) -> &dyn Any {
            self
        }

        fn difference(&self, other: &dyn HostState) -> Option<String> {
            let other = other.as_any().downcast_ref::<Self>()?;
            (self.0 != other.0).then(|| format!("{} instead of {}", other.0, self.0))
        }

        fn digest(&self) -> [u8; 32] {
            [self.0; 32]
        }

        fn bytes_kept(&self) -> u64 {
            1
        }
    }

    #[test]
    fn what_the_host_keeps_decides_about_its_objects() {
        let of = |number| {
            let mut parts = parts();
            parts.objects.push(ExternRef::new(number));
            Snapshot::new(parts).with_host(Arc::new(Number(number)))
        };
        assert_eq!(of(1).difference(&of(1)).unwrap(), None);
        assert_eq!(of(1).digest().unwrap(), of(1).digest().unwrap());
        let without = Snapshot::new(parts());
        assert_eq!(of(1).bytes_kept(), without.bytes_kept() + 1);
        let difference = of(1).difference(&of(2)).unwrap();
        assert_eq!(difference.as_deref(), Some("2 instead of 1"));
        assert_ne!(of(1).digest().unwrap(), of(2).digest().unwrap());
        let difference = of(1).difference(&without).unwrap();
        assert_eq!(difference.as_deref(), Some("other objects of the host"));
    }

    #[test]
    fn the_digest_is_of_bytes_in_the_documented_layout() {
        let values = [
            Val::I32(-2),
            Val::I64(3),
            Val::F32(1.5_f32.to_bits()),
            Val::F64(f64::NAN.to_bits()),
            Val::V128(7 << 100),
        ];
        let codes = [0x7f, 0x7e, 0x7d, 0x7c, 0x7b];
        let bits: [u128; 5] = [0xffff_fffe, 3, 0x3fc0_0000, 0x7ff8_0000_0000_0000, 7 << 100];
        let image = MemoryImage::of_bytes(b"state");
        let mut bytes = 3_u32.to_le_bytes().to_vec();
        bytes.extend(blake3::hash(b"m").as_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(5_u64.to_le_bytes());
        bytes.extend(image.digest().unwrap());
        bytes.extend(5_u32.to_le_bytes());
        for (index, (code, bits)) in (0_u32..).zip(codes.into_iter().zip(bits)) {
            bytes.extend(index.to_le_bytes());
            bytes.push(code);
            bytes.extend(bits.to_le_bytes());
        }
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend([6, 0, 0, 0, 2, 1, 0, 0, 0]);
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend([4, 0, 0, 0, 2, 0, 0, 0]);
        bytes.extend([1, 0xff, 0, 0, 0]);
        bytes.extend([0; 5]);
        bytes.extend([1, 0, 0, 0, 9, 0, 0, 0]);
        bytes.extend([0; 4]);
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend([0; 32]);
        let snapshot = Snapshot::new(SnapshotParts {
            module: ModuleHash::of(b"m"),
            memories: vec![(MemoryIndex(0), image)],
            globals: (0..).map(GlobalIndex).zip(values).collect(),
            references: vec![(GlobalIndex(6), Reference::Object(1))],
            tables: vec![(
                TableIndex(4),
                [Reference::Function(255), Reference::Null].into(),
            )],
            dropped: DroppedSegments {
                data: vec![9],
                elements: Vec::new(),
            },
            objects: [1, 2].map(ExternRef::new).into(),
        });
        let digest = blake3::Hash::from_bytes(snapshot.digest().unwrap());
        assert_eq!(digest, blake3::hash(&bytes));
        assert_eq!(
            digest.to_hex().as_str(),
            "c3e82be0869bcc35a5cea3e788bca150f0b5b9a8819416c6ffd99def9c17e705"
        );
    }

    #[test]
    fn objects_are_numbered_in_the_order_in_which_they_occur() {
        let [a, b] = [1, 2].map(ExternRef::new);
        let mut objects = Objects::default();
        let numbers = [&b, &a, &b].map(|object| objects.reference(object));
        assert_eq!(numbers, [0, 1, 0].map(Reference::Object));
        assert_eq!(objects.finish(), [b, a]);
    }

    #[test]
    fn dropped_segments_are_sorted_by_kind_and_index() {
        let segments = [Segment::Data(7), Segment::Element(1), Segment::Data(3)];
        let dropped: DroppedSegments = segments.into_iter().collect();
        assert_eq!(
            (&dropped.data[..], &dropped.elements[..]),
            (&[3, 7][..], &[1][..])
        );
        assert!(segments.iter().all(|segment| dropped.contains(*segment)));
        assert!(!dropped.contains(Segment::Element(7)));
        assert!(!dropped.is_empty() && DroppedSegments::default().is_empty());
    }

    #[test]
    fn a_table_is_refused_to_an_instance_where_it_starts_larger() {
        let snapshot = Snapshot::new(parts());
        let found = |table, size| snapshot.table_from(TableIndex(table), size);
        assert_eq!(found(1, 2).unwrap().len(), 2);
        for (table, size) in [(1, 3), (0, 0)] {
            assert!(matches!(found(table, size), Err(Error::Snapshot { .. })));
        }
        assert_eq!(snapshot.bytes_kept(), 3 + 2 * 8);
    }

    #[test]
    fn a_snapshot_of_another_module_is_refused() {
        let one = Snapshot::new(SnapshotParts::empty(ModuleHash::of(b"m")));
        assert!(one.check_module(ModuleHash::of(b"m")).is_ok());
        let error = one.check_module(ModuleHash::of(b"n")).unwrap_err();
        assert!(error.to_string().contains("taken of module"), "{error}");
    }
}
