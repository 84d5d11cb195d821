//! Writes the good inputs of a target into a folder, a file each: `seeds TARGET FOLDER`.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (Some(target), Some(folder)) = (args.next(), args.next().map(PathBuf::from)) else {
        return Err(std::io::Error::other("usage: seeds TARGET FOLDER"));
    };
    std::fs::create_dir_all(&folder)?;
    for (number, seed) in targets::seeds(&target.to_string_lossy()).iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
