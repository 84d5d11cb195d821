//! `run --export-objects`: the bytes of the live objects, as files of a directory.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use proxy_core::{Handle, LiveObject, Proxy};
use serde_json::{Value, json};

use crate::console::Console;

/// The file that lists the objects, one per line.
const LIST: &str = "objects.jsonl";

/// Makes the directory. It is called before anything runs, because a user should not learn after
/// minutes that it cannot be written. What an earlier run left there would look like objects of
/// this one, so it must be empty.
pub(crate) fn prepare(directory: &Path) -> Result<()> {
    let cannot = || {
        format!(
            "cannot write to `{}`; give --export-objects a directory that can be made",
            directory.display()
        )
    };
    fs::create_dir_all(directory).with_context(cannot)?;
    let found = fs::read_dir(directory)
        .and_then(|mut files| files.next().transpose())
        .with_context(cannot)?;
    if let Some(found) = found {
        bail!(
            "`{}` is not empty: it has `{}`; give --export-objects a new directory, or an empty one",
            directory.display(),
            found.file_name().display()
        );
    }
    // A run that ends early leaves the directory as it was.
    let list = directory.join(LIST);
    File::create(&list)
        .and_then(|_| fs::remove_file(&list))
        .with_context(cannot)
}

/// Writes each live object that has bytes into a file of its own, and lists all of them. The active
/// generation gives the bytes, so this works although no standby can be made.
pub(crate) fn export(proxy: &Proxy, directory: &Path, console: &Console) -> Result<()> {
    let failed = || {
        format!(
            "cannot write to `{}`; is the disk full?",
            directory.display()
        )
    };
    let list = File::create(directory.join(LIST)).with_context(failed)?;
    let mut list = BufWriter::new(list);
    let objects = proxy.live_objects();
    let mut written = 0;
    for object in &objects {
        let line = match bytes_of(proxy, object) {
            Ok(bytes) => {
                let name = file_name(object.handle);
                fs::write(directory.join(&name), &bytes).with_context(failed)?;
                written += 1;
                described(
                    object,
                    &json!({
                        "file": name,
                        "bytes": bytes.len(),
                        "blake3": blake3::hash(&bytes).to_hex().to_string(),
                    }),
                )
            }
            Err(reason) => described(object, &json!({ "file": null, "reason": reason })),
        };
        writeln!(list, "{line}").with_context(failed)?;
    }
    list.flush().with_context(failed)?;
    console.line(&format!(
        "{written} of {} live objects are in `{}`",
        objects.len(),
        directory.display()
    ));
    Ok(())
}

fn bytes_of(proxy: &Proxy, object: &LiveObject) -> Result<Vec<u8>, String> {
    proxy
        .export_object(object.handle)
        .map_err(|error| error.to_string())
}

/// The entry that made the object, and the position among its results.
fn file_name(handle: Handle) -> String {
    format!("{}-{}.bin", handle.sequence().0, handle.result())
}

fn described(object: &LiveObject, more: &Value) -> Value {
    let mut line = json!({
        "entry": object.handle.sequence().0,
        "result": object.handle.result(),
        "type": object.ty.as_deref(),
        "made_by": &*object.made_by,
    });
    if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
        line.extend(more.clone());
    }
    line
}
