//! Precompiled modules: compiled code outside a process.

use std::error::Error as StdError;
use std::fmt;

use crate::{Error, ModuleHash};

/// Machine code that an engine compiled from a module, with the hash of the module and the
/// fingerprint of the engine, by which other engines and modules refuse it.
///
/// ```text
/// bytes      content
/// 8          magic "wpx-aot2"
/// 32         blake3 of the module's binary form
/// 32         blake3 of all that follows
/// 4          length of the engine's fingerprint, little endian
/// n          the fingerprint, UTF-8
/// the rest   the engine's own serialized form
/// ```
///
/// Loading one runs its machine code. So it must come from [`crate::Module::precompiled`], either
/// in this process or from a file that nobody else could write. The hashes find damage and mistakes;
/// they are not a signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Precompiled {
    module: ModuleHash,
    fingerprint: String,
    code: Vec<u8>,
}

/// It ends with the version of this layout and of the bytes that engines compile
/// (`module_bytes::Instrumented`).
const MAGIC: &[u8; 8] = b"wpx-aot2";
const HEADER_BYTES: usize = MAGIC.len() + 32 + 32;

impl Precompiled {
    /// For engines: wraps `code`, which the engine with this fingerprint compiled from the module.
    #[must_use]
    pub fn new(module: ModuleHash, fingerprint: String, code: Vec<u8>) -> Self {
        Self {
            module,
            fingerprint,
            code,
        }
    }

    /// The hash of the module that it was compiled from.
    #[must_use]
    pub fn module(&self) -> ModuleHash {
        self.module
    }

    /// The [fingerprint](crate::Engine::fingerprint) of the engine that made it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Serializes it in the documented layout, to be kept in a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let fingerprint_len =
            u32::try_from(self.fingerprint.len()).expect("a fingerprint is a few hundred bytes");
        let mut body = Vec::with_capacity(4 + self.fingerprint.len() + self.code.len());
        body.extend_from_slice(&fingerprint_len.to_le_bytes());
        body.extend_from_slice(self.fingerprint.as_bytes());
        body.extend_from_slice(&self.code);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.module.as_bytes());
        bytes.extend_from_slice(blake3::hash(&body).as_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads what [`Precompiled::to_bytes`] wrote.
    ///
    /// # Safety
    ///
    /// The bytes must be unchanged since [`crate::Module::precompiled`] made them: an engine will
    /// execute them with all the rights of this process. Never pass bytes from outside.
    ///
    /// # Errors
    ///
    /// [`Error::Precompiled`] if they are damaged or not a precompiled module.
    #[expect(
        unsafe_code,
        reason = "the caller vouches for machine code; see Safety"
    )]
    pub unsafe fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |reason: &str| refused(reason.to_owned());
        let truncated = || refuse("it is truncated");
        let rest = bytes.strip_prefix(MAGIC);
        let rest = rest.ok_or_else(|| refuse("it does not start as one"))?;
        let (module, rest) = rest.split_first_chunk::<32>().ok_or_else(truncated)?;
        let (hash, body) = rest.split_first_chunk::<32>().ok_or_else(truncated)?;
        if blake3::hash(body).as_bytes() != hash {
            return Err(refuse("it is damaged: its hash does not match"));
        }
        let (len, rest) = body.split_first_chunk::<4>().ok_or_else(truncated)?;
        let len = u32::from_le_bytes(*len) as usize;
        let (fingerprint, code) = rest.split_at_checked(len).ok_or_else(truncated)?;
        let fingerprint = std::str::from_utf8(fingerprint)
            .map_err(|error| unusable("its fingerprint is no text".to_owned(), error))?
            .to_owned();
        Ok(Self {
            module: ModuleHash::from_bytes(*module),
            fingerprint,
            code: code.to_vec(),
        })
    }

    /// Reads a file to which this program wrote the bytes of [`Precompiled::to_bytes`], such as one
    /// that several processes of the program share. File and folder must belong to this process's
    /// user, and nobody else may be able to write to them.
    ///
    /// # Errors
    ///
    /// [`Error::Precompiled`] if others could have written it, or if it is damaged or not a
    /// precompiled module.
    #[cfg(unix)]
    #[expect(
        unsafe_code,
        reason = "only this user can have written the bytes; see SAFETY"
    )]
    pub fn from_private_file(path: &std::path::Path) -> Result<Self, Error> {
        use std::io::Read;
        use std::os::unix::fs::MetadataExt;
        let failed =
            |error: std::io::Error| unusable(format!("`{}` cannot be read", path.display()), error);
        let own = std::fs::metadata("/proc/self").map_err(failed)?.uid();
        let check = |metadata: &std::fs::Metadata| {
            if metadata.uid() == own && metadata.mode() & 0o022 == 0 {
                return Ok(());
            }
            Err(refused(format!(
                "others than this user could have written `{}`; keep precompiled modules in a \
                 folder that only their user can write",
                path.display()
            )))
        };
        let folder = path
            .parent()
            .filter(|folder| *folder != std::path::Path::new(""));
        let folder = folder.unwrap_or(std::path::Path::new("."));
        check(&std::fs::metadata(folder).map_err(failed)?)?;
        // A pipe would be waited for, before anybody could say what it is.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(refused(format!("`{}` is no file", path.display())));
        }
        let mut file = std::fs::File::open(path).map_err(failed)?;
        check(&file.metadata().map_err(failed)?)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        // SAFETY: the open file and its folder belong to the user of this process and are closed to
        // all others. The bytes then come from a program with the same rights as this one, which
        // could do to this process whatever the code could. Accidental changes are found by the
        // hash.
        unsafe { Self::from_bytes(&bytes) }
    }

    /// For engines: the serialized code, if it was made from this module by an engine with this
    /// fingerprint.
    ///
    /// # Errors
    ///
    /// [`Error::Precompiled`], which says which of the two differs.
    pub fn code_for(&self, wasm: &[u8], fingerprint: &str) -> Result<&[u8], Error> {
        if self.module != ModuleHash::of(wasm) {
            return Err(refused(format!("it was made from module {}", self.module)));
        }
        if self.fingerprint != fingerprint {
            let made_by = &self.fingerprint;
            return Err(refused(format!(
                "it was made by `{made_by}`, this is `{fingerprint}`"
            )));
        }
        Ok(&self.code)
    }
}

