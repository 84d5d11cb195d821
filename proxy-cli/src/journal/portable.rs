//! `journal export` and `import`: a journal as one file.
//!
//! `docs/durability.md` has the layout. The file says what the journal is, has its checkpoints and
//! its records in the order of the chain, and ends with a hash of all that comes before.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use journal_redb::{JournalCopy, Origin};
use proxy_core::{
    CheckpointRef, Epoch, Head, Identity, JournalId, JournalReader, JournalStore, Position,
    RECORD_BYTES_MAX, StoredRecord, chain_next,
};

use super::{count, open_read_only, size};
use crate::output;

const MAGIC: &[u8; 8] = b"wpx-expt";

/// The version of the layout.
const VERSION: u32 = 1;

const CHECKPOINT: u8 = 1;
const RECORD: u8 = 2;
const END: u8 = 0;

/// The most bytes of notes and of the name of a file.
const SHORT_BYTES_MAX: u64 = 1 << 16;

/// How many bytes of records are read at once.
const READ_BYTES: usize = 1 << 20;

pub(crate) fn export(dir: &Path, file: &Path) -> Result<ExitCode> {
    let store = open_read_only(dir)?;
    // A journal that no proxy made is not exported as one.
    let reader = JournalReader::new(&store)?;
    let head = *reader.head();
    for checkpoint in reader.checkpoints()? {
        if let Err(fault) = &checkpoint.content {
            bail!(
                "the checkpoint `{}` is not good: {fault}; nothing was written: `journal salvage` saves \
                 what is good into a new journal, which can be exported",
                checkpoint.reference.file
            );
        }
    }
    let cannot = || format!("cannot write `{}`; is the disk full?", file.display());
    // It has a guest's memory in it, which is nobody else's to read.
    let target = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    let target = target.with_context(|| {
        format!(
            "cannot create `{}`; give a file that is not there, in a folder in which you may write",
            file.display()
        )
    })?;
    let written = write(&store, &head, &target);
    let bytes = match written {
        Ok(bytes) => bytes,
        Err(error) => {
            // Half of a journal is of no use. The error is the one to report.
            let _ = fs::remove_file(file);
            return Err(error).with_context(cannot);
        }
    };
    output::print(&format!(
        "wrote   {} records and {} checkpoints, {}, into `{}`\n",
        count(&head),
        store.checkpoints()?.len(),
        size(bytes),
        file.display()
    ))
}

fn write(store: &dyn JournalStore, head: &Head, target: &File) -> Result<u64> {
    let mut out = Hashing::new(BufWriter::new(target));
    let before = head.first.previous();
    let identity = store.identity();
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&store.id().0)?;
    out.number(head.epoch.0)?;
    out.write_all(&identity.module)?;
    out.sized(&identity.notes)?;
    out.number(before.0)?;
    out.write_all(&store.hash_at(before)?)?;
    for checkpoint in store.checkpoints()? {
        let folder = store.checkpoint_folder();
        let folder = folder.context("the journal has no folder for its checkpoints")?;
        out.write_all(&[CHECKPOINT])?;
        out.number(checkpoint.position.0)?;
        out.write_all(&checkpoint.hash)?;
        out.sized(checkpoint.file.as_bytes())?;
        out.number(checkpoint.bytes)?;
        let path = folder.join(&checkpoint.file);
        let file = File::open(&path)
            .with_context(|| format!("cannot read the checkpoint `{}`", path.display()))?;
        let copied = io::copy(&mut file.take(checkpoint.bytes), &mut out)?;
        ensure!(
            copied == checkpoint.bytes,
            "the checkpoint `{}` was cut; `wasm-proxy journal salvage` leaves it out",
            path.display()
        );
    }
    let mut after = before;
    loop {
        let records = store.read_after(after, READ_BYTES)?;
        let Some(last) = records.last() else { break };
        after = last.position;
        for record in &records {
            out.write_all(&[RECORD])?;
            out.sized(&record.bytes)?;
        }
    }
    out.write_all(&[END])?;
    out.number(head.position.0)?;
    out.write_all(&head.hash)?;
    let hash = out.hasher.finalize();
    out.write_all(hash.as_bytes())?;
    let bytes = out.bytes;
    out.inner.flush()?;
    drop(out);
    target.sync_all()?;
    Ok(bytes)
}

