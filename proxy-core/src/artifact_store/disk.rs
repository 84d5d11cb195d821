//! A disk in memory that loses power.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use super::storage::{Found, NewFile, Storage};

/// The disk, which several processes may use.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    /// The contents, as processes see them.
    names: Names,
    /// The part of it that is on the disk for sure.
    synced: Names,
    /// The rest, in order.
    unsynced: Vec<Change>,
    /// How many operations changed something or waited for the disk.
    steps: usize,
    /// The operation in which the power is lost.
    power_ends_at: Option<usize>,
    is_off: bool,
    intruder: Option<Intruder>,
    /// How long ago the disk was made.
    clock: Duration,
}

/// Another process that does all its work before a step of the first.
struct Intruder(usize, Box<dyn FnOnce() + Send>);

type Names = BTreeMap<PathBuf, Node>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Clone, Debug)]
struct Inode {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    used: Duration,
}

/// A change of names in one folder.
#[derive(Clone, Debug)]
enum Change {
    Make(PathBuf, Node),
    Rename(PathBuf, PathBuf, Node),
    Remove(PathBuf),
}

/// What becomes of unsynced writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// It is gone.
    All,
    /// It is there.
    Nothing,
    /// Any of it is there, and bytes in part.
    Some { seed: u64 },
}

const PAGE: usize = 4096;

impl Disk {
    /// The power will be lost in this step, counted from 0 and from now on.
    pub(super) fn lose_power_at(&self, step: usize) {
        let mut state = self.state();
        state.steps = 0;
        state.power_ends_at = Some(step);
    }

    /// Lets another process run before this step, counted from 0 and from now on.
    pub(super) fn intrude_at(&self, step: usize, process: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        state.steps = 0;
        state.intruder = Some(Intruder(step, Box::new(process)));
    }

    /// The steps of another process are not counted, and the power is not lost in them.
    pub(super) fn hold_power(&self, process: impl FnOnce()) {
        let (steps, ends_at) = {
            let mut state = self.state();
            (state.steps, state.power_ends_at.take())
        };
        process();
        let mut state = self.state();
        state.steps = steps;
        state.power_ends_at = ends_at;
    }

    pub(super) fn steps(&self) -> usize {
        self.state().steps
    }

    pub(super) fn pass(&self, time: Duration) {
        self.state().clock += time;
    }

    /// Puts bytes in a file, as a fault of the disk or another program does.
    pub(super) fn damage(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.inode(path).expect("it is there");
        let inode = &mut state.inodes[inode];
        inode.bytes = bytes.to_vec();
        inode.synced = bytes.to_vec();
    }

