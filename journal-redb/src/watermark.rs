//! How far the journal was acknowledged, written beside redb after each commit.
//!
//! The manifest says it as of the last opening. After a crash redb falls back to the commit before
//! if the newest one does not have its checksum, which is right for a commit that was torn, and
//! wrong for one that was acknowledged and rotted afterwards. The watermark tells the two apart. It
//! is not flushed, because it only follows what is durable: at worst the disk has an older one.
//!
//! Two slots are written in turn, so that one is good when the other is torn.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use proxy_core::{JournalId, Position};

use crate::bytes::Reader;
use crate::files::WATERMARK;
use crate::manifest::Place;
use crate::storage::{Access, Storage, StoredFile};

const MAGIC: &[u8; 8] = b"wpx-mark";
const SLOT_BYTES: usize = 96;

/// Where the slots begin. No sector and no page has both.
const SLOTS: [u64; 2] = [0, 4096];

#[derive(Debug)]
pub(crate) struct Watermark {
    file: Arc<dyn StoredFile>,
    id: JournalId,
    /// The slot to be written next.
    next: usize,
}

impl Watermark {
    /// Opens the file, or creates it, and says what it has.
    pub(crate) fn open(storage: &dyn Storage, id: JournalId) -> io::Result<Self> {
        let file = match storage.open(WATERMARK, Access::Write) {
            Err(error) if error.kind() == ErrorKind::NotFound => storage.create(WATERMARK)?,
            file => file?,
        };
        let slots = SLOTS.map(|offset| read_slot(&*file, offset, id));
        let position = |slot: &Option<Place>| slot.as_ref().map(|place| place.position);
        let next = usize::from(position(&slots[0]) > position(&slots[1]));
        Ok(Self { file, id, next })
    }

    /// The newest place that was written, as far as the disk has it.
    pub(crate) fn read(storage: &dyn Storage, id: JournalId) -> io::Result<Option<Place>> {
        let file = match storage.open(WATERMARK, Access::Read) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let slots = SLOTS.map(|offset| read_slot(&*file, offset, id));
        Ok(slots
            .into_iter()
            .flatten()
            .max_by_key(|place| place.position))
    }

    pub(crate) fn write(&mut self, place: Place) -> io::Result<()> {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..24].copy_from_slice(&self.id.0);
        bytes[24..32].copy_from_slice(&place.position.0.to_le_bytes());
        bytes[32..64].copy_from_slice(&place.hash);
        let hash = blake3::hash(&bytes[..64]);
        bytes[64..].copy_from_slice(hash.as_bytes());
        self.file.write(SLOTS[self.next], &bytes)?;
        self.next = 1 - self.next;
        Ok(())
    }
}

/// What a slot has, unless it is torn, another journal's or not there.
fn read_slot(file: &dyn StoredFile, offset: u64, id: JournalId) -> Option<Place> {
    let mut bytes = [0; SLOT_BYTES];
    file.read(offset, &mut bytes).ok()?;
    let (content, hash) = bytes.split_last_chunk::<32>()?;
    if blake3::hash(content) != *hash {
        return None;
    }
    let mut reader = Reader::new(content);
    let is_ours = reader.array()? == *MAGIC && reader.array()? == id.0;
    let position = Position(reader.u64()?);
    let hash = reader.array()?;
    is_ours.then_some(Place { position, hash })
}
