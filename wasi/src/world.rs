//! The world of a guest: the descriptors that all generations share. Every call passes here.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};

use engine_api::{
    Caller, Error as EngineError, ExportKind, FuncType, HostFunc, Imports, MemoryIndex, Trap, Val,
    ValType,
};
use wasi_common::file::FileAccessMode;
use wasi_common::sync::clocks::{MonotonicClock, SystemClock};
use wasi_common::sync::{ambient_authority, random_ctx, stdio};
use wasi_common::{WasiClocks, WasiCtx, WasiFile};
use wiggle::{GuestError, GuestMemory};

use crate::clock::{Ahead, Continued};
use crate::config::SharedWriter;
use crate::descriptors::Descriptors;
use crate::functions::{FUNCTIONS, Function, Table, Twice};
use crate::preopens::Folder;
use crate::scratch::{Scratch, Stop, word};
use crate::streams::{Incoming, Outgoing};
use crate::strings::Strings;
use crate::waiting::{Slices, drive, wait_for};
use crate::{Config, Error, Input, MODULE, Output};

/// The first descriptor after the standard streams.
pub(crate) const FIRST: u32 = 3;

pub(crate) const SUCCESS: i32 = 0;
const BAD_SEQUENCE: i32 = 25;
const INVALID: i32 = 28;

/// The world of a guest: what its [`Config`] says, and the descriptors that are open. It belongs to
/// one proxy and is shared by its generations; clones are the same world.
#[derive(Clone)]
pub struct Wasi(pub(crate) Arc<World>);

pub(crate) struct World {
    args: Strings,
    env: Strings,
    /// Calls share it. Who changes an entry of the table of descriptors has it alone.
    context: RwLock<WasiCtx>,
    /// Held by who adds entries or removes them: the lowest free number is one's own then.
    opening: Mutex<()>,
    descriptors: Mutex<Descriptors>,
    /// See [`World::is_live`].
    live: AtomicU8,
    pub(crate) folders: Vec<Folder>,
    pub(crate) clock_ahead: Ahead,
}

/// Which of a world's lists of texts.
type StringsOf = fn(&World) -> &Strings;

impl std::fmt::Debug for Wasi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wasi")
            .field("descriptors", &*self.0.descriptors())
            .finish_non_exhaustive()
    }
}

impl Wasi {
    /// Opens the folders and streams of the configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Preopen`]; [`Error::Strings`].
    pub fn new(config: Config) -> Result<Self, Error> {
        let table = wasi_common::Table::new();
        let clock_ahead = Ahead::default();
        let clocks = clocks(clock_ahead.clone());
        let context = WasiCtx::new(random_ctx(), clocks, Box::new(Slices), table);
        context.insert_file(0, input(config.stdin), FileAccessMode::READ);
        let inherit: [fn() -> Box<dyn WasiFile>; 2] =
            [|| Box::new(stdio::stdout()), || Box::new(stdio::stderr())];
        let outputs = [config.stdout, config.stderr];
        for (descriptor, (output, inherit)) in (1..).zip(outputs.into_iter().zip(inherit)) {
            let file: Box<dyn WasiFile> = match output {
                Output::Discard => Box::new(Outgoing(Mutex::new(std::io::sink()))),
                Output::Inherit => inherit(),
                Output::Writer(writer) => Box::new(Outgoing(Mutex::new(SharedWriter(writer)))),
            };
            context.insert_file(descriptor, file, FileAccessMode::WRITE);
        }
        let folders = Folder::open_all(config.preopens)?;
        let mut next = FIRST;
        for folder in &folders {
            folder.insert(&context, next)?;
            next += 1;
        }
        let variables = config.env.into_iter();
        let variables = variables.map(|(name, value)| format!("{name}={value}"));
        Ok(Self(Arc::new(World {
            args: Strings::new("the arguments", config.args)?,
            env: Strings::new("the environment", variables)?,
            context: RwLock::new(context),
            opening: Mutex::new(()),
            descriptors: Mutex::new(Descriptors::new(next)),
            live: AtomicU8::new(0),
            folders,
            clock_ahead,
        })))
    }

