//! Files of a journal and of its checkpoints, any of which may have any content.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use journal_redb::RedbJournal;
use proxy_core::{
    CheckpointPolicy, Flush, Handle, JournalStore, MemoryJournal, Position, Proxy, args,
};
use tempfile::TempDir;

use crate::fake::Script;
use crate::{builder, identity};

/// The files of a journal that the `journal` target replaces, by the first byte of its input.
const FILES: [&str; 3] = ["journal.redb", "manifest", "watermark"];

/// The endings of checkpoints, likewise.
const ENDINGS: [&str; 2] = ["state", "entries"];

/// A file of a journal on the disk: the first byte says which, the rest is its content. The journal
/// is opened and has what was appended, or is refused.
pub fn journal(bytes: &[u8]) {
    let Some((which, content)) = bytes.split_first() else {
        return;
    };
    let folder = folder();
    let path = folder.path().join("journal");
    let written = write_journal(&path);
    fs::write(path.join(FILES[usize::from(*which) % FILES.len()]), content)
        .expect("it can be written");
    let Ok(journal) = RedbJournal::open(&path) else {
        return;
    };
    let records = journal.read_after(Position::ZERO, usize::MAX);
    let records = records.expect("it was checked");
    let records: Vec<Vec<u8>> = records.into_iter().map(|record| record.bytes).collect();
    assert_eq!(records, written, "it has what was appended");
    let head = journal.head().expect("it runs");
    let appended = journal.append(head.epoch, head.position, &[b"more"], Flush::Now);
    appended.expect("it goes on");
}

/// A durable checkpoint: the first byte says of which kind, the rest is the file. A proxy passes it
/// over, or begins with it; without it the records are gone.
pub fn checkpoint(bytes: &[u8]) {
    let Some((which, content)) = bytes.split_first() else {
        return;
    };
    let is_state = which % 2 == 0;
    let folder = folder();
    let store = checkpointed(folder.path(), is_state);
    let list = store.checkpoints().expect("it runs");
    fs::write(folder.path().join(&list[0].file), content).expect("it can be written");
    let Ok(proxy) = try_open_checkpointed(&store.reopen(), is_state) else {
        return;
    };
    let made = proxy.call("counter_new", args![]);
    drop(made);
}

pub(crate) fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = folder();
    let with = |which: usize, path: &Path| {
        let mut seed = vec![u8::try_from(which).expect("they are few")];
        seed.extend(fs::read(path).expect("it was written"));
        seed
    };
    match target {
        "journal" => {
            let path = folder.path().join("journal");
            write_journal(&path);
            let files = FILES.iter().enumerate();
            files
                .map(|(which, file)| with(which, &path.join(file)))
                .collect()
        }
        "checkpoint" => {
            let one = |(which, ending): (usize, &&str)| {
                let folder = folder_in(folder.path(), ending);
                let store = checkpointed(&folder, which == 0);
                let list = store.checkpoints().expect("it runs");
                assert!(list[0].file.ends_with(*ending), "{}", list[0].file);
                with(which, &folder.join(&list[0].file))
            };
            ENDINGS.iter().enumerate().map(one).collect()
        }
        _ => vec![
            (0..64).collect(),
            vec![7; 40],
            vec![1, 3, 1, 9, 11, 2, 10, 12, 13],
        ],
    }
}

/// A few calls of the module with counters. Returns a live counter.
pub(crate) fn some_calls(proxy: &Proxy) -> Handle {
    let new = || {
        let made = proxy.call("counter_new", args![]).expect("it can be made");
        made.handle().expect("it is an object")
    };
    let (one, two) = (new(), new());
    for n in 0..5 {
        let added = proxy.call("counter_add", args![one, n]);
        added.expect("it is alive");
    }
    let freed = proxy.call("counter_free", args![two]);
    freed.expect("it is alive");
    let made = proxy.call_with_id(b"an id", "counter_new", args![]);
    made.expect("it can be made");
    one
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is a folder for such")
}

fn folder_in(folder: &Path, name: &str) -> std::path::PathBuf {
    let folder = folder.join(name);
    fs::create_dir(&folder).expect("it is not there yet");
    folder
}

fn write_journal(path: &Path) -> Vec<Vec<u8>> {
    let journal = RedbJournal::create(path, identity()).expect("the folder is empty");
    let records: Vec<Vec<u8>> = (1..20).map(|n: u8| vec![n; usize::from(n)]).collect();
    for record in &records {
        let head = journal.head().expect("it runs");
        let appended = journal.append(head.epoch, head.position, &[record], Flush::Now);
        appended.expect("there is room");
    }
    records
}

/// A journal whose records are in a durable checkpoint, of a state or of entries.
fn checkpointed(folder: &Path, is_state: bool) -> MemoryJournal {
    let store = MemoryJournal::new(identity()).with_checkpoint_folder(folder);
    let proxy = try_open_checkpointed(&store, is_state).expect("it is sound");
    some_calls(&proxy);
    let kept = proxy.checkpoint_durably().expect("it can be written");
    kept.expect("there is something to keep");
    drop(proxy);
    store
}

fn try_open_checkpointed(
    store: &MemoryJournal,
    is_state: bool,
) -> Result<Proxy, proxy_core::Error> {
    let engine = Script::counter().snapshots().engine();
    let shared: Arc<dyn JournalStore> = Arc::new(store.clone());
    let mut builder = builder(&engine, shared);
    if is_state {
        builder = builder.checkpoints(CheckpointPolicy {
            history: proxy_core::History::Checkpoint,
            ..CheckpointPolicy::default()
        });
    }
    builder.build()
}