    /// The disk when the power is back.
    pub(super) fn after(&self, loss: Loss) -> Self {
        let mut dice = Dice(match loss {
            Loss::Some { seed } => seed,
            _ => 0,
        });
        let state = self.state();
        let mut names = state.synced.clone();
        for change in &state.unsynced {
            let is_kept = match loss {
                Loss::All => false,
                Loss::Nothing => true,
                Loss::Some { .. } => dice.roll(2) == 0,
            };
            if is_kept {
                change.apply(&mut names);
            }
        }
        // A folder goes with its contents. Folders come before their contents.
        let mut there = Names::new();
        for (path, node) in names {
            let around = path.parent().unwrap_or(Path::new("/"));
            if around == Path::new("/") || there.contains_key(around) {
                there.insert(path, node);
            }
        }
        let inodes = state.inodes.iter().map(|inode| {
            let bytes = match loss {
                Loss::All => inode.synced.clone(),
                Loss::Nothing => inode.bytes.clone(),
                Loss::Some { .. } => inode.torn(&mut dice),
            };
            Inode {
                synced: bytes.clone(),
                bytes,
                used: inode.used,
            }
        });
        Self(Arc::new(Mutex::new(State {
            inodes: inodes.collect(),
            synced: there.clone(),
            names: there,
            clock: state.clock,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Begins a step. `Err` if the power is off; otherwise whether it is lost in this one.
    fn step(&self) -> io::Result<bool> {
        let intruder = {
            let mut state = self.state();
            let steps = state.steps;
            state
                .intruder
                .take_if(|Intruder(at, _)| *at == steps)
                .map(|Intruder(_, process)| process)
        };
        if let Some(process) = intruder {
            self.hold_power(process);
        }
        let mut state = self.state();
        state.check()?;
        state.steps += 1;
        state.is_off = state.power_ends_at == Some(state.steps - 1);
        Ok(state.is_off)
    }

    /// A step that changes names. The one in which the power is lost may have been the last.
    fn change(&self, change: impl FnOnce(&mut State) -> io::Result<Change>) -> io::Result<()> {
        let is_last = self.step()?;
        let mut state = self.state();
        let change = change(&mut state)?;
        change.apply(&mut state.names);
        state.unsynced.push(change);
        if is_last { Err(no_power()) } else { Ok(()) }
    }
}

impl State {
    fn check(&self) -> io::Result<()> {
        if self.is_off { Err(no_power()) } else { Ok(()) }
    }

    fn check_folder_of(&self, path: &Path) -> io::Result<()> {
        let around = path.parent().ok_or(ErrorKind::NotFound)?;
        match self.names.get(around) {
            _ if around == Path::new("/") => Ok(()),
            Some(Node::Folder) => Ok(()),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn check_free(&self, path: &Path) -> io::Result<()> {
        self.check_folder_of(path)?;
        if self.names.contains_key(path) {
            Err(ErrorKind::AlreadyExists.into())
        } else {
            Ok(())
        }
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }
}

impl Change {
    fn apply(&self, names: &mut Names) {
        match self {
            Change::Make(path, node) => drop(names.insert(path.clone(), *node)),
            Change::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
            Change::Remove(path) => drop(names.remove(path)),
        }
    }

    fn is_in(&self, folder: &Path) -> bool {
        let (Change::Make(path, _) | Change::Rename(path, ..) | Change::Remove(path)) = self;
        path.parent() == Some(folder)
    }
}

impl Inode {
    /// Some of the bytes that were not synced: any pages of them, zero between, and cut anywhere.
    fn torn(&self, dice: &mut Dice) -> Vec<u8> {
        if self.bytes == self.synced {
            return self.bytes.clone();
        }
        let mut bytes = self.synced.clone();
        bytes.resize(self.bytes.len().max(self.synced.len()), 0);
        let pages = bytes.chunks_mut(PAGE).zip(self.bytes.chunks(PAGE));
        for (page, written) in pages {
            match dice.roll(3) {
                0 => page[..written.len()].copy_from_slice(written),
                // A write is torn within a page too.
                1 => {
                    let len = dice.roll(written.len() + 1);
                    page[..len].copy_from_slice(&written[..len]);
                }
                _ => {}
            }
        }
        if dice.roll(2) == 0 {
            let cut = self.synced.len() + dice.roll(bytes.len() - self.synced.len() + 1);
            bytes.truncate(cut);
        }
        bytes
    }
}

impl Storage for Disk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            state.check_free(path)?;
            Ok(Change::Make(path.to_owned(), Node::Folder))
        })
    }

    fn create_file(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let mut inode = 0;
        self.change(|state| {
            state.check_free(path)?;
            inode = state.inodes.len();
            state.inodes.push(Inode {
                bytes: Vec::new(),
                synced: Vec::new(),
                used: state.clock,
            });
            Ok(Change::Make(path.to_owned(), Node::File(inode)))
        })?;
        let disk = self.clone();
        Ok(Box::new(Opened { disk, inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|state| {
            let inode = state.inode(from)?;
            state.check_folder_of(to)?;
            assert_eq!(from.parent(), to.parent(), "renamed within a folder");
            Ok(Change::Rename(
                from.to_owned(),
                to.to_owned(),
                Node::File(inode),
            ))
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        if self.step()? {
            return Err(no_power());
        }
        let mut state = self.state();
        let state = &mut *state;
        for change in state.unsynced.extract_if(.., |change| change.is_in(path)) {
            change.apply(&mut state.synced);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            state.inode(path)?;
            Ok(Change::Remove(path.to_owned()))
        })
    }

    fn look(&self, path: &Path) -> io::Result<Found> {
        let state = self.state();
        state.check()?;
        let inode = &state.inodes[state.inode(path)?];
        Ok(Found {
            is_file: true,
            len: inode.bytes.len() as u64,
            used: SystemTime::UNIX_EPOCH + inode.used,
        })
    }

    fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
        let state = self.state();
        state.check()?;
        let bytes = &state.inodes[state.inode(path)?].bytes;
        let len = bytes.len().min(usize::try_from(len_max).unwrap());
        Ok(bytes[..len].to_vec())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        state.check()?;
        let after = (Bound::Excluded(path.to_owned()), Bound::Unbounded);
        let names = state.names.range(after).map(|(name, _)| name);
        Ok(names
            .filter(|name| name.parent() == Some(path))
            .cloned()
            .collect())
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.check()?;
        let inode = state.inode(path)?;
        state.clock += Duration::from_secs(1);
        state.inodes[inode].used = state.clock;
        Ok(())
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.state().clock
    }
}

struct Opened {
    disk: Disk,
    inode: usize,
}

impl NewFile for Opened {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let is_last = self.disk.step()?;
        let mut state = self.disk.state();
        state.clock += Duration::from_secs(1);
        let used = state.clock;
        let inode = &mut state.inodes[self.inode];
        inode.bytes.extend_from_slice(bytes);
        inode.used = used;
        if is_last { Err(no_power()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.disk.step()? {
            return Err(no_power());
        }
        let mut state = self.disk.state();
        let inode = &mut state.inodes[self.inode];
        inode.synced.clone_from(&inode.bytes);
        Ok(())
    }
}

fn no_power() -> io::Error {
    io::Error::other("the power is off")
}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    /// From 0 up to, and not including, `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64: https://prng.di.unimi.it/splitmix64.c
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        usize::try_from(z % sides as u64).unwrap()
    }
}

impl fmt::Debug for Intruder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Intruder(at step {})", self.0)
    }
}
