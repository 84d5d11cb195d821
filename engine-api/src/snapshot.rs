//! The state of an instance at one moment, to make other instances like it.

use std::fmt;

use memory_image::{ImageError, MemoryImage};

use crate::{Error, GlobalIndex, MemoryIndex, ModuleHash, Val};

/// The state of an instance at a moment when nothing ran in it: its linear memories and its mutable
/// globals. It does not hold tables; [`crate::Module::obstacles`] says whether that is enough.
///
/// It does not depend on the runtime: a snapshot from one engine makes instances on every other.
/// See [`crate::Instance::capture`] and [`crate::Module::restore`].
#[derive(Clone)]
pub struct Snapshot {
    module: ModuleHash,
    memories: Vec<(MemoryIndex, MemoryImage)>,
    globals: Vec<(GlobalIndex, Val)>,
}

impl Snapshot {
    /// The version of the layout that [`Snapshot::digest`] hashes. The hash covers it.
    pub const FORMAT: u32 = 2;

    /// For engines: the state of an instance of `module`: all memories of the module, and all
    /// mutable globals, which must not be references: these mean nothing in another instance.
    #[must_use]
    pub fn new(
        module: ModuleHash,
        memories: Vec<(MemoryIndex, MemoryImage)>,
        globals: Vec<(GlobalIndex, Val)>,
    ) -> Self {
        Self {
            module,
            memories,
            globals,
        }
    }

    /// The hash of the module whose instance was captured.
    #[must_use]
    pub fn module(&self) -> ModuleHash {
        self.module
    }

    /// The images of all memories.
    #[must_use]
    pub fn memories(&self) -> &[(MemoryIndex, MemoryImage)] {
        &self.memories
    }

    /// The image of one memory.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] if there is none.
    pub fn memory(&self, memory: MemoryIndex) -> Result<&MemoryImage, Error> {
        of_index(&self.memories, memory).ok_or_else(|| lacks("memory", memory.0))
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

    /// The values of all mutable globals.
    #[must_use]
    pub fn globals(&self) -> &[(GlobalIndex, Val)] {
        &self.globals
    }

    /// The value of one mutable global.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`] if there is none.
    pub fn global(&self, global: GlobalIndex) -> Result<&Val, Error> {
        of_index(&self.globals, global).ok_or_else(|| lacks("global", global.0))
    }

    /// The size of all memories, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.memories.iter().map(|(_, image)| image.bytes()).sum()
    }

    /// The bytes that these images keep and no older ones do.
    #[must_use]
    pub fn bytes_kept(&self) -> u64 {
        let images = self.memories.iter();
        images.map(|(_, image)| image.bytes_kept()).sum()
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
    /// ```
    ///
    /// A snapshot holds no references. If an engine gives one nevertheless, only its type counts.
    ///
    /// # Errors
    ///
    /// [`Error::Image`].
    pub fn digest(&self) -> Result<[u8; 32], Error> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&Self::FORMAT.to_le_bytes());
        hasher.update(self.module.as_bytes());
        hasher.update(&count(self.memories.len()));
        for (index, image) in &self.memories {
            hasher.update(&index.0.to_le_bytes());
            hasher.update(&image.bytes().to_le_bytes());
            hasher.update(&image.digest()?);
        }
        hasher.update(&count(self.globals.len()));
        for (index, value) in &self.globals {
            let (ty, bits) = encoded(value);
            hasher.update(&index.0.to_le_bytes());
            hasher.update(&[ty]);
            hasher.update(&bits.to_le_bytes());
        }
        Ok(hasher.finalize().into())
    }

    /// The first difference of another state from this one, in words, or `None` if they are equal.
    ///
    /// # Errors
    ///
    /// [`Error::Image`].
    pub fn difference(&self, other: &Self) -> Result<Option<String>, Error> {
        if self.module != other.module {
            return Ok(Some(format!(
                "module {} instead of {}",
                other.module, self.module
            )));
        }
        if self.memories.len() != other.memories.len() || self.globals.len() != other.globals.len()
        {
            return Ok(Some("another number of memories or globals".to_owned()));
        }
        for ((index, ours), (_, theirs)) in self.memories.iter().zip(&other.memories) {
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
        for ((index, ours), (_, theirs)) in self.globals.iter().zip(&other.globals) {
            if ours != theirs {
                return Ok(Some(format!(
                    "global {} is {theirs:?} instead of {ours:?}",
                    index.0
                )));
            }
        }
        Ok(None)
    }

    /// For engines: refuses a snapshot of another module.
    ///
    /// # Errors
    ///
    /// [`Error::Snapshot`].
    pub fn check_module(&self, module: ModuleHash) -> Result<(), Error> {
        if self.module == module {
            return Ok(());
        }
        Err(Error::Snapshot {
            reason: format!("it was taken of module {}, this is {module}", self.module),
        })
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

/// The code of a value's type (core specification, section 5.3), and its bits.
fn encoded(value: &Val) -> (u8, u128) {
    match value {
        Val::I32(value) => (0x7f, value.cast_unsigned().into()),
        Val::I64(value) => (0x7e, value.cast_unsigned().into()),
        Val::F32(bits) => (0x7d, (*bits).into()),
        Val::F64(bits) => (0x7c, (*bits).into()),
        Val::V128(bits) => (0x7b, *bits),
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
            .field("module", &self.module)
            .field("bytes", &self.bytes())
            .field("globals", &self.globals.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(bytes: &[u8], global: i32) -> Snapshot {
        Snapshot::new(
            ModuleHash::of(b"m"),
            vec![(MemoryIndex(0), MemoryImage::of_bytes(bytes))],
            vec![(GlobalIndex(2), Val::I32(global))],
        )
    }

    #[test]
    fn a_difference_is_named_and_changes_the_digest() {
        let one = snapshot(&[0, 1, 2], 5);
        assert_eq!(one.difference(&snapshot(&[0, 1, 2], 5)).unwrap(), None);
        assert_eq!(
            one.digest().unwrap(),
            snapshot(&[0, 1, 2], 5).digest().unwrap()
        );
        for (other, named) in [
            (snapshot(&[0, 1, 3], 5), "memory 0 from offset 0x2 on"),
            (snapshot(&[0, 1], 5), "memory 0 of 2 bytes instead of 3"),
            (
                snapshot(&[0, 1, 2], 6),
                "global 2 is I32(6) instead of I32(5)",
            ),
        ] {
            assert_eq!(one.difference(&other).unwrap().as_deref(), Some(named));
            assert_ne!(one.digest().unwrap(), other.digest().unwrap());
        }
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
        let mut bytes = 2_u32.to_le_bytes().to_vec();
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
        let snapshot = Snapshot::new(
            ModuleHash::of(b"m"),
            vec![(MemoryIndex(0), image)],
            (0..).map(GlobalIndex).zip(values).collect(),
        );
        let digest = blake3::Hash::from_bytes(snapshot.digest().unwrap());
        assert_eq!(digest, blake3::hash(&bytes));
        assert_eq!(
            digest.to_hex().as_str(),
            "4aee251b095a185e704e7d4e14d7ee9812024ca4f07aabfb37eb37ea91e3f7e0"
        );
    }

    #[test]
    fn a_snapshot_of_another_module_is_refused() {
        let one = snapshot(&[], 0);
        assert!(one.check_module(ModuleHash::of(b"m")).is_ok());
        let error = one.check_module(ModuleHash::of(b"n")).unwrap_err();
        assert!(error.to_string().contains("taken of module"), "{error}");
    }
}