    /// Adds every function of preview 1 that is not there yet.
    pub fn add_to(&self, imports: &mut Imports) {
        for function in FUNCTIONS {
            let world = Arc::clone(&self.0);
            let repeatable = function.twice == Twice::Harmless;
            self.add(
                imports,
                function.name,
                function.ty(),
                repeatable,
                move |caller, args| world.call(function, caller, args).map(Some),
            );
        }
        let two = FuncType::new(&[ValType::I32; 2], &[ValType::I32]);
        let texts: [(&str, &str, StringsOf); 2] = [
            ("args_get", "args_sizes_get", |world| &world.args),
            ("environ_get", "environ_sizes_get", |world| &world.env),
        ];
        for (get, sizes, of) in texts {
            let world = Arc::clone(&self.0);
            self.add(imports, get, two.clone(), true, move |caller, args| {
                let memory = memory_of(caller)?;
                let strings = of(&world);
                strings.write(caller, memory, word(&args[0]), word(&args[1]))?;
                Ok(Some(SUCCESS))
            });
            let world = Arc::clone(&self.0);
            self.add(imports, sizes, two.clone(), true, move |caller, args| {
                let memory = memory_of(caller)?;
                let (count, bytes) = of(&world).sizes();
                for (number, to) in [count, bytes].into_iter().zip(args) {
                    caller.memory_write(memory, word(to).into(), &number.to_le_bytes())?;
                }
                Ok(Some(SUCCESS))
            });
        }
        let exit = FuncType::new(&[ValType::I32], &[]);
        self.add(imports, "proc_exit", exit, true, |_, args| {
            let code = word(&args[0]);
            Err(EngineError::Exit { code })
        });
        let raise = FuncType::new(&[ValType::I32], &[ValType::I32]);
        self.add(imports, "proc_raise", raise, true, |_, _| {
            let what = "proc_raise";
            Err(failed("proc_raise", Error::Unsupported { what }))
        });
    }

    fn add(
        &self,
        imports: &mut Imports,
        name: &'static str,
        ty: FuncType,
        repeatable: bool,
        run: impl Fn(&mut dyn Caller, &[Val]) -> Result<Option<i32>, EngineError>
        + Send
        + Sync
        + 'static,
    ) {
        if imports.get(MODULE, name).is_some() {
            return;
        }
        let function = HostFunc::new(MODULE, name, ty, move |caller, args, results| {
            let errno = run(caller, args).map_err(|error| match error {
                EngineError::OutOfBounds { .. } => EngineError::Trap(Trap::MemoryOutOfBounds),
                error => error,
            })?;
            if let (Some(errno), Some(result)) = (errno, results.first_mut()) {
                *result = Val::I32(errno);
            }
            Ok(())
        });
        let function = function.observed(self.0.clone());
        let function = if repeatable {
            function.repeatable()
        } else {
            function
        };
        imports.define(MODULE, name, engine_api::Extern::Func(function));
    }
}

fn input(input: Input) -> Box<dyn WasiFile> {
    match input {
        Input::Empty => Box::new(Incoming(Mutex::new(std::io::empty()))),
        Input::Inherit => Box::new(stdio::stdin()),
        Input::Bytes(bytes) => Box::new(Incoming(Mutex::new(std::io::Cursor::new(bytes)))),
    }
}

fn clocks(ahead: Ahead) -> WasiClocks {
    let clock = MonotonicClock::new(ambient_authority());
    WasiClocks::new()
        .with_system(SystemClock::new(ambient_authority()))
        .with_monotonic(Continued { clock, ahead })
}

/// An error of the host in place of an error number.
pub(crate) fn failed(function: &'static str, error: Error) -> EngineError {
    EngineError::Host {
        module: MODULE.to_owned(),
        name: function.to_owned(),
        source: Box::new(error),
    }
}

/// The memory that WASI's pointers point into.
pub(crate) fn memory_of(caller: &dyn Caller) -> Result<MemoryIndex, EngineError> {
    let info = caller.info();
    match info.export("memory").map(|export| export.kind) {
        Some(ExportKind::Memory(memory)) => Ok(memory),
        _ if info.imported_memories() > 0 => Ok(MemoryIndex(0)),
        _ => Err(failed("memory", Error::NoMemory)),
    }
}

