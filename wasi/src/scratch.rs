//! The small memory of one call. What the function reads is copied there, what it writes has room
//! there, and pointers are those of this memory. An address keeps its remainder by 8, so a pointer
//! that is not aligned is found out as in a guest's own memory.

use engine_api::{Caller, Error, MemoryIndex, Trap, Val};

use crate::functions::Param;

/// The most bytes that one call reads or writes. Beyond it a call does less than it was asked, which
/// every program has to expect. Pieces of one list may lie on top of each other, so the size of the
/// memory does not bound them.
const DATA_BYTES_MAX: usize = 16 << 20;

/// The most pieces of a list that one call looks at, which is Linux's own limit.
const PIECES_MAX: u32 = 1024;

/// The longest path. No system has longer ones.
const PATH_BYTES_MAX: u32 = 1 << 16;

/// The sizes of a subscription and an event of `poll_oneoff`.
const SUBSCRIPTION_BYTES: usize = 48;
const EVENT_BYTES: usize = 32;

/// `ENAMETOOLONG`.
const NAME_TOO_LONG: i32 = 37;

/// Why a call ends before its function ran.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The guest gets an error number.
    Errno(i32),
    /// The call fails.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(match error {
            // A pointer or length that lies outside the guest's memory.
            Error::OutOfBounds { .. } => Error::Trap(Trap::MemoryOutOfBounds),
            error => error,
        })
    }
}

/// How much of a region the function has filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// All of it.
    All,
    /// As many bytes as its first result says.
    Result,
    /// As many events as its first result says.
    Events,
}

/// A region that the function writes.
#[derive(Clone, Copy, Debug)]
struct Region {
    guest: u32,
    at: usize,
    len: usize,
    filled: Filled,
}

/// The memory of one call, and the arguments with its addresses.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) args: Vec<Val>,
    buffers: Vec<Region>,
    results: Vec<Region>,
}

/// The guest's side while a scratch memory is made.
struct Guest<'a> {
    caller: &'a dyn Caller,
    memory: MemoryIndex,
    size: u64,
}

impl Guest<'_> {
    fn read(&self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        self.caller.memory_read(self.memory, offset.into(), bytes)
    }

    /// Refuses a region that does not lie inside the memory, before the function does anything.
    fn check(&self, offset: u32, len: usize) -> Result<(), Error> {
        engine_api::memory_range(offset.into(), len, self.size).map(drop)
    }

    /// The pieces of a list, as address and length.
    fn pieces(&self, list: u32, count: u32) -> Result<Vec<(u32, u32)>, Stop> {
        if !list.is_multiple_of(4) {
            return Err(Error::Trap(Trap::MemoryOutOfBounds).into());
        }
        self.check(list, 8 * count as usize)?;
        let mut bytes = vec![0; 8 * count.min(PIECES_MAX) as usize];
        self.read(list, &mut bytes)?;
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        let pieces = bytes
            .chunks_exact(8)
            .map(|piece| (word(&piece[..4]), word(&piece[4..])));
        Ok(pieces.collect())
    }
}

impl Scratch {
    /// Copies what a function reads, and makes room for what it writes.
    pub(crate) fn new(
        params: &[Param],
        args: &[Val],
        caller: &dyn Caller,
        memory: MemoryIndex,
    ) -> Result<Self, Stop> {
        let size = caller.memory_size(memory)?;
        let guest = Guest {
            caller,
            memory,
            size,
        };
        let mut scratch = Self {
            bytes: Vec::new(),
            args: Vec::with_capacity(args.len()),
            buffers: Vec::new(),
            results: Vec::new(),
        };
        let mut args = args.iter();
        let mut next = || args.next().expect("the call was checked against the type");
        for param in params {
            match param {
                Param::Int | Param::Long | Param::Descriptor => scratch.args.push(next().clone()),
                Param::Text => scratch.text(&guest, word(next()), word(next()))?,
                Param::Data => scratch.data(&guest, word(next()), word(next()))?,
                Param::Space => scratch.space(&guest, word(next()), word(next()))?,
                Param::Buffer(filled) => {
                    let (address, len) = (word(next()), word(next()));
                    let at = scratch.room(&guest, address, len as usize, *filled)?;
                    scratch.push(at)?;
                    scratch.push(len as usize)?;
                }
                Param::Result(len) => scratch.place_result(&guest, word(next()), *len, *len)?,
                Param::Prestat => scratch.place_result(&guest, word(next()), 8, 4)?,
                Param::Subscriptions => {
                    scratch.subscriptions(&guest, word(next()), word(next()), word(next()))?;
                }
            }
        }
        Ok(scratch)
    }

