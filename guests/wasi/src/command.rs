//! A command: it copies its input into a file, line by line and numbered, prints what it was given, and
//! exits with the number of lines.

use std::env;
use std::fs;
use std::io::{self, BufRead, Write};
use std::process::exit;

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    println!("arguments: {args:?}");
    println!("greeting: {:?}", env::var("GREETING").ok());
    let mut file = fs::File::create("/data/lines")?;
    let mut lines = 0;
    for line in io::stdin().lock().lines() {
        lines += 1;
        writeln!(file, "{lines}: {}", line?)?;
    }
    drop(file);
    print!("{}", fs::read_to_string("/data/lines")?);
    let mut names = Vec::new();
    for entry in fs::read_dir("/data")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    println!("folder: {names:?}");
    exit(lines)
}
