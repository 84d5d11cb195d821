//! The program `wasm-proxy`: runs a workload on a module behind the proxy, compares the proxy with
//! its alternatives, inspects modules, and lists the engines.
//!
//! | file | its job |
//! |---|---|
//! | `args` | the command line |
//! | `engine_list` | the engines, their capabilities, and when to take which |
//! | `embedded` | the prover that `run` runs without a module |
//! | `module_file` | a module from a file |
//! | `given_imports` | names, stubs and Emscripten's functions for a module's imports |
//! | `hosting` | the engine for a module: how it is hosted and compiled |
//! | `subject` | a module with its policy and its workload, as `run` and `bench` take them |
//! | `chosen_policy` | the policy that the command line names |
//! | `compiling` | the word that a compilation takes its time |
//! | `run` | `run`: puts the proxy, the workload and the display together |
//! | `bench` | `bench`: every strategy on the module, and the report |
//! | `run::calls` | makes the calls of a workload, measures and compares them |
//! | `observed` | the events of a run |
//! | `console` | the lines that are printed while it runs |
//! | `display`, `report` | the display while it runs, and the report at its end |
//! | `inspect` | a module's parts, and a policy drafted by its glue or from its names |
//! | `inspect::check` | roles of a policy against what calls do |
//! | `journal`, `replay` | a journal on a disk, offline; every engine against it |
//! | `run::journal` | the journal of a run, and the move from another one |
//! | `escape` | text of guests on a terminal |
//! | `failure` | errors with a way out, and exit codes |

mod args;
mod bench;
mod chosen_policy;
mod compiling;
mod console;
mod display;
mod embedded;
mod engine_list;
mod escape;
mod failure;
mod given_imports;
mod hosting;
mod inspect;
mod journal;
mod module_file;
mod observed;
mod output;
mod replay;
mod report;
mod rss;
mod run;
mod subject;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Cli, Command};

#[cfg(not(any(feature = "wasmer", feature = "wasmtime")))]
compile_error!("choose at least one runtime: `--features wasmer` or `--features wasmtime`");

fn main() -> ExitCode {
    let cli = Cli::parse_from(args::joined(std::env::args_os()));
    let outcome = output::init_log().and_then(|()| match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::BenchChild(args) => bench::child(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Journal(command) => journal::journal(&command),
        Command::Replay(args) => replay::replay(&args),
        Command::Engines => output::print(&engine_list::text()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wasm-proxy", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
    });
    outcome.unwrap_or_else(|error| failure::explain(&error))
}
