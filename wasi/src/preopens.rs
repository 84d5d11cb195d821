//! The folders that a guest finds open. It asks for their names once and keeps the numbers in its
//! memory, so what counts after the end of a process is the name: the order of the options may be
//! another then, and there may be more folders or fewer.

use std::path::PathBuf;

use engine_api::{Caller, Error as EngineError, Val};
use wasi_common::sync::{Dir, ambient_authority, dir};
use wasi_common::{WasiCtx, WasiDir};

use crate::functions;
use crate::read_only::ReadOnlyDir;
use crate::scratch::word;
use crate::world::{SUCCESS, World};
use crate::{Access, Error, Preopen};

/// The longest name of a folder that is looked at.
const NAME_BYTES_MAX: u32 = 1 << 16;

/// A folder that is open for the guest.
pub(crate) struct Folder {
    preopen: Preopen,
    opened: Dir,
}

impl Folder {
    pub(crate) fn open_all(preopens: Vec<Preopen>) -> Result<Vec<Self>, Error> {
        let open =
            |preopen: Preopen| match Dir::open_ambient_dir(&preopen.host, ambient_authority()) {
                Ok(opened) => Ok(Self { preopen, opened }),
                Err(source) => Err(Error::Preopen {
                    path: preopen.host,
                    source,
                }),
            };
        preopens.into_iter().map(open).collect()
    }

    /// Puts the folder into the table under a number.
    pub(crate) fn insert(&self, context: &WasiCtx, number: u32) -> Result<(), Error> {
        let opened = self.opened.try_clone().map_err(|source| Error::Preopen {
            path: self.preopen.host.clone(),
            source,
        })?;
        let folder = dir::Dir::from_cap_std(opened);
        let folder: Box<dyn WasiDir> = match self.preopen.access {
            Access::ReadWrite => Box::new(folder),
            Access::ReadOnly => Box::new(ReadOnlyDir(folder)),
        };
        context.insert_dir(number, folder, PathBuf::from(&self.preopen.guest));
        Ok(())
    }
}

impl World {
    /// The length of a preopened folder's name, if the number means one.
    pub(crate) fn name_len(
        &self,
        number: &Val,
        caller: &dyn Caller,
    ) -> Result<Option<u32>, EngineError> {
        let stat = functions::named("fd_prestat_get").expect("it is in the table");
        let mut bytes = [0; 8];
        let asked = [number.clone(), Val::I32(0)];
        let errno = self.shared(stat, &mut bytes, &asked, caller)?;
        let len = u32::from_le_bytes(bytes[4..].try_into().expect("four bytes"));
        Ok((errno == SUCCESS).then_some(len))
    }

    /// The name of a preopened folder, if the number means one.
    pub(crate) fn folder_name(
        &self,
        number: &Val,
        caller: &dyn Caller,
    ) -> Result<Option<Vec<u8>>, EngineError> {
        let Some(len) = self.name_len(number, caller)? else {
            return Ok(None);
        };
        let len = len.min(NAME_BYTES_MAX);
        let name = functions::named("fd_prestat_dir_name").expect("it is in the table");
        let mut bytes = vec![0; len as usize];
        let asked = [number.clone(), Val::I32(0), Val::I32(len.cast_signed())];
        let errno = self.shared(name, &mut bytes, &asked, caller)?;
        Ok((errno == SUCCESS).then_some(bytes))
    }

    /// An earlier process had the folder of that name under this number, and so has this one from
    /// here on.
    pub(crate) fn bind(
        &self,
        number: &Val,
        name: &[u8],
        caller: &dyn Caller,
    ) -> Result<(), EngineError> {
        if self.folder_name(number, caller)?.as_deref() == Some(name) {
            return Ok(());
        }
        let mut folders = self.folders.iter();
        let folder = folders.find(|folder| folder.preopen.guest.as_bytes() == name);
        let inserted = folder.map(|folder| {
            let context = self.context();
            folder.insert(&context, word(number))
        });
        let reason = match inserted {
            Some(Ok(())) => {
                self.descriptors().reserve(word(number));
                return Ok(());
            }
            Some(Err(error)) => error.to_string(),
            None => format!(
                "the guest is given no folder `{}` now",
                String::from_utf8_lossy(name)
            ),
        };
        self.lose(word(number), reason, caller)
    }

    /// An earlier process had nothing under this number. A folder that this one has there would be
    /// in the place of what the guest opens.
    pub(crate) fn unbind(&self, number: &Val, caller: &dyn Caller) -> Result<(), EngineError> {
        match self.name_len(number, caller)? {
            Some(_) => self.quietly("fd_close", std::slice::from_ref(number), caller),
            None => Ok(()),
        }
    }
}
