//! Stamps: what the system said of a file when its contents were known to be right.
//!
//! To compare the contents of a file with their hashes takes as long as to read it. A process that
//! was killed and is started again has no time for that, and no need: as long as the system runs,
//! nobody changes a file without leaving a trace in its inode. So whoever has written or checked a
//! file puts a stamp beside it. While the stamp fits, the contents are what they were, unless the
//! disk gave other bytes back than it was given: they are checked too, but by a process that serves
//! meanwhile.
//!
//! A stamp is worth nothing after the system was started again, for a copy, on a file system that
//! other machines write to, and where any byte of it is another one.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use memory_image::ImageFile;

/// What the names of stamps have after those of their files.
pub const STAMP_SUFFIX: &str = ".stamp";

#[cfg(target_os = "linux")]
const MAGIC: &[u8; 8] = b"wpx-stmp";

/// Puts a stamp beside a file whose contents are known to be right. Without one, the next opening
/// checks them before it goes on: on a system that is not Linux, or a file system that may not be
/// this machine's own, none is made.
///
/// # Errors
///
/// The system's. A stamp that stood there may be gone.
pub fn stamp(path: &Path) -> io::Result<()> {
    let file = ImageFile::open(path)?;
    put(path, &file)
}

/// The same for an opened file.
pub(crate) fn put(path: &Path, file: &ImageFile) -> io::Result<()> {
    let Some(stamp) = now(path, file.metadata()) else {
        return Ok(());
    };
    // A new file, so nothing is written through a link that somebody has put there.
    remove(path)?;
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .open(place(path))?;
    // Not flushed: it has to outlive a process and not the system.
    file.write_all(&stamp)
}

/// Whether the stamp beside a file fits it as it was opened.
pub(crate) fn fits(path: &Path, file: &ImageFile) -> bool {
    let stamp = now(path, file.metadata());
    // A stamp has a few dozen bytes, and the system ends a longer file's.
    stamp.is_some_and(|stamp| read_short(&place(path), stamp.len() + 1).is_ok_and(|is| is == stamp))
}

/// Takes the stamp away.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(place(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn place(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(STAMP_SUFFIX);
    name.into()
}

fn read_short(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(bytes_max as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The stamp of a file as it is now, on a system and a file system where it says something.
#[cfg(target_os = "linux")]
fn now(path: &Path, metadata: &Metadata) -> Option<Vec<u8>> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let system = rustix::fs::statfs(path).ok()?;
    let is_own = OWN_FILE_SYSTEMS.contains(&u64::try_from(system.f_type).ok()?);
    is_own.then(|| of(metadata, &boot))
}

#[cfg(not(target_os = "linux"))]
fn now(_: &Path, _: &Metadata) -> Option<Vec<u8>> {
    None
}

/// The file systems to which no other machine writes, by the numbers of the kernel's `magic.h`:
/// ext2 to ext4, XFS, Btrfs, F2FS, bcachefs, ZFS, tmpfs, and an overlay, whose upper layer is one of
/// these.
#[cfg(target_os = "linux")]
const OWN_FILE_SYSTEMS: [u64; 8] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0xf2f5_2010,
    0xca45_1a4e,
    0x2fc1_2fc1,
    0x0102_1994,
    0x794c_7630,
];

/// All that changes with the file's content: its inode's times among it, which only the system
/// sets. Stamps are compared as a whole.
#[cfg(target_os = "linux")]
fn of(metadata: &Metadata, boot: &[u8]) -> Vec<u8> {
    use std::os::unix::fs::MetadataExt;

    let mut stamp = MAGIC.to_vec();
    stamp.extend(blake3::hash(boot).as_bytes());
    for number in [metadata.dev(), metadata.ino(), metadata.len()] {
        stamp.extend(number.to_le_bytes());
    }
    let times = [
        (metadata.mtime(), metadata.mtime_nsec()),
        (metadata.ctime(), metadata.ctime_nsec()),
    ];
    for (seconds, nanoseconds) in times {
        stamp.extend(seconds.to_le_bytes());
        stamp.extend(nanoseconds.to_le_bytes());
    }
    stamp
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_of_one_start_of_the_system() {
        let metadata = tempfile::tempfile().unwrap().metadata().unwrap();
        assert_eq!(of(&metadata, b"a"), of(&metadata, b"a"));
        assert_ne!(of(&metadata, b"a"), of(&metadata, b"b"));
    }
}