    /// A memory of zeros, for arguments that are numbers.
    pub(crate) fn of(args: &[Val], len: usize) -> Self {
        Self {
            bytes: vec![0; len],
            args: args.to_vec(),
            buffers: Vec::new(),
            results: Vec::new(),
        }
    }

    /// A region of zeros whose address has the remainder of the guest's.
    fn place(&mut self, guest: u32, len: usize) -> usize {
        let at = self.bytes.len().next_multiple_of(8) + (guest as usize) % 8;
        if self.bytes.is_empty() {
            // Memory that is zero from the beginning costs nothing until it is written.
            self.bytes = vec![0; at + len];
        } else {
            self.bytes.resize(at + len, 0);
        }
        at
    }

    /// Adds an address or a length to the arguments.
    fn push(&mut self, number: usize) -> Result<(), Stop> {
        let number = u32::try_from(number).map_err(|_| Error::Trap(Trap::MemoryOutOfBounds))?;
        self.args.push(Val::I32(number.cast_signed()));
        Ok(())
    }

    fn text(&mut self, guest: &Guest<'_>, address: u32, len: u32) -> Result<(), Stop> {
        guest.check(address, len as usize)?;
        if len > PATH_BYTES_MAX {
            return Err(Stop::Errno(NAME_TOO_LONG));
        }
        let at = self.place(address, len as usize);
        guest.read(address, &mut self.bytes[at..])?;
        self.push(at)?;
        self.push(len as usize)
    }

    /// Bytes that the function reads, in pieces.
    fn data(&mut self, guest: &Guest<'_>, list: u32, count: u32) -> Result<(), Stop> {
        let mut left = DATA_BYTES_MAX;
        let mut pieces = Vec::new();
        for (address, len) in guest.pieces(list, count)? {
            guest.check(address, len as usize)?;
            let len = (len as usize).min(left);
            left -= len;
            let at = self.place(address, len);
            guest.read(address, &mut self.bytes[at..])?;
            pieces.push((at, len));
            if left == 0 {
                break;
            }
        }
        self.list(&pieces)
    }

    /// Room for bytes that the function writes. A function fills the first piece that is not empty,
    /// so there is none for others.
    fn space(&mut self, guest: &Guest<'_>, list: u32, count: u32) -> Result<(), Stop> {
        let pieces = guest.pieces(list, count)?;
        for (address, len) in &pieces {
            guest.check(*address, *len as usize)?;
        }
        let Some((address, len)) = pieces.into_iter().find(|(_, len)| *len > 0) else {
            return self.list(&[]);
        };
        let len = (len as usize).min(DATA_BYTES_MAX);
        let at = self.room(guest, address, len, Filled::Result)?;
        self.list(&[(at, len)])
    }

    /// A list of pieces in the scratch memory.
    fn list(&mut self, pieces: &[(usize, usize)]) -> Result<(), Stop> {
        let at = self.place(0, 8 * pieces.len());
        for (number, (start, len)) in pieces.iter().enumerate() {
            for (half, value) in [*start, *len].into_iter().enumerate() {
                let value = u32::try_from(value).expect("the data is bounded");
                let to = at + 8 * number + 4 * half;
                self.bytes[to..to + 4].copy_from_slice(&value.to_le_bytes());
            }
        }
        self.push(at)?;
        self.push(pieces.len())
    }

    fn room(
        &mut self,
        guest: &Guest<'_>,
        address: u32,
        len: usize,
        filled: Filled,
    ) -> Result<usize, Stop> {
        guest.check(address, len)?;
        let at = self.place(address, len);
        self.buffers.push(Region {
            guest: address,
            at,
            len,
            filled,
        });
        Ok(at)
    }

