//! The journal of a package in a folder, and the keys that its objects were given.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal_redb::RedbJournal;
use proxy_core::{
    Durability, Handle, Identity, JournalStore, LiveObject, Position, Proxy, SequenceNumber,
    StoreError,
};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, described};
use crate::names::{Named, Names};

/// The most bytes of a package's name as that of its folder: what file systems take.
const FOLDER_NAME_BYTES_MAX: usize = 255;
/// The most bytes of a key, and how many keys there may be.
pub(crate) const KEY_BYTES_MAX: usize = 128;
const KEYS_MAX: usize = 65_536;
/// The file of the keys, in the journal's folder.
const KEYS: &str = "keys.json";
const KEYS_FORMAT: u32 = 1;

/// A package's journal that is open.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) folder: PathBuf,
    pub(crate) durability: Durability,
    store: Arc<RedbJournal>,
    /// Whether it was just made.
    is_new: bool,
}

impl Journal {
    /// Opens the journal of the package with this name, or makes it.
    pub(crate) fn open(
        parent: &Path,
        name: &str,
        durability: Durability,
        identity: Identity,
    ) -> Result<Self, Failure> {
        let folder = parent.join(folder_name(name)?);
        let (store, is_new) = match RedbJournal::open(&folder) {
            Err(StoreError::Missing { .. }) => (RedbJournal::create(&folder, identity), true),
            opened => (opened, false),
        };
        let store = store.map_err(|error| of_store(&error))?;
        Ok(Self {
            folder,
            durability,
            store: Arc::new(store),
            is_new,
        })
    }

    pub(crate) fn store(&self) -> Arc<dyn JournalStore> {
        Arc::clone(&self.store) as Arc<dyn JournalStore>
    }

    /// After no proxy could be built: leaves no journal behind that was made for it and has nothing.
    /// It would be in the way of the next start, with the policy mended.
    pub(crate) fn withdraw(self) {
        let is_empty = self
            .store
            .head()
            .is_ok_and(|head| head.position == Position::ZERO);
        if !(self.is_new && is_empty) {
            return;
        }
        let Self { folder, store, .. } = self;
        drop(store);
        // What cannot be removed is in the way of nothing but another module's journal.
        for file in ["manifest", "watermark", "journal.redb", "lock"] {
            let _ = fs::remove_file(folder.join(file));
        }
        for inner in ["objects", "checkpoints", ""] {
            let _ = fs::remove_dir(folder.join(inner));
        }
    }
}

/// An error of the store, by what is to be done.
pub(crate) fn of_store(error: &StoreError) -> Failure {
    match error {
        StoreError::InUse { path } => Failure::JournalInUse(format!(
            "the journal in `{}` is in use by another process, another thread of this one, or an earlier `wrap` of \
             the package; end it, or give another folder or `name`",
            path.display()
        )),
        _ => Failure::Journal(described(error)),
    }
}

/// The name of a package's folder: letters, digits and a few marks stay, other bytes become `%` and
/// two digits.
fn folder_name(name: &str) -> Result<String, Failure> {
    let mut folder = String::new();
    for byte in name.bytes() {
        let is_kept = byte.is_ascii_alphanumeric() || b"-_@+".contains(&byte);
        if is_kept || byte == b'.' && !folder.is_empty() {
            folder.push(byte.into());
        } else {
            let _ = write!(folder, "%{byte:02X}");
        }
    }
    if folder.is_empty() || folder.len() > FOLDER_NAME_BYTES_MAX {
        return Err(Failure::Option(format!(
            "option `name` is to be the name of the journal's folder, and has {} bytes as such; it may have 1 to \
             {FOLDER_NAME_BYTES_MAX}",
            folder.len()
        )));
    }
    Ok(folder)
}

/// An object of an earlier process that is alive, as JavaScript learns of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restored {
    name: u32,
    class: Option<String>,
    made_by: String,
    key: Option<String>,
}

/// The keys of objects, in a file that is replaced as a whole.
#[derive(Debug)]
pub(crate) struct Keys {
    folder: PathBuf,
    objects: BTreeMap<String, Place>,
}

/// A handle as a file has it: the journaled call that made the object, and which of its results it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place(u64, u32);

impl Place {
    fn of(handle: Handle) -> Self {
        Self(handle.sequence().0, handle.result())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    format: u32,
    keys: BTreeMap<String, Place>,
}

impl Keys {
    /// Reads the keys. Those of objects that are not alive go, before a later call can be given the
    /// number of one that was lost.
    pub(crate) fn open(folder: &Path, proxy: &Proxy) -> Result<Self, Failure> {
        let mut keys = Self {
            folder: folder.to_owned(),
            objects: read(&folder.join(KEYS))?,
        };
        let before = keys.objects.len();
        keys.objects.retain(|_, Place(sequence, result)| {
            proxy.object(SequenceNumber(*sequence), *result).is_some()
        });
        if keys.objects.len() < before {
            keys.save()?;
        }
        Ok(keys)
    }

