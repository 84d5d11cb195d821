//! Descriptors of an earlier process. Its journal says which files were opened and how far they were
//! read. While a new process replays it, before any function is called, the files are opened again.
//! Nothing is created, emptied, written or closed outside by that.

use engine_api::{Caller, Error as EngineError, HostFunc, MemoryIndex, ReplayObserver, Val};

use crate::functions::{self, Function};
use crate::identity::{Identity, STAT_BYTES};
use crate::scratch::{Scratch, Stop, word};
use crate::strings;
use crate::world::{FIRST, SUCCESS, World, memory_of};

/// Flags of `path_open` that change what is opened: `CREAT`, `EXCL`, `TRUNC`.
const CHANGING: i32 = 1 | 4 | 8;

/// `SEEK_SET`, `SEEK_CUR` and `SEEK_END` of preview 1.
const FROM_START: i32 = 0;
const FROM_HERE: i32 = 1;
const FROM_END: i32 = 2;

/// The flag of a descriptor that appends, in the lower byte of its flags.
const APPEND: u8 = 1;

/// The monotonic clock.
const MONOTONIC: i32 = 1;

/// `EBADF`.
const BAD_DESCRIPTOR: i32 = 8;

impl ReplayObserver for World {
    fn comparable(&self, function: &HostFunc, args: &[Val]) -> Vec<Val> {
        match functions::named(function.name()) {
            Some(function) => function.comparable(args),
            None if function.name() == "proc_exit" => args.to_vec(),
            // Those about texts take nothing but addresses.
            None => Vec::new(),
        }
    }

    fn rewrite(
        &self,
        function: &HostFunc,
        caller: &mut dyn Caller,
        args: &[Val],
        written: &[&[u8]],
    ) -> Result<(), EngineError> {
        if written.is_empty() {
            return Ok(());
        }
        if function.name() == "fd_prestat_dir_name" && !self.is_live() {
            self.bind(&args[0], written[0], caller)?;
        }
        let memory = memory_of(caller)?;
        match (functions::named(function.name()), written) {
            (Some(function), _) => match Scratch::new(function.params, args, caller, memory) {
                Ok(scratch) => scratch.write_again(caller, memory, written),
                Err(Stop::Errno(_)) => Ok(()),
                Err(Stop::Error(error)) => Err(error),
            },
            (None, [texts, _]) if !function.name().ends_with("sizes_get") => {
                strings::write(caller, memory, texts, word(&args[0]), word(&args[1]))
            }
            (None, _) => {
                for (bytes, to) in written.iter().zip(args) {
                    caller.memory_write(memory, word(to).into(), bytes)?;
                }
                Ok(())
            }
        }
    }

    fn replayed(
        &self,
        function: &HostFunc,
        caller: &mut dyn Caller,
        args: &[Val],
        results: &[Val],
        note: &[u8],
    ) -> Result<(), EngineError> {
        if self.is_live() {
            return Ok(());
        }
        match results.first().and_then(Val::i32) {
            Some(SUCCESS) => self.done_again(function.name(), caller, args, note),
            Some(BAD_DESCRIPTOR) if function.name() == "fd_prestat_get" => {
                self.unbind(&args[0], caller)
            }
            _ => Ok(()),
        }
    }

    fn restored(&self) {
        if !self.is_live() {
            self.descriptors().forget();
        }
    }
}

/// Up to eight bytes of a guest's memory.
fn read(caller: &dyn Caller, memory: MemoryIndex, at: u32) -> Result<u64, EngineError> {
    let mut bytes = [0; 8];
    let left = caller.memory_size(memory)?.saturating_sub(at.into());
    let len = usize::try_from(left.min(8)).unwrap_or_default();
    caller.memory_read(memory, at.into(), &mut bytes[..len])?;
    Ok(u64::from_le_bytes(bytes))
}