impl World {
    pub(crate) fn descriptors(&self) -> MutexGuard<'_, Descriptors> {
        let descriptors = self.descriptors.lock();
        descriptors.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a function has been called in this process. From then on replays find their
    /// descriptors here. Until then a replay makes those of an earlier process again.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire) != 0
    }

    /// One call of a guest. Returns the error number.
    fn call(
        &self,
        function: &'static Function,
        caller: &mut dyn Caller,
        args: &[Val],
    ) -> Result<i32, EngineError> {
        self.live.store(1, Ordering::Release);
        if let Some(errno) = self.lost(function, args)? {
            return Ok(errno);
        }
        let memory = memory_of(caller)?;
        let mut args = args.to_vec();
        if function.name == "fd_prestat_dir_name" {
            self.shorten(&mut args, caller)?;
        }
        let mut scratch = match Scratch::new(function.params, &args, caller, memory) {
            Ok(scratch) => scratch,
            Err(Stop::Errno(errno)) => return Ok(errno),
            Err(Stop::Error(error)) => return Err(error),
        };
        if function.name == "path_remove_directory" {
            scratch.trim_slashes();
        }
        let errno = self.run(function, &mut scratch, caller)?;
        if errno == SUCCESS {
            scratch.write_back(caller, memory)?;
            self.note(function, &scratch, caller)?;
        }
        Ok(errno)
    }

    /// Refuses descriptors of an earlier process that are not open here. Closing one is all right.
    fn lost(&self, function: &Function, args: &[Val]) -> Result<Option<i32>, EngineError> {
        for descriptor in function.descriptors(args) {
            let mut descriptors = self.descriptors();
            let Some(reason) = descriptors.loss(descriptor) else {
                continue;
            };
            if function.name == "fd_close" && descriptors.release(descriptor) {
                return Ok(Some(SUCCESS));
            }
            let error = Error::LostDescriptor { descriptor, reason };
            return Err(failed(function.name, error));
        }
        Ok(None)
    }

    /// A buffer for a folder's name is as long as the name, so that nothing behind it is written.
    fn shorten(&self, args: &mut [Val], caller: &dyn Caller) -> Result<(), EngineError> {
        if let Some(len) = self
            .name_len(&args[0], caller)?
            .filter(|len| *len < word(&args[2]))
        {
            args[2] = Val::I32(len.cast_signed());
        }
        Ok(())
    }

    /// Runs a function on a memory of its own.
    pub(crate) fn run(
        &self,
        function: &Function,
        scratch: &mut Scratch,
        caller: &dyn Caller,
    ) -> Result<i32, EngineError> {
        match function.table {
            Table::Reads => self.shared(function, &mut scratch.bytes, &scratch.args, caller),
            Table::Changes => self.alone(function, scratch, caller),
            Table::Opens | Table::Closes => {
                let _opening = wait_for(caller, || held(self.opening.try_lock()))?;
                let errno = self.shared(function, &mut scratch.bytes, &scratch.args, caller)?;
                if errno == SUCCESS {
                    self.settle(function, scratch)?;
                }
                Ok(errno)
            }
        }
    }

    /// Gives a new descriptor the lowest free number, and a closed one's number back.
    fn settle(&self, function: &Function, scratch: &mut Scratch) -> Result<(), EngineError> {
        match (function.table, scratch.result()) {
            (Table::Opens, Some(opened)) => {
                let lowest = self.descriptors().take();
                if lowest != opened {
                    self.renumber(opened, lowest)
                        .map_err(|error| implementation(function, &error))?;
                }
                scratch.set_result(lowest);
            }
            // A descriptor that is moved to its own number stays where it is.
            (Table::Closes, _) if scratch.args.get(1) != scratch.args.first() => {
                self.descriptors().release(word(&scratch.args[0]));
            }
            _ => {}
        }
        Ok(())
    }

    /// Moves an entry of the table to another number.
    pub(crate) fn renumber(&self, from: u32, to: u32) -> Result<(), wasi_common::Error> {
        self.context().table().renumber(from, to)
    }

    /// The table of descriptors, for whoever changes no entry.
    pub(crate) fn context(&self) -> RwLockReadGuard<'_, WasiCtx> {
        self.context.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a function while no other runs.
    fn alone(
        &self,
        function: &Function,
        scratch: &mut Scratch,
        caller: &dyn Caller,
    ) -> Result<i32, EngineError> {
        // A call that sleeps may have it for long.
        let mut context = wait_for(caller, || held(self.context.try_write()))?;
        let mut memory = GuestMemory::Unshared(&mut scratch.bytes);
        let running = (function.run)(&mut context, &mut memory, &scratch.args);
        number(function, drive(running, caller)?)
    }

    /// Runs a function beside others.
    pub(crate) fn shared(
        &self,
        function: &Function,
        bytes: &mut [u8],
        args: &[Val],
        caller: &dyn Caller,
    ) -> Result<i32, EngineError> {
        let context = self.context();
        // The lock is held longer than the clone lives: who has it alone has the only one.
        let mut own = context.clone();
        let mut memory = GuestMemory::Unshared(bytes);
        let running = (function.run)(&mut own, &mut memory, args);
        number(function, drive(running, caller)?)
    }
}

/// A lock that was tried.
fn held<G>(tried: Result<G, TryLockError<G>>) -> Option<G> {
    match tried {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// The error number that a function returned.
fn number(function: &Function, outcome: wiggle::anyhow::Result<i32>) -> Result<i32, EngineError> {
    let error = match outcome {
        Ok(errno) => return Ok(errno),
        Err(error) => error,
    };
    match error.downcast_ref::<GuestError>().map(cause) {
        Some(
            GuestError::InvalidFlagValue(_)
            | GuestError::InvalidEnumValue(_)
            | GuestError::TryFromIntError(_),
        ) => Ok(INVALID),
        Some(GuestError::InvalidUtf8(_)) => Ok(BAD_SEQUENCE),
        Some(
            GuestError::PtrOverflow | GuestError::PtrOutOfBounds(_) | GuestError::PtrNotAligned(..),
        ) => Err(EngineError::Trap(Trap::MemoryOutOfBounds)),
        _ => Err(implementation(function, &error)),
    }
}

fn cause(error: &GuestError) -> &GuestError {
    match error {
        GuestError::InFunc { err, .. } => cause(err),
        error => error,
    }
}

fn implementation(function: &Function, error: &impl std::fmt::Display) -> EngineError {
    let (function, reason) = (function.name, format!("{error:#}"));
    failed(function, Error::Failed { function, reason })
}