pub(crate) fn import(file: &Path, dir: &Path) -> Result<ExitCode> {
    let source = File::open(file)
        .with_context(|| format!("cannot read `{}`; check the path", file.display()))?;
    let mut input = Hashing::new(BufReader::new(source));
    let (head, checkpoints) = read(&mut input, dir)
        .map_err(cut)
        .with_context(|| format!("`{}` cannot be imported", file.display()))?;
    output::print(&format!(
        "made    `{}` of {} records and {checkpoints} checkpoints, up to record {}\n",
        dir.display(),
        count(&head),
        head.position
    ))
}

/// A file that ends too early has an error of the system's own, which says nothing to a user.
fn cut(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<io::Error>() {
        Some(io) if io.kind() == ErrorKind::UnexpectedEof => {
            anyhow::anyhow!("the file was cut; copy it again, or export the journal again")
        }
        _ => error,
    }
}

fn read(input: &mut Hashing<impl Read>, dir: &Path) -> Result<(Head, usize)> {
    const DAMAGED: &str = "the file is damaged; copy it again, or export the journal again";
    ensure!(
        &input.array()? == MAGIC,
        "it is no file that `wasm-proxy journal export` wrote"
    );
    let version = u32::from_le_bytes(input.array()?);
    ensure!(
        version == VERSION,
        "it has version {version}, and this release reads {VERSION}; use the release that made it"
    );
    let origin = Origin {
        id: JournalId(input.array()?),
        epoch: Epoch(input.read_number()?),
        identity: Identity {
            module: input.array()?,
            notes: input.read_sized(SHORT_BYTES_MAX).context(DAMAGED)?,
        },
        position: Position(input.read_number()?),
        hash: input.array()?,
    };
    let (mut position, mut hash) = (origin.position, origin.hash);
    let mut copy = JournalCopy::create(dir, origin)?;
    let mut checkpoints = Vec::new();
    loop {
        let [tag] = input.array()?;
        match tag {
            CHECKPOINT => checkpoints.push(read_checkpoint(input, &copy.checkpoint_folder())?),
            RECORD => {
                let bytes = input.read_sized(RECORD_BYTES_MAX).context(DAMAGED)?;
                position = position.next();
                hash = chain_next(&hash, position, &bytes);
                copy.append(&StoredRecord {
                    position,
                    hash,
                    bytes,
                })?;
            }
            END => break,
            _ => bail!("{DAMAGED}"),
        }
    }
    let is_head = input.read_number()? == position.0 && input.array::<32>()? == hash;
    let expected = input.hasher.finalize();
    let found: [u8; 32] = input.array()?;
    ensure!(is_head && found == *expected.as_bytes(), "{DAMAGED}");
    ensure!(
        input.inner.read(&mut [0])? == 0,
        "the file goes on after its end; {DAMAGED}"
    );
    let count = checkpoints.len();
    // Only now is there a journal.
    Ok((copy.finish(checkpoints)?, count))
}

fn read_checkpoint(input: &mut Hashing<impl Read>, folder: &Path) -> Result<CheckpointRef> {
    let position = Position(input.read_number()?);
    let hash = input.array()?;
    let name = String::from_utf8(input.read_sized(SHORT_BYTES_MAX)?);
    let file = name.context("the name of a checkpoint is no text")?;
    // The store checks the name before it uses it, which is after it is written here.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    ensure!(
        !file.is_empty() && !file.starts_with('.') && file.chars().all(is_plain),
        "{file:?} is no name of a checkpoint"
    );
    let bytes = input.read_number()?;
    let path = folder.join(&file);
    let mut target = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    let copied = io::copy(&mut input.by_ref().take(bytes), &mut target)?;
    if copied < bytes {
        return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
    }
    // Only a file that nobody may write to is mapped when the journal is opened, and nobody else need
    // read a guest's memory.
    target.set_permissions(fs::Permissions::from_mode(0o400))?;
    target.sync_all()?;
    Ok(CheckpointRef {
        position,
        hash,
        file,
        bytes,
    })
}

/// A file with the hash of what went through it.
struct Hashing<T> {
    inner: T,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
            bytes: 0,
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Hashing<W> {
    fn number(&mut self, number: u64) -> io::Result<()> {
        self.write_all(&number.to_le_bytes())
    }

    fn sized(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.number(bytes.len() as u64)?;
        self.write_all(bytes)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.note(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Hashing<R> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn read_number(&mut self) -> io::Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes with their length before them. A length is not believed before the bytes are there.
    fn read_sized(&mut self, bytes_max: u64) -> Result<Vec<u8>> {
        let length = self.read_number()?;
        ensure!(length <= bytes_max, "{length} bytes are too many");
        let mut bytes = Vec::new();
        self.by_ref().take(length).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < length {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        Ok(bytes)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.note(&bytes[..read]);
        Ok(read)
    }
}
