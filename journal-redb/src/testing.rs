//! A disk in memory that fails, fills up and loses power, and dice.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use proxy_core::Position;

use crate::storage::{Access, Storage, StoredFile};

/// One directory on a disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    inodes: Vec<Vec<u8>>,
    names: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
    /// What was done to a disk that was empty or `durable` before.
    log: Vec<Step>,
    /// How many operations there were.
    operations: usize,
    fault: Option<(usize, Fault)>,
    /// The bytes of all files together that the disk has room for.
    bytes_max: Option<u64>,
    locked: Option<Arc<()>>,
}

/// Something that a loss of power can undo, or a mark of what must not be undone.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Make(String, usize),
    Rename(String, String, usize),
    Remove(String),
    Folder(String),
    SyncFolder(String),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
    /// The journal was acknowledged up to here.
    Acknowledged(Position),
}

/// What goes wrong in an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No room from then on, until [`Disk::mend`]: for operations that need some.
    Full,
    /// As `Full`, after half of the bytes of a write.
    ShortThenFull,
    /// Any operation.
    Io,
    /// As `Io`, after half of the bytes of a write.
    Short,
    /// The next flush. What it was to write is gone, and later flushes succeed.
    Sync,
    /// Too many open files, until [`Disk::mend`].
    OpenFiles,
}

/// What an operation needs of the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Room,
    File,
    RoomAndFile,
    Flush,
}

impl Disk {
    /// A copy in which nothing is remembered of how it came about.
    pub(crate) fn copy(&self) -> Self {
        let state = self.state();
        Self::of(
            state.inodes.clone(),
            state.names.clone(),
            state.folders.clone(),
        )
    }

