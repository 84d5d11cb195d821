//! Does to a module what `wasm-bindgen --target nodejs` does, in the release that the module was made with.
//!
//!     bindgen INPUT.wasm FOLDER NAME
//!
//! Writes `NAME.wasm` and its glue, `NAME.js`, to the folder. Of the names of functions only those of imports
//! stay: there wasm-bindgen says what the numbered ones mean.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn run(input: &str, folder: &Path, name: &str) -> Result<(), Box<dyn Error>> {
    let mut output = Bindgen::new()
        .input_path(input)
        .out_name(name)
        .nodejs(true)?
        .typescript(false)
        .remove_producers_section(true)
        .generate_output()?;
    let functions = &mut output.wasm_mut().funcs;
    let own: Vec<_> = functions.iter_local().map(|(id, _)| id).collect();
    for id in own {
        functions.get_mut(id).name = None;
    }
    output.emit(folder)?;
    // The module is called `NAME_bg.wasm` so it does not clash with glue for bundlers, which there is
    // none of here. The name that its imports come from stays as it is.
    let module = folder.join(format!("{name}_bg.wasm"));
    std::fs::rename(module, folder.join(format!("{name}.wasm")))?;
    let glue = folder.join(format!("{name}.js"));
    let text = std::fs::read_to_string(&glue)?;
    std::fs::write(
        glue,
        text.replace(&format!("{name}_bg.wasm"), &format!("{name}.wasm")),
    )?;
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, folder, name] = arguments.as_slice() else {
        eprintln!("usage: bindgen INPUT.wasm FOLDER NAME");
        return ExitCode::from(2);
    };
    match run(input, Path::new(folder), name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bindgen: {error:?}");
            ExitCode::FAILURE
        }
    }
}
