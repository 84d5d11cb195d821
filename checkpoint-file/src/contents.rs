//! The contents of memories, and the check of their hashes on all processors.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use engine_api::MemoryImage;
use memory_image::ImageView;

use crate::encoding::Memory;
use crate::{Error, Part};

/// The bytes under one hash.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// The bytes that are looked at at a time. More take fewer calls of the system; fewer would stay in
/// a processor's own cache where they have to be copied, which is rare.
const READ_BYTES: usize = 1 << 20;

/// The pieces that are checked in one go beside other work: some milliseconds of a processor.
const SLICE_PIECES: usize = 16;

/// Hashes the extents of a memory piece by piece.
#[derive(Default)]
pub(crate) struct Pieces {
    hasher: blake3::Hasher,
    hashed: usize,
    hashes: Vec<[u8; 32]>,
}

impl Pieces {
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.hashed));
            self.hasher.update(piece);
            self.hashed += piece.len();
            if self.hashed == PIECE_BYTES {
                self.end();
            }
            bytes = rest;
        }
    }

    fn end(&mut self) {
        self.hashes.push(self.hasher.finalize().into());
        self.hasher.reset();
        self.hashed = 0;
    }

    pub(crate) fn finish(mut self) -> Vec<[u8; 32]> {
        if self.hashed > 0 {
            self.end();
        }
        self.hashes
    }
}

/// The memories of an opened file with the hashes of their contents.
#[derive(Debug)]
pub(crate) struct Contents {
    path: PathBuf,
    memories: Vec<(Memory, MemoryImage)>,
    /// The position among the pieces at which each memory's begin.
    firsts: Vec<usize>,
    pieces: usize,
}

impl Contents {
    /// Takes memories whose extents are checked. Refuses a wrong number of hashes.
    pub(crate) fn new(path: &Path, memories: Vec<(Memory, MemoryImage)>) -> Result<Self, Error> {
        let mut firsts = Vec::with_capacity(memories.len());
        let mut pieces = 0;
        for (memory, _) in &memories {
            let bytes: u64 = memory.extents.iter().map(|(_, len)| len).sum();
            if bytes.div_ceil(PIECE_BYTES as u64) != memory.hashes.len() as u64 {
                let reason = format!("memory {} has a wrong number of hashes", memory.index);
                return Err(Error::invalid(path, reason));
            }
            firsts.push(pieces);
            pieces += memory.hashes.len();
        }
        Ok(Self {
            path: path.to_owned(),
            memories,
            firsts,
            pieces,
        })
    }

    /// The memories with their images.
    pub(crate) fn memories(&self) -> &[(Memory, MemoryImage)] {
        &self.memories
    }

    /// Compares the contents with their hashes.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        let mut outcome = Ok(());
        self.verify_and_tell(|told| outcome = told);
        outcome
    }

    /// The same. Tells the outcome before it gives back the mappings that it has made, which takes
    /// some milliseconds.
    pub(crate) fn verify_and_tell(&self, tell: impl FnOnce(Result<(), Error>)) {
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let views = self.memories.iter().map(|(_, image)| image.view());
        let views: Vec<ImageView<'_>> = views.collect();
        let work = || {
            let mut buffer = Vec::new();
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= self.pieces {
                    return;
                }
                if let Err(error) = self.verify_piece(piece, &views, &mut buffer) {
                    next.store(self.pieces, Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.get_or_insert(error);
                    return;
                }
            }
        };
        let processors = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 1..processors.min(self.pieces) {
                // Where the system has no thread to give, there are fewer.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        tell(failed.map_or(Ok(()), Err));
        drop(views);
    }

    /// The same on this thread alone, with a question after each slice. Returns whether all contents
    /// were compared.
    pub(crate) fn verify_aside(&self, mut goes_on: impl FnMut() -> bool) -> Result<bool, Error> {
        let views = self.memories.iter().map(|(_, image)| image.view());
        let views: Vec<ImageView<'_>> = views.collect();
        let mut buffer = Vec::new();
        for piece in 0..self.pieces {
            self.verify_piece(piece, &views, &mut buffer)?;
            if (piece + 1) % SLICE_PIECES == 0 && !goes_on() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn verify_piece(
        &self,
        piece: usize,
        views: &[ImageView<'_>],
        buffer: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let position = self.firsts.partition_point(|first| *first <= piece) - 1;
        let (memory, view) = (&self.memories[position].0, &views[position]);
        let number = piece - self.firsts[position];
        let from = (number * PIECE_BYTES) as u64;
        let mut hasher = blake3::Hasher::new();
        let mut begin = None;
        for (start, len) in parts(&memory.extents, from, PIECE_BYTES as u64) {
            begin.get_or_insert(start);
            let mut at = start;
            while at < start + len {
                let left = usize::try_from(start + len - at).unwrap_or(usize::MAX);
                let chunk = view.bytes(at, left.min(READ_BYTES), buffer);
                let chunk = chunk.map_err(Error::image("read", &self.path))?;
                hasher.update(chunk);
                at += chunk.len() as u64;
            }
        }
        if hasher.finalize() == memory.hashes[number] {
            return Ok(());
        }
        let part = Part::Content {
            memory: memory.index,
            offset: begin.unwrap_or(0),
        };
        Err(Error::damaged(&self.path, part))
    }
}

/// The parts of a memory that the bytes from `from` on of all extents together are, `len` bytes or
/// as many as there are.
fn parts(extents: &[(u64, u64)], from: u64, len: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
    let to = from.saturating_add(len);
    let mut before = 0;
    extents.iter().filter_map(move |(start, len)| {
        let (begin, end) = (before, before + len);
        before = end;
        let (first, last) = (begin.max(from), end.min(to));
        (first < last).then(|| (start + (first - begin), last - first))
    })
}