    /// Gives an object a key, or takes the key away. It is on the disk when this returns.
    pub(crate) fn set(&mut self, key: &str, object: Option<Handle>) -> Result<(), Failure> {
        check_key(key)?;
        let place = object.map(Place::of);
        let before = match place {
            Some(place) => self.objects.insert(key.to_owned(), place),
            None => self.objects.remove(key),
        };
        if before == place {
            return Ok(());
        }
        let saved = if self.objects.len() > KEYS_MAX {
            Err(Failure::Journal(format!(
                "there are {KEYS_MAX} keys; take some away with `forget`"
            )))
        } else {
            self.save()
        };
        if saved.is_err() {
            match before {
                Some(place) => self.objects.insert(key.to_owned(), place),
                None => self.objects.remove(key),
            };
        }
        saved
    }

    fn save(&self) -> Result<(), Failure> {
        let file = KeysFile {
            format: KEYS_FORMAT,
            keys: self.objects.clone(),
        };
        let text =
            serde_json::to_string(&file).map_err(|error| Failure::Internal(error.to_string()))?;
        let written = replace(&self.folder, text.as_bytes());
        written.map_err(|error| {
            let path = self.folder.join(KEYS);
            Failure::Journal(format!(
                "the keys cannot be written to `{}`: {error}; see to the disk, and give the key again",
                path.display()
            ))
        })
    }

    /// Gives names to the objects that are alive, in the order of their creation.
    pub(crate) fn restore(
        &self,
        objects: Vec<LiveObject>,
        names: &mut Names,
    ) -> Result<Vec<Restored>, Failure> {
        let keys: BTreeMap<Place, &String> = self
            .objects
            .iter()
            .map(|(key, place)| (*place, key))
            .collect();
        let restored = objects.into_iter().map(|object| {
            let name = names
                .give(Named::Handle(object.handle))
                .map_err(|_| Failure::Journal("more objects than names for them".to_owned()))?;
            Ok(Restored {
                name,
                class: object.ty.map(|ty| ty.to_string()),
                made_by: object.made_by.to_string(),
                key: keys
                    .get(&Place::of(object.handle))
                    .map(|key| (*key).clone()),
            })
        });
        restored.collect()
    }
}

fn check_key(key: &str) -> Result<(), Failure> {
    if (1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Ok(());
    }
    Err(Failure::Value(format!(
        "a key of {} bytes; it may have 1 to {KEY_BYTES_MAX}",
        key.len()
    )))
}

fn read(path: &Path) -> Result<BTreeMap<String, Place>, Failure> {
    let wrong = |what: String| {
        Failure::Journal(format!(
            "the keys in `{}` cannot be read: {what}; put the file of a backup in its place, or remove it and take \
             objects by their class",
            path.display()
        ))
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let file: KeysFile = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if file.format != KEYS_FORMAT {
        return Err(wrong(format!(
            "it has format {}, and this release knows {KEYS_FORMAT}",
            file.format
        )));
    }
    Ok(file.keys)
}

/// Replaces the file as a whole: after a loss of power there is the old one or the new one.
fn replace(folder: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = folder.join(format!("{KEYS}.new"));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(KEYS))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_so_that_it_stays_in_its_parent() {
        for (name, folder) in [
            ("ywasm", "ywasm"),
            ("@automerge/automerge-wasm", "@automerge%2Fautomerge-wasm"),
            ("../up", "%2E.%2Fup"),
            (".hidden", "%2Ehidden"),
            ("a b\u{e9}", "a%20b%C3%A9"),
            ("100%", "100%25"),
        ] {
            assert_eq!(folder_name(name).unwrap(), folder);
        }
        for wrong in [String::new(), "/".repeat(86)] {
            let failure = folder_name(&wrong).unwrap_err();
            assert_eq!(failure.code(), "WASM_PROXY_OPTION");
        }
    }

    #[test]
    fn keys_are_read_as_they_were_written_and_a_damaged_file_is_named() {
        let place = std::env::temp_dir().join(format!("wasm-proxy-keys-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let mut keys = Keys {
            folder: place.clone(),
            objects: BTreeMap::new(),
        };
        let handle = |sequence| Handle::new(SequenceNumber(sequence), 1, 7);
        keys.set("one", Some(handle(1))).unwrap();
        keys.set("two", Some(handle(2))).unwrap();
        keys.set("one", None).unwrap();
        let found = read(&place.join(KEYS)).unwrap();
        assert_eq!(found, BTreeMap::from([("two".to_owned(), Place(2, 1))]));
        assert_eq!(
            keys.set(&"k".repeat(129), None).unwrap_err().code(),
            "WASM_PROXY_VALUE"
        );
        for wrong in ["", "{}", r#"{"format":2,"keys":{}}"#] {
            fs::write(place.join(KEYS), wrong).unwrap();
            let failure = read(&place.join(KEYS)).unwrap_err();
            assert_eq!(failure.code(), "WASM_PROXY_JOURNAL");
            assert!(failure.to_string().contains(KEYS), "{failure}");
        }
        fs::remove_dir_all(&place).unwrap();
    }
}