    fn of(inodes: Vec<Vec<u8>>, names: BTreeMap<String, usize>, folders: BTreeSet<String>) -> Self {
        let state = State {
            inodes,
            names,
            folders,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn log(&self) -> Vec<Step> {
        self.state().log.clone()
    }

    pub(crate) fn acknowledge(&self, position: Position) {
        self.state().log.push(Step::Acknowledged(position));
    }

    pub(crate) fn operations(&self) -> usize {
        self.state().operations
    }

    /// Lets the first operation go wrong that comes at `operation` or after it, and can.
    pub(crate) fn fail_at(&self, operation: usize, fault: Fault) {
        self.state().fault = Some((operation, fault));
    }

    pub(crate) fn mend(&self) {
        let mut state = self.state();
        state.fault = None;
        state.bytes_max = None;
    }

    /// Whether the fault has not come about, or would go on.
    pub(crate) fn has_fault(&self) -> bool {
        self.state().fault.is_some()
    }

    pub(crate) fn limit(&self, bytes_max: u64) {
        self.state().bytes_max = Some(bytes_max);
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.inodes[state.names[name]].clone()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.state().names.contains_key(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// Changes a file as a fault of the disk or another program does.
    pub(crate) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.names[name];
        change(&mut state.inodes[inode]);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Begins an operation. `Err` is its error, with the share of a write that is done before it.
    fn begin(
        &self,
        need: Need,
        more_bytes: u64,
    ) -> Result<MutexGuard<'_, State>, (Fault, io::Error)> {
        let mut state = self.state();
        state.operations += 1;
        if let Some((at, fault)) = state.fault
            && state.operations > at
            && fault.strikes(need)
        {
            if !fault.lasts() {
                state.fault = None;
            }
            return Err((fault, fault.error()));
        }
        let total: u64 = state
            .names
            .values()
            .map(|inode| state.inodes[*inode].len() as u64)
            .sum();
        if state
            .bytes_max
            .is_some_and(|max| more_bytes > 0 && total + more_bytes > max)
        {
            return Err((Fault::Full, Fault::Full.error()));
        }
        Ok(state)
    }

    fn begin_plain(&self, need: Need) -> io::Result<MutexGuard<'_, State>> {
        self.begin(need, 0).map_err(|(_, error)| error)
    }
}

impl Fault {
    fn strikes(self, need: Need) -> bool {
        match self {
            Self::Full | Self::ShortThenFull => matches!(need, Need::Room | Need::RoomAndFile),
            Self::OpenFiles => matches!(need, Need::File | Need::RoomAndFile),
            Self::Sync => need == Need::Flush,
            Self::Io | Self::Short => true,
        }
    }

    fn lasts(self) -> bool {
        matches!(self, Self::Full | Self::ShortThenFull | Self::OpenFiles)
    }

    fn error(self) -> io::Error {
        match self {
            Self::Full | Self::ShortThenFull => ErrorKind::StorageFull.into(),
            Self::OpenFiles => io::Error::from_raw_os_error(24),
            Self::Io | Self::Short | Self::Sync => io::Error::from_raw_os_error(5),
        }
    }
}

impl State {
    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Storage for Disk {
    fn open(&self, name: &str, _: Access) -> io::Result<Arc<dyn StoredFile>> {
        let inode = self.begin_plain(Need::File)?.inode(name)?;
        let disk = self.clone();
        Ok(Arc::new(Opened { disk, inode }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let mut state = self.begin_plain(Need::RoomAndFile)?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Vec::new());
        state.names.insert(name.to_owned(), inode);
        state.log.push(Step::Make(name.to_owned(), inode));
        drop(state);
        let disk = self.clone();
        Ok(Arc::new(Opened { disk, inode }))
    }

    fn create_folder(&self, name: &str) -> io::Result<()> {
        let mut state = self.begin_plain(Need::Room)?;
        if state.folders.insert(name.to_owned()) {
            state.log.push(Step::Folder(name.to_owned()));
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.begin_plain(Need::Nothing)?;
        let inode = state.inode(from)?;
        let step = Step::Rename(from.to_owned(), to.to_owned(), inode);
        step.apply_to_names(&mut state.names);
        state.log.push(step);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.begin_plain(Need::Nothing)?;
        state.inode(name)?;
        state.names.remove(name);
        state.log.push(Step::Remove(name.to_owned()));
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let state = self.begin_plain(Need::File)?;
        if !folder.is_empty() && !state.folders.contains(folder) {
            return Err(ErrorKind::NotFound.into());
        }
        let files = state
            .names
            .iter()
            .filter(|(name, _)| folder_of(name) == folder);
        let file = |(name, inode): (&String, &usize)| {
            let name = name.rsplit('/').next().unwrap();
            (name.to_owned(), state.inodes[*inode].len() as u64)
        };
        Ok(files.map(file).collect())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.begin_plain(Need::Flush)?;
        state.log.push(Step::SyncFolder(folder.to_owned()));
        Ok(())
    }

    fn lock(&self, _: Access) -> io::Result<Option<Box<dyn fmt::Debug + Send + Sync>>> {
        let mut state = self.begin_plain(Need::File)?;
        let is_locked = state
            .locked
            .as_ref()
            .is_some_and(|lock| Arc::strong_count(lock) > 1);
        if is_locked {
            return Ok(None);
        }
        let lock = Arc::new(());
        state.locked = Some(Arc::clone(&lock));
        Ok(Some(Box::new(lock)))
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[derive(Debug)]
struct Opened {
    disk: Disk,
    inode: usize,
}

impl StoredFile for Opened {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.begin_plain(Need::Nothing)?;
        Ok(state.inodes[self.inode].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.begin_plain(Need::Nothing)?;
        let at = usize::try_from(offset).unwrap();
        let bytes = state.inodes[self.inode]
            .get(at..)
            .and_then(|bytes| bytes.get(..out.len()));
        out.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let len = self.disk.state().inodes[self.inode].len() as u64;
        let more = (offset + bytes.len() as u64).saturating_sub(len);
        let need = if more > 0 { Need::Room } else { Need::Nothing };
        // Without `fallocate`, a write into a hole needs room too.
        let need = if bytes.len() >= 4096 {
            Need::Room
        } else {
            need
        };
        let (mut state, bytes, result) = match self.disk.begin(need, more) {
            Ok(state) => (state, bytes, Ok(())),
            Err((Fault::Short | Fault::ShortThenFull, error)) => {
                (self.disk.state(), &bytes[..bytes.len() / 2], Err(error))
            }
            Err((_, error)) => return Err(error),
        };
        let step = Step::Write(self.inode, offset, bytes.to_vec());
        step.apply_to_bytes(&mut state.inodes[self.inode]);
        state.log.push(step);
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = self.disk.state().inodes[self.inode].len() as u64;
        let more = len.saturating_sub(before);
        let need = if more > 0 { Need::Room } else { Need::Nothing };
        let mut state = self.disk.begin(need, more).map_err(|(_, error)| error)?;
        let step = Step::SetLen(self.inode, len);
        step.apply_to_bytes(&mut state.inodes[self.inode]);
        state.log.push(step);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.begin_plain(Need::Flush)?;
        state.log.push(Step::Sync(self.inode));
        Ok(())
    }
}

impl Step {
    fn apply_to_names(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Make(name, inode) => drop(names.insert(name.clone(), *inode)),
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            Self::Remove(name) => drop(names.remove(name)),
            _ => {}
        }
    }

    fn apply_to_bytes(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(_, offset, written) => {
                let at = usize::try_from(*offset).unwrap();
                if bytes.len() < at + written.len() {
                    bytes.resize(at + written.len(), 0);
                }
                bytes[at..at + written.len()].copy_from_slice(written);
            }
            Self::SetLen(_, len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
            _ => {}
        }
    }
}

/// What becomes of what was not flushed when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It is there: the process was killed, and the power stayed.
    Nothing,
    /// It is gone.
    All,
    /// Each step is there or not.
    Some,
    /// Of each write some sectors of this size are there, and steps as for `Some`.
    Torn(usize),
}

/// A log played step by step, which makes a disk as it would be if the power went.
#[derive(Default)]
pub(crate) struct Playback {
    synced: Vec<Vec<u8>>,
    synced_names: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
    /// The rest, in order.
    unsynced: Vec<Step>,
    pub(crate) acknowledged: Position,
}

impl Playback {
    pub(crate) fn play(&mut self, step: &Step) {
        match step {
            Step::Acknowledged(position) => self.acknowledged = *position,
            Step::Folder(name) => {
                self.folders.insert(name.clone());
            }
            Step::Sync(inode) => {
                let bytes = &mut self.synced[*inode];
                for step in self.unsynced.extract_if(.., |step| step.is_of(*inode)) {
                    step.apply_to_bytes(bytes);
                }
            }
            Step::SyncFolder(folder) => {
                for step in self.unsynced.extract_if(.., |step| step.is_in(folder)) {
                    step.apply_to_names(&mut self.synced_names);
                }
            }
            step => {
                if let Step::Make(_, inode) = step {
                    self.synced.resize(*inode + 1, Vec::new());
                }
                self.unsynced.push(step.clone());
            }
        }
    }

    pub(crate) fn disk(&self, loss: Loss, dice: &mut Dice) -> Disk {
        let mut inodes = self.synced.clone();
        let mut names = self.synced_names.clone();
        for step in &self.unsynced {
            let is_there = match loss {
                Loss::Nothing => true,
                Loss::All => false,
                Loss::Some | Loss::Torn(_) => dice.roll(2) == 0,
            };
            let torn = match (step, loss) {
                (Step::Write(inode, offset, bytes), Loss::Torn(sector)) => {
                    Some((*inode, *offset, bytes, sector))
                }
                _ => None,
            };
            if let Some((inode, offset, bytes, sector)) = torn {
                for (index, part) in bytes.chunks(sector).enumerate() {
                    if dice.roll(2) == 0 {
                        let offset = offset + (index * sector) as u64;
                        let part = Step::Write(inode, offset, part.to_vec());
                        part.apply_to_bytes(&mut inodes[inode]);
                    }
                }
            } else if is_there {
                step.apply_to_names(&mut names);
                if let Step::Write(inode, ..) | Step::SetLen(inode, _) = step {
                    step.apply_to_bytes(&mut inodes[*inode]);
                }
            }
        }
        Disk::of(inodes, names, self.folders.clone())
    }
}

impl Step {
    fn is_of(&self, file: usize) -> bool {
        matches!(self, Self::Write(inode, ..) | Self::SetLen(inode, _) if *inode == file)
    }

    fn is_in(&self, folder: &str) -> bool {
        match self {
            Self::Make(name, _) | Self::Rename(name, ..) | Self::Remove(name) => {
                folder_of(name) == folder
            }
            _ => false,
        }
    }
}

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// From 0 up to, and not including, `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64: https://prng.di.unimi.it/splitmix64.c
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        usize::try_from(z % sides as u64).unwrap()
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({:?})", self.names())
    }
}

/// How often to do something: what the variable says, or the number for every run.
pub(crate) fn count(variable: &str, usual: usize) -> usize {
    match std::env::var(variable) {
        Ok(count) => count.parse().expect("a number"),
        Err(_) => usual,
    }
}
