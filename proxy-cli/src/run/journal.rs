//! `run --journal` and `--migrate`: the stores, and what is done before a call is made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use journal_redb::RedbJournal;
use proxy_core::{
    Builder, Durability, Identity, JournalStore, MemoryJournal, Position, Proxy, StoreError,
};

use crate::args::RunArgs;
use crate::journal::{cannot_open, open_read_only};
use crate::output;
use crate::subject::Subject;

/// The journal of a run.
pub(crate) struct RunJournal {
    pub(crate) path: PathBuf,
    pub(crate) store: Arc<dyn JournalStore>,
    durability: Durability,
    /// The journal to go on from.
    old: Option<Arc<dyn JournalStore>>,
    /// Whether it was made for this run.
    is_new: bool,
}

impl RunJournal {
    /// Opens the journal that the command line names, or creates it.
    pub(crate) fn open(args: &RunArgs, job: &Subject) -> Result<Option<Self>> {
        if let (Some(old), Some(new)) = (&args.migrate, &args.journal) {
            check_apart(
                old,
                new,
                "--migrate writes to a new journal, and leaves the old one as it is",
            )?;
        }
        let old = args.migrate.as_deref().map(open_old).transpose()?;
        let Some(path) = &args.journal else {
            if old.is_some() {
                bail!("--migrate writes to a new journal: give --journal NEW, or --dry-run");
            }
            return Ok(None);
        };
        let (store, is_new) = match RedbJournal::open(path) {
            Err(StoreError::Missing { .. }) => {
                let identity = Identity::of(&job.wasm, &job.policy)?;
                let created = RedbJournal::create(path, identity);
                let cannot = || format!("cannot create the journal `{}`", path.display());
                (created.with_context(cannot)?, true)
            }
            opened => (opened.with_context(|| cannot_open(path))?, false),
        };
        Ok(Some(Self {
            path: path.clone(),
            store: Arc::new(store),
            durability: args.durability,
            old,
            is_new,
        }))
    }

    /// Gives it to a proxy.
    pub(crate) fn with(&self, builder: Builder) -> Builder {
        let builder = builder.journal(Arc::clone(&self.store), self.durability);
        match &self.old {
            Some(old) => builder.migrate(Arc::clone(old)),
            None => builder,
        }
    }

    /// After the proxy could not be built: leaves no journal behind that was made for this run and
    /// has nothing. Otherwise it would be in the way of the next run, with the policy mended.
    pub(crate) fn withdraw(self) {
        let is_empty = self
            .store
            .head()
            .is_ok_and(|head| head.position == Position::ZERO);
        if !(self.is_new && is_empty) {
            return;
        }
        let Self { path, store, .. } = self;
        drop(store);
        // What cannot be removed is in the way of nothing but another module's journal.
        for file in ["manifest", "watermark", "journal.redb", "lock"] {
            let _ = fs::remove_file(path.join(file));
        }
        for folder in ["objects", "checkpoints", ""] {
            let _ = fs::remove_dir(path.join(folder));
        }
    }
}

fn open_old(path: &Path) -> Result<Arc<dyn JournalStore>> {
    Ok(Arc::new(open_read_only(path)?))
}

/// Refuses to write a journal into the folder that it is read from.
pub(crate) fn check_apart(old: &Path, new: &Path, why: &str) -> Result<()> {
    let is_same = match (old.canonicalize(), new.canonicalize()) {
        (Ok(old), Ok(new)) => old == new,
        _ => old == new,
    };
    if is_same {
        bail!(
            "`{}` is the old journal: {why}; name another folder",
            new.display()
        );
    }
    Ok(())
}

/// `--migrate OLD --dry-run`: replays the journal of another module on this one, and says what came
/// of it.
pub(crate) fn dry_run(args: &RunArgs, job: &Subject, builder: Builder) -> Result<ExitCode> {
    let Some(old) = &args.migrate else {
        bail!("--dry-run is for --migrate OLD");
    };
    let store = MemoryJournal::new(Identity::of(&job.wasm, &job.policy)?);
    let started = Instant::now();
    let proxy: Proxy = builder
        .journal(Arc::new(store), Durability::Durable)
        .migrate(open_old(old)?)
        .build()
        .with_context(|| {
            format!(
                "`{}` cannot go on from the journal `{}`",
                job.name,
                old.display()
            )
        })?;
    let mut hasher = blake3::Hasher::new();
    let digests = proxy.journal_digests();
    for digest in &digests {
        hasher.update(digest);
    }
    output::print(&format!(
        "`{}` can go on from `{}`: {} entries give the same on {}, in {:.1?}\ndigest   {}\n",
        job.name,
        old.display(),
        digests.len(),
        proxy.engine(),
        started.elapsed(),
        hasher.finalize().to_hex()
    ))
}
