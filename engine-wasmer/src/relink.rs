//! Redirects the library calls of LLVM's code to [`crate::libcalls`].
//!
//! Wasmer puts addresses of its library into LLVM's code when it loads a module, and there is no
//! setting for other addresses. But a serialized module says where they are. So this module
//! overwrites them, once per guest module, before anybody can run it.

use std::io;
use std::ops::Range;
use std::ptr;

use engine_api::Error;
use wasmer_compiler::serialize::{ArchivedSerializableCompilation, SerializableModule};
use wasmer_compiler::types::relocation::{RelocationKind, RelocationLike, RelocationTarget};
use wasmer_compiler::{Artifact, ArtifactBuild};
use wasmer_types::MetadataHeader;
use wasmer_vm::libcalls::function_pointer;

use crate::libcalls;
use crate::settings::Settings;

/// An address in the code that is replaced: its place, its old value and its new one.
struct Patch {
    at: usize,
    old: u64,
    new: u64,
}

/// Replaces the addresses of wasmer's operations in a module's code by those of ours.
///
/// # Errors
///
/// [`Error::Unsupported`] if the code calls the library in a way that leaves no room for a whole
/// address; [`Error::Runtime`] if the code differs from wasmer's description of it, or if the
/// system does not make it writable.
pub(crate) fn relink(
    settings: &Settings,
    module: &wasmer::Module,
    artifact: &Artifact,
    code: &Range<usize>,
) -> Result<(), Error> {
    let serialized = module
        .serialize()
        .map_err(|error| settings.failed(LINK, error))?;
    let patches = patches(settings, artifact, &serialized)?;
    if patches.is_empty() {
        return Ok(());
    }
    let pages = pages(code);
    protect(&pages, libc::PROT_READ | libc::PROT_WRITE)
        .map_err(|error| settings.failed(LINK, error))?;
    for Patch { at, old, new } in patches {
        let at = ptr::with_exposed_provenance_mut::<u64>(at);
        // SAFETY: wasmer has written there itself; the pages are writable, and belong to this
        // module alone, which nobody runs yet.
        unsafe {
            if at.read_unaligned() != old {
                return Err(settings.failed(LINK, "its code is not as described"));
            }
            at.write_unaligned(new);
        }
    }
    protect(&pages, libc::PROT_READ | libc::PROT_EXEC).map_err(|error| settings.failed(LINK, error))
}

const LINK: &str = "link the module";

fn patches(
    settings: &Settings,
    artifact: &Artifact,
    serialized: &[u8],
) -> Result<Vec<Patch>, Error> {
    let header = ArtifactBuild::MAGIC_HEADER.len() + MetadataHeader::LEN;
    let metadata = serialized.get(header..).unwrap_or_default();
    let archive = SerializableModule::archive_from_slice_checked(metadata)
        .map_err(|error| settings.failed(LINK, error))?;
    let ArchivedSerializableCompilation::Rkyv(compilation) = &archive.compilation else {
        return Err(settings.failed(LINK, "its serialized form has another format"));
    };
    let mut patches = Vec::new();
    for (function, relocations) in compilation.function_relocations.iter() {
        let body = artifact.finished_functions()[function]
            .0
            .expose_provenance();
        for relocation in relocations.iter() {
            let RelocationTarget::LibCall(call) = relocation.reloc_target() else {
                continue;
            };
            let Some(operation) = libcalls::replacement(call) else {
                continue;
            };
            if relocation.kind() != RelocationKind::Abs8 {
                let what = "this machine: the code of its compiler has no addresses to replace";
                return Err(settings.unsupported(what));
            }
            let (at, old) = relocation.for_address(body, function_pointer(call) as u64);
            let (_, new) = relocation.for_address(body, operation.addr() as u64);
            patches.push(Patch { at, old, new });
        }
    }
    Ok(patches)
}

/// The pages on which the code lies. They hold nothing else.
fn pages(code: &Range<usize>) -> Range<usize> {
    // SAFETY: it only asks.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let size = usize::try_from(size).unwrap_or(4096);
    code.start / size * size..code.end.next_multiple_of(size)
}

fn protect(pages: &Range<usize>, protection: libc::c_int) -> io::Result<()> {
    let start = ptr::with_exposed_provenance_mut(pages.start);
    // SAFETY: they are pages of a module's code, which its engine keeps mapped, and nobody runs.
    match unsafe { libc::mprotect(start, pages.len(), protection) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
