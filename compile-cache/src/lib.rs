//! Compiled modules on a disk, so that a module is compiled once on a machine; and the word that a
//! compilation takes its time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::{env, process};

use engine_api::{
    Capabilities, Engine, EngineId, Error, Imports, MemoryType, Module, ModuleHash, ModuleInfo,
    Precompiled, SharedMemory,
};
/// What compiles more quickly is not kept.
const KEPT_FROM: Duration = Duration::from_millis(10);

/// What all files in the folder may have together, in bytes. Those that were not used for the
/// longest time go first.
const BYTES_MAX: u64 = 1 << 30;

/// The end of the names of files in the folder.
const EXTENSION: &str = "wpx";

/// The folder for compiled modules, unless the command line names another: `wasm-proxy` in the
/// user's folder for caches (XDG Base Directory Specification). `None` if the environment names
/// none.
#[must_use]
pub fn usual_folder() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(caches?.join("wasm-proxy"))
}

/// An engine that looks for the code of a module in a folder before it compiles.
///
/// A file is named by the hashes of the module and of the engine's fingerprint. Its code runs with
/// all rights of this process, so it is loaded only if nobody but its user could have written file
/// and folder, and if its hashes are right; else the module is compiled again, with a word why.
#[derive(Debug)]
pub struct CachingEngine {
    inner: Arc<dyn Engine>,
    folder: Option<PathBuf>,
    teller: Box<dyn Teller>,
}

/// Somebody who is told what the cache does.
pub trait Teller: std::fmt::Debug + Send + Sync {
    /// Something went wrong with the folder or a file. Modules are compiled all the same.
    fn note(&self, text: &str);

    /// Does the work of compiling a module, which may take minutes.
    ///
    /// # Errors
    ///
    /// Those of the work.
    fn while_compiling(
        &self,
        task: &Task<'_>,
        work: &mut dyn FnMut() -> Result<Arc<dyn Module>, Error>,
    ) -> Result<Arc<dyn Module>, Error>;
}

/// A compilation.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The size of the module in bytes.
    pub bytes: usize,
    /// The engine.
    pub engine: EngineId,
    /// Where its code is kept, if it is.
    pub folder: Option<&'a Path>,
}

impl CachingEngine {
    /// Keeps what `inner` compiles in a folder, which is made if it is not there, or nowhere.
    #[must_use]
    pub fn around(
        inner: Arc<dyn Engine>,
        folder: Option<PathBuf>,
        teller: Box<dyn Teller>,
    ) -> Arc<dyn Engine> {
        let folder = folder.filter(|_| inner.capabilities().precompiled);
        let folder = folder.filter(|folder| match make_private(folder) {
            Ok(()) => true,
            Err(reason) => {
                teller.note(&format!(
                    "note: compiled modules are not kept in `{}`: {reason}",
                    folder.display()
                ));
                false
            }
        });
        Arc::new(Self {
            inner,
            folder,
            teller,
        })
    }

    fn file(&self, wasm: &[u8]) -> Option<PathBuf> {
        let engine = blake3::hash(self.inner.fingerprint().as_bytes()).to_hex();
        let name = format!("{}-{}.{EXTENSION}", ModuleHash::of(wasm), &engine[..16]);
        Some(self.folder.as_ref()?.join(name))
    }

    /// The module from the file that it was kept in. `None` if there is no file, or none that is
    /// good.
    fn kept(&self, wasm: &[u8], file: &Path) -> Option<Arc<dyn Module>> {
        if !file.exists() {
            return None;
        }
        let loaded = Precompiled::from_private_file(file)
            .and_then(|precompiled| self.inner.load(wasm, &precompiled));
        match loaded {
            Ok(module) => {
                // The least recently used go first. A file system that cannot tell loses nothing.
                let _ = File::open(file).and_then(|file| file.set_modified(SystemTime::now()));
                Some(module)
            }
            Err(error) => {
                self.teller.note(&format!(
                    "note: the compiled module `{}` is not used, and the module is compiled again: \
                     {error}",
                    file.display()
                ));
                None
            }
        }
    }

    fn compile_and_tell(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        let task = Task {
            bytes: wasm.len(),
            engine: self.inner.id(),
            folder: self.folder.as_deref(),
        };
        self.teller
            .while_compiling(&task, &mut || self.inner.compile(wasm))
    }
}

impl Engine for CachingEngine {
    fn id(&self) -> EngineId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }

    fn read(&self, wasm: &[u8]) -> Result<Arc<ModuleInfo>, Error> {
        self.inner.read(wasm)
    }

    fn check_imports(&self, info: &ModuleInfo, imports: &Imports) -> Result<(), Error> {
        self.inner.check_imports(info, imports)
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        // The limits of a module hold for one that was compiled before, too.
        self.inner.read(wasm)?;
        let file = self.file(wasm);
        if let Some(file) = &file
            && let Some(module) = self.kept(wasm, file)
        {
            return Ok(module);
        }
        let started = Instant::now();
        let module = self.compile_and_tell(wasm)?;
        if let Some(file) = file
            && started.elapsed() >= KEPT_FROM
            && let Err(error) = keep(&*module, &file)
        {
            self.teller.note(&format!(
                "note: the compiled module cannot be kept in `{}`: {error}",
                file.display()
            ));
        }
        Ok(module)
    }

    fn load(&self, wasm: &[u8], precompiled: &Precompiled) -> Result<Arc<dyn Module>, Error> {
        self.inner.load(wasm, precompiled)
    }

    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, Error> {
        self.inner.shared_memory(ty)
    }
}