    fn place_result(
        &mut self,
        guest: &Guest<'_>,
        address: u32,
        len: usize,
        align: usize,
    ) -> Result<(), Stop> {
        // Found here, and not after the function has done its work.
        if !(address as usize).is_multiple_of(align.min(8)) {
            return Err(Error::Trap(Trap::MemoryOutOfBounds).into());
        }
        let at = self.room(guest, address, len, Filled::All)?;
        let region = self.buffers.pop().expect("it was just added");
        self.results.push(region);
        self.push(at)
    }

    fn subscriptions(
        &mut self,
        guest: &Guest<'_>,
        subscriptions: u32,
        events: u32,
        count: u32,
    ) -> Result<(), Stop> {
        let len = SUBSCRIPTION_BYTES.saturating_mul(count as usize);
        guest.check(subscriptions, len)?;
        let at = self.place(subscriptions, len);
        guest.read(subscriptions, &mut self.bytes[at..])?;
        self.push(at)?;
        let len = EVENT_BYTES.saturating_mul(count as usize);
        let at = self.room(guest, events, len, Filled::Events)?;
        self.push(at)?;
        self.push(count as usize)
    }

    /// Takes the slashes from the end of the path that is the second and third argument. A folder may
    /// be named with them, and the implementation removes none that is.
    pub(crate) fn trim_slashes(&mut self) {
        let [at, len] = [1, 2].map(|position| word(&self.args[position]));
        let path = &self.bytes[at as usize..][..len as usize];
        let slashes = path.iter().rev().take_while(|byte| **byte == b'/').count();
        let left = u32::try_from(path.len() - slashes).unwrap_or(len);
        if left > 0 {
            self.args[2] = Val::I32(left.cast_signed());
        }
    }

    /// The function's first result.
    pub(crate) fn result(&self) -> Option<u32> {
        let region = self.results.first()?;
        let bytes = self.bytes.get(region.at..region.at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
    }

    /// Puts another number in the place of the first result.
    pub(crate) fn set_result(&mut self, number: u32) {
        if let Some(region) = self.results.first() {
            self.bytes[region.at..region.at + 4].copy_from_slice(&number.to_le_bytes());
        }
    }

    /// Writes what the function had written in another instance: a filled buffer, if there was one, and
    /// the results.
    pub(crate) fn write_again(
        &self,
        caller: &mut dyn Caller,
        memory: MemoryIndex,
        written: &[&[u8]],
    ) -> Result<(), Error> {
        let buffers = written.len().checked_sub(self.results.len());
        let buffers = buffers.and_then(|count| self.buffers.get(..count));
        let regions = buffers.unwrap_or_default().iter().chain(&self.results);
        for (region, bytes) in regions.zip(written) {
            let offset = region.guest.into();
            if buffers.is_none() || bytes.len() > region.len {
                let (len, size) = (bytes.len() as u64, region.len as u64);
                return Err(Error::OutOfBounds { offset, len, size });
            }
            caller.memory_write(memory, offset, bytes)?;
        }
        Ok(())
    }

    /// Copies what the function wrote into the guest's memory, and no byte more: a recorded byte is
    /// one that WASI gave.
    pub(crate) fn write_back(
        &self,
        caller: &mut dyn Caller,
        memory: MemoryIndex,
    ) -> Result<(), Error> {
        let count = self.result().unwrap_or(0) as usize;
        for region in self.buffers.iter().chain(&self.results) {
            let len = match region.filled {
                Filled::All => region.len,
                Filled::Result => count.min(region.len),
                Filled::Events => count.saturating_mul(EVENT_BYTES).min(region.len),
            };
            if len > 0 {
                let bytes = &self.bytes[region.at..region.at + len];
                caller.memory_write(memory, region.guest.into(), bytes)?;
            }
        }
        Ok(())
    }
}

/// The bits of an i32.
pub(crate) fn word(val: &Val) -> u32 {
    val.i32()
        .expect("the call was checked against the type")
        .cast_unsigned()
}