fn refused(reason: String) -> Error {
    Error::Precompiled {
        reason,
        source: None,
    }
}

fn unusable(reason: String, source: impl StdError + Send + Sync + 'static) -> Error {
    Error::Precompiled {
        reason,
        source: Some(Box::new(source)),
    }
}

impl fmt::Debug for Precompiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Precompiled")
            .field("module", &self.module)
            .field("fingerprint", &self.fingerprint)
            .field("code_bytes", &self.code.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(unsafe_code, reason = "the bytes were made a few lines above")]
    fn read(bytes: &[u8]) -> Result<Precompiled, Error> {
        // SAFETY: no engine ever executes the code of these tests.
        unsafe { Precompiled::from_bytes(bytes) }
    }

    #[test]
    fn bytes_come_back_as_the_same_module() {
        let precompiled =
            Precompiled::new(ModuleHash::of(b"m"), "engine".to_owned(), vec![1, 2, 3]);
        assert_eq!(read(&precompiled.to_bytes()).unwrap(), precompiled);
        assert_eq!(precompiled.code_for(b"m", "engine").unwrap(), [1, 2, 3]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_write_is_refused() {
        use std::fs::{self, Permissions};
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("engine-api-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        let path = folder.join("precompiled");
        let precompiled =
            Precompiled::new(ModuleHash::of(b"m"), "engine".to_owned(), vec![1, 2, 3]);
        fs::write(&path, precompiled.to_bytes()).unwrap();
        let with_modes = |file: u32, parent: u32| {
            fs::set_permissions(&path, Permissions::from_mode(file)).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(parent)).unwrap();
            Precompiled::from_private_file(&path)
        };
        let closed = with_modes(0o600, 0o700);
        let open = [with_modes(0o666, 0o700), with_modes(0o600, 0o777)];
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(closed.unwrap(), precompiled);
        for refused in open {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains("only their user"), "{error}");
        }
    }

    #[test]
    fn another_module_or_engine_is_refused_by_name() {
        let precompiled = Precompiled::new(ModuleHash::of(b"m"), "engine".to_owned(), vec![]);
        let error = precompiled
            .code_for(b"n", "engine")
            .unwrap_err()
            .to_string();
        assert!(error.contains("made from module"), "{error}");
        let error = precompiled.code_for(b"m", "other").unwrap_err().to_string();
        assert!(
            error.contains("`engine`") && error.contains("`other`"),
            "{error}"
        );
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_after_the_module_hash_is_found() {
        let bytes =
            Precompiled::new(ModuleHash::of(b"m"), "engine".to_owned(), vec![7; 40]).to_bytes();
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "{len} bytes were accepted");
        }
        for position in (0..MAGIC.len()).chain(MAGIC.len() + 32..bytes.len()) {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            assert!(
                read(&damaged).is_err(),
                "a flipped bit in byte {position} was accepted"
            );
        }
    }
}
