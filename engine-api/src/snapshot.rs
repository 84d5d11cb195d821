//! The state of an instance at one moment, to make other instances like it.

mod compared;
mod references;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use memory_image::{ImageError, MemoryImage};

use crate::{Error, ExternRef, GlobalIndex, MemoryIndex, ModuleHash, TableIndex, Val};

pub use references::{DroppedSegments, Objects, Reference, Segment};

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