/// Makes the folder for its user alone. An existing one stays as it is, and has to be private.
fn make_private(folder: &Path) -> Result<(), String> {
    let said = |error: io::Error| error.to_string();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(said)?;
    let own = fs::metadata("/proc/self").map_err(said)?.uid();
    let found = fs::metadata(folder).map_err(said)?;
    if found.uid() == own && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err("others than its user can write there".to_owned())
}

/// Writes a module's code into a new file, which takes its name when it is complete.
fn keep(module: &dyn Module, file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let bytes = module.precompiled()?.to_bytes();
    let Some(folder) = file.parent() else {
        return Ok(());
    };
    make_room(folder, bytes.len() as u64)?;
    let part = file.with_extension(format!("{}.part", process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options
        .open(&part)
        .and_then(|mut new| new.write_all(&bytes))
        .and_then(|()| fs::rename(&part, file));
    written.inspect_err(|_| drop(fs::remove_file(&part)))?;
    Ok(())
}

/// Deletes files that were not used for the longest time, until there is room for `bytes` more.
fn make_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_ours = path.extension().is_some_and(|end| end == EXTENSION);
        // Another process may have deleted it.
        if let (true, Ok(found)) = (is_ours, fs::metadata(&path)) {
            let used = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push((used, found.len(), path));
        }
    }
    files.sort();
    let mut taken: u64 = files.iter().map(|(_, len, _)| len).sum();
    for (_, len, path) in files {
        if taken.saturating_add(bytes) <= BYTES_MAX {
            break;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => taken = taken.saturating_sub(len),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// A module that takes longer to compile than what is not kept.
    fn prover() -> Vec<u8> {
        include_bytes!("../../guests/prebuilt/prover.wasm").to_vec()
    }

    #[derive(Debug)]
    struct Silent;

    impl Teller for Silent {
        fn note(&self, _: &str) {}

        fn while_compiling(
            &self,
            _: &Task<'_>,
            work: &mut dyn FnMut() -> Result<Arc<dyn Module>, Error>,
        ) -> Result<Arc<dyn Module>, Error> {
            work()
        }
    }

    fn caching(folder: &Path) -> Arc<dyn Engine> {
        let engine = engines::default_engine().unwrap();
        CachingEngine::around(engine, Some(folder.to_owned()), Box::new(Silent))
    }

    #[test]
    fn a_module_is_kept_in_a_private_file_and_loaded_from_it() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cache").join("wasm-proxy");
        caching(&folder).compile(&prover()).unwrap();
        let kept = files(&folder);
        let [file] = kept.as_slice() else {
            panic!("{kept:?}")
        };
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&folder), mode(file)), (0o700, 0o600));
        let before = fs::read(file).unwrap();
        let engine = caching(&folder);
        let module = engine.compile(&prover()).unwrap();
        assert_eq!(module.info().hash(), ModuleHash::of(&prover()));
        assert_eq!(fs::read(file).unwrap(), before, "it was not compiled again");
    }

    #[test]
    fn a_damaged_file_is_compiled_again_and_replaced() {
        let home = tempfile::tempdir().unwrap();
        let engine = caching(home.path());
        engine.compile(&prover()).unwrap();
        let file = files(home.path()).remove(0);
        let good = fs::read(&file).unwrap();
        let mut bad = good.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        fs::write(&file, &bad).unwrap();
        engine.compile(&prover()).unwrap();
        assert_ne!(fs::read(&file).unwrap(), bad);
    }

    /// A pipe that nobody writes to would be waited for without end.
    #[test]
    fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let engine = caching(home.path());
        engine.compile(&prover()).unwrap();
        let file = files(home.path()).remove(0);
        fs::remove_file(&file).unwrap();
        let made = process::Command::new("mkfifo").arg(&file).status();
        assert!(made.unwrap().success());
        engine.compile(&prover()).unwrap();
        assert!(fs::metadata(&file).unwrap().is_file(), "it was replaced");
    }

    #[test]
    fn a_file_that_others_can_write_is_never_loaded() {
        let home = tempfile::tempdir().unwrap();
        let engine = caching(home.path());
        engine.compile(&prover()).unwrap();
        let file = files(home.path()).remove(0);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        let own: &CachingEngine = &CachingEngine {
            inner: engines::default_engine().unwrap(),
            folder: Some(home.path().to_owned()),
            teller: Box::new(Silent),
        };
        assert!(own.kept(&prover(), &file).is_none());
        engine.compile(&prover()).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_folder_that_others_can_write_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
        caching(home.path()).compile(&prover()).unwrap();
        assert_eq!(files(home.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn the_files_that_were_not_used_for_the_longest_time_go_first() {
        let home = tempfile::tempdir().unwrap();
        for (name, hours) in [("old.wpx", 2), ("new.wpx", 1), ("foreign.txt", 3)] {
            let file = File::create(home.path().join(name)).unwrap();
            file.set_len(BYTES_MAX / 2).unwrap();
            let then = SystemTime::now() - Duration::from_hours(hours);
            file.set_modified(then).unwrap();
        }
        make_room(home.path(), 1).unwrap();
        let left = files(home.path());
        let names: Vec<_> = left.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["foreign.txt", "new.wpx"]);
    }
}
