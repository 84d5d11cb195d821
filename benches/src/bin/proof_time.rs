//! `proof-time`: the processor's time for a proof of the prover guest, on every engine and with the
//! tunings that are worth a comparison, in alternation.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use benches::guests::GuestModule;
use benches::results::{named, read_json, show_ns, table, versions, write_json};
use clap::Parser;
use comparison::Origin;
use cpu_time::{ProcessTime, ThreadTime};
use engine_api::Engine;
use proxy_core::{CheckpointPolicy, Handle, Proxy, args};
use serde::{Deserialize, Serialize};

/// Measures the processor's time for a proof, on every engine in turns
#[derive(Debug, Parser)]
struct Args {
    /// How many proofs each engine makes, one in each round
    #[arg(long, default_value_t = 15)]
    rounds: u64,

    /// Also write the figures into this file, with the machine and the commit
    #[arg(long, value_name = "F.json", conflicts_with = "from")]
    save: Option<PathBuf>,

    /// Print a file that `--save` wrote, and measure nothing
    #[arg(long, value_name = "F.json")]
    from: Option<PathBuf>,
}

/// What was measured. The JSON form has the same fields.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    #[serde(flatten)]
    origin: Origin,
    rounds: u64,
    subjects: Vec<Figures>,
}

/// The figures of one engine, in nanoseconds of processor time.
#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    /// The name of the engine, with what differs from its default configuration.
    subject: String,
    /// Compiling the module, on all threads together.
    compile_ns: f64,
    /// The median of `proofs_ns`.
    proof_ns: f64,
    /// The proofs in their order, on the thread that called.
    proofs_ns: Vec<f64>,
}

/// An engine that makes proofs.
struct Subject {
    name: String,
    proxy: Proxy,
    index: Handle,
    compiled: Duration,
    proofs: Vec<Duration>,
}

impl Subject {
    fn new(name: String, engine: Arc<dyn Engine>) -> anyhow::Result<Self> {
        let guest = GuestModule::prover();
        let started = ProcessTime::now();
        let module = engine.compile(&guest.wasm)?;
        let compiled = started.elapsed();
        let proxy = Proxy::builder(engine)
            .module(guest.wasm)
            .policy(guest.policy)
            .compiled(module)
            .checkpoints(CheckpointPolicy::off())
            .build()?;
        let srs = proxy.call("srs_create", args![4])?.handle()?;
        let index = proxy.call("index_create", args![srs, 0])?.handle()?;
        Ok(Self {
            name,
            proxy,
            index,
            compiled,
            proofs: Vec::new(),
        })
    }

    fn prove(&mut self, witness: u64) -> anyhow::Result<()> {
        let index = self.index;
        let took = self.proxy.pinned(|pinned| {
            let started = ThreadTime::now();
            let proof = pinned.call("prove", args![index, witness])?.pointer()?;
            let took = started.elapsed();
            pinned.call("proof_free", args![proof])?;
            Ok::<_, proxy_core::Error>(took)
        })?;
        self.proofs.push(took);
        Ok(())
    }

    fn figures(&self) -> Figures {
        let mut sorted = self.proofs.clone();
        sorted.sort_unstable();
        Figures {
            subject: self.name.clone(),
            compile_ns: nanoseconds(self.compiled),
            proof_ns: sorted
                .get(sorted.len() / 2)
                .copied()
                .map_or(0.0, nanoseconds),
            proofs_ns: self.proofs.iter().copied().map(nanoseconds).collect(),
        }
    }
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e9
}

/// Every engine that is compiled in, and the tunings beside the defaults.
fn subjects() -> anyhow::Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for column in benches::engines::all() {
        subjects.push(Subject::new(column.name.to_owned(), column.engine())?);
    }
    for (what, engine) in benches::engines::tuned() {
        subjects.push(Subject::new(what.to_owned(), engine)?);
    }
    Ok(subjects)
}

fn measure(rounds: u64) -> anyhow::Result<Measured> {
    let mut subjects = subjects()?;
    for round in 0..rounds {
        for subject in &mut subjects {
            subject.prove(round)?;
        }
    }
    let command: Vec<String> = std::env::args().skip(1).collect();
    Ok(Measured {
        origin: Origin::now(format!("proof-time {}", command.join(" ")), versions()),
        rounds,
        subjects: subjects.iter().map(Subject::figures).collect(),
    })
}

impl Measured {
    fn markdown(&self) -> String {
        let names: Vec<&str> = self
            .subjects
            .iter()
            .map(|one| one.subject.as_str())
            .collect();
        let row = |name: &str, figure: fn(&Figures) -> f64| {
            let figures = self.subjects.iter().map(figure);
            named(name, figures.map(show_ns))
        };
        let rows = vec![
            row("a proof, the median", |one| one.proof_ns),
            row("the quickest", |one| {
                one.proofs_ns.iter().copied().fold(f64::INFINITY, f64::min)
            }),
            row("compiling the module", |one| one.compile_ns),
        ];
        let table = table("processor time", &names, rows).markdown();
        format!("{}\n\n{table}", self.origin.sentence())
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let measured = match &args.from {
        Some(file) => read_json(file)?,
        None => measure(args.rounds)?,
    };
    if let Some(file) = &args.save {
        write_json(file, &measured)?;
    }
    std::io::stdout().write_all(measured.markdown().as_bytes())?;
    Ok(())
}