impl World {
    /// Does to the descriptors what a replayed call did to them.
    fn done_again(
        &self,
        function: &str,
        caller: &dyn Caller,
        args: &[Val],
        note: &[u8],
    ) -> Result<(), EngineError> {
        let memory = memory_of(caller)?;
        let result = |at: usize| read(caller, memory, word(&args[at]));
        match function {
            "path_open" => {
                let opened = result(8)?;
                let opened = u32::try_from(opened & u64::from(u32::MAX)).unwrap_or_default();
                self.open_again(args, opened, Identity::noted(note), caller)
            }
            "fd_close" => {
                let descriptor = word(&args[0]);
                if !self.descriptors().release(descriptor) {
                    self.quietly("fd_close", args, caller)?;
                }
                Ok(())
            }
            "fd_renumber" => self.renumber_again(args, caller),
            "fd_fdstat_set_flags" => self.quietly("fd_fdstat_set_flags", args, caller),
            "fd_seek" => self.seek(&args[0], result(3)?.cast_signed(), FROM_START, caller),
            "fd_read" => self.seek(&args[0], count(result(3)?), FROM_HERE, caller),
            "fd_write" => match note.try_into().map(u64::from_le_bytes) {
                Ok(offset) => self.seek(&args[0], offset.cast_signed(), FROM_START, caller),
                // Older journals have no offset of such a descriptor.
                Err(_) if self.appends(&args[0], caller)? => {
                    self.seek(&args[0], 0, FROM_END, caller)
                }
                Err(_) => self.seek(&args[0], count(result(3)?), FROM_HERE, caller),
            },
            "clock_time_get" if args[0] == Val::I32(MONOTONIC) => {
                self.clock_ahead.seen(result(2)?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Notes what a replay in another process has to know of a call, and cannot see in the guest's
    /// memory: which file was opened, and where the file ended that was appended to.
    pub(crate) fn note(
        &self,
        function: &Function,
        scratch: &Scratch,
        caller: &mut dyn Caller,
    ) -> Result<(), EngineError> {
        match (function.name, scratch.result()) {
            ("path_open", Some(opened)) => {
                if let Some(identity) = self.identity(opened, caller)? {
                    caller.note(&identity.note());
                }
            }
            ("fd_write", _) if self.appends(&scratch.args[0], caller)? => {
                if let Some(offset) = self.offset(&scratch.args[0], caller)? {
                    caller.note(&offset);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn identity(
        &self,
        descriptor: u32,
        caller: &dyn Caller,
    ) -> Result<Option<Identity>, EngineError> {
        let descriptor = Val::I32(descriptor.cast_signed());
        let stat = self.asked::<STAT_BYTES>("fd_filestat_get", &descriptor, caller)?;
        Ok(stat.as_ref().map(Identity::of))
    }

    /// Whether all that is written to a file goes to its end.
    fn appends(&self, descriptor: &Val, caller: &dyn Caller) -> Result<bool, EngineError> {
        if word(descriptor) < FIRST {
            return Ok(false);
        }
        let status = self.asked::<24>("fd_fdstat_get", descriptor, caller)?;
        Ok(status.is_some_and(|status| status[2] & APPEND != 0))
    }

    fn offset(
        &self,
        descriptor: &Val,
        caller: &dyn Caller,
    ) -> Result<Option<[u8; 8]>, EngineError> {
        self.asked("fd_tell", descriptor, caller)
    }

    /// What a function says of a descriptor, if it is open.
    fn asked<const LEN: usize>(
        &self,
        name: &'static str,
        descriptor: &Val,
        caller: &dyn Caller,
    ) -> Result<Option<[u8; LEN]>, EngineError> {
        let function = functions::named(name).expect("it is in the table");
        let mut bytes = [0; LEN];
        let args = [descriptor.clone(), Val::I32(0)];
        let errno = self.shared(function, &mut bytes, &args, caller)?;
        Ok((errno == SUCCESS).then_some(bytes))
    }

    /// Opens a file again under the number that it had, if it is the same file.
    fn open_again(
        &self,
        args: &[Val],
        number: u32,
        expected: Option<Identity>,
        caller: &dyn Caller,
    ) -> Result<(), EngineError> {
        let folder_lost = self.descriptors().loss(word(&args[0]));
        if let Some(reason) = folder_lost {
            return self.lose(number, reason, caller);
        }
        let memory = memory_of(caller)?;
        let function = functions::named("path_open").expect("it is in the table");
        let mut args = args.to_vec();
        let flags = args[4].i32().unwrap_or_default() & !CHANGING;
        args[4] = Val::I32(flags);
        let mut scratch = match Scratch::new(function.params, &args, caller, memory) {
            Ok(scratch) => scratch,
            Err(Stop::Errno(_)) => return Ok(()),
            Err(Stop::Error(error)) => return Err(error),
        };
        let errno = self.run(function, &mut scratch, caller)?;
        let Some(opened) = scratch.result().filter(|_| errno == SUCCESS) else {
            let path = self.path(&args, caller, memory)?;
            return self.lose(number, format!("`{path}`: {}", words(errno)), caller);
        };
        let found = self.identity(opened, caller)?;
        if let (Some(expected), Some(found)) = (expected, found)
            && !expected.is(found)
        {
            self.quietly("fd_close", &[Val::I32(opened.cast_signed())], caller)?;
            let path = self.path(&args, caller, memory)?;
            let reason = format!("`{path}` is another file now");
            return self.lose(number, reason, caller);
        }
        if opened != number {
            // It was opened just above, so it is there. What an earlier attempt at a replay left under the
            // number is closed by that.
            let _ = self.renumber(opened, number);
            let mut descriptors = self.descriptors();
            descriptors.release(opened);
            descriptors.reserve(number);
        }
        Ok(())
    }

    /// Moves a descriptor again, or the loss of one.
    fn renumber_again(&self, args: &[Val], caller: &dyn Caller) -> Result<(), EngineError> {
        let (from, to) = (word(&args[0]), word(&args[1]));
        let lost = self.descriptors().loss(from);
        if let Some(reason) = lost {
            self.descriptors().release(from);
            return self.lose(to, reason, caller);
        }
        if self.descriptors().loss(to).is_some() {
            // Nothing is open there, and a number that is free is no place to move to.
            let _ = self.renumber(from, to);
            let mut descriptors = self.descriptors();
            descriptors.release(from);
            descriptors.reserve(to);
            return Ok(());
        }
        self.quietly("fd_renumber", args, caller)
    }

    /// Notes that a number is taken by what cannot be opened again, and closes what an earlier
    /// attempt at a replay left there.
    pub(crate) fn lose(
        &self,
        number: u32,
        reason: String,
        caller: &dyn Caller,
    ) -> Result<(), EngineError> {
        self.quietly("fd_close", &[Val::I32(number.cast_signed())], caller)?;
        self.descriptors().lose(number, reason);
        Ok(())
    }

    /// Does to a descriptor what was done to it before, if it is open.
    pub(crate) fn quietly(
        &self,
        name: &'static str,
        args: &[Val],
        caller: &dyn Caller,
    ) -> Result<(), EngineError> {
        let function = functions::named(name).expect("it is in the table");
        self.on_numbers(function, args, 0, caller)
    }

    fn seek(
        &self,
        descriptor: &Val,
        to: i64,
        whence: i32,
        caller: &dyn Caller,
    ) -> Result<(), EngineError> {
        if word(descriptor) < FIRST {
            return Ok(());
        }
        let function = functions::named("fd_seek").expect("it is in the table");
        let args = [
            descriptor.clone(),
            Val::I64(to),
            Val::I32(whence),
            Val::I32(0),
        ];
        self.on_numbers(function, &args, 8, caller)
    }

    /// Runs a function whose arguments are numbers, on a memory with room for its result. A
    /// descriptor that is lost stays so.
    fn on_numbers(
        &self,
        function: &Function,
        args: &[Val],
        room: usize,
        caller: &dyn Caller,
    ) -> Result<(), EngineError> {
        let mut scratch = Scratch::of(args, room);
        self.run(function, &mut scratch, caller).map(drop)
    }

    /// The path of a file that was to be opened, with the name of its folder if it has one.
    fn path(
        &self,
        args: &[Val],
        caller: &dyn Caller,
        memory: MemoryIndex,
    ) -> Result<String, EngineError> {
        let (at, len) = (word(&args[2]), word(&args[3]));
        let mut bytes = vec![0; len.min(256) as usize];
        caller.memory_read(memory, at.into(), &mut bytes)?;
        let path = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match self.folder_name(&args[0], caller)? {
            Some(folder) => {
                let folder = String::from_utf8_lossy(&folder).into_owned();
                format!("{}/{path}", folder.trim_end_matches('/'))
            }
            None => path,
        })
    }
}

/// A result of 32 bits that counts bytes.
fn count(result: u64) -> i64 {
    (result & u64::from(u32::MAX)).cast_signed()
}

/// What an error number means, for those that the way to a file gives.
fn words(errno: i32) -> String {
    let known = match errno {
        2 => "it may not be accessed",
        BAD_DESCRIPTOR => "its folder is not open",
        31 => "it is a folder now",
        32 => "symbolic links lead nowhere",
        41 => "this process has too many files open",
        44 => "there is no such file",
        54 => "a part of the path is no folder",
        63 => "it may not be opened like that, such as for writing in a read-only folder",
        76 => "the path leads out of the folder",
        other => return format!("it cannot be opened (error number {other} of WASI)"),
    };
    known.to_owned()
}
