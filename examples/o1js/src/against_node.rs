//! The processor's time for a proof on every engine and under Node, in turns: the same module, the
//! same circuit, as many workers.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bindgen_host::Options;
use comparison::table::Table;
use comparison::{Origin, machine};
use cpu_time::ProcessTime;
use engine_api::Module;
use serde::{Deserialize, Serialize};

use crate::bare::Bare;
use crate::circuit::Circuit;
use crate::{Args, limits};

/// What was measured. The JSON form has the same fields.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    origin: Origin,
    module: String,
    circuit: String,
    workers: u32,
    rounds: u32,
    proofs_per_round: u32,
    /// Processor time of the whole process for a proof and its verification, in milliseconds.
    subjects: Vec<Figures>,
}

#[derive(Debug, Serialize)]
struct Figures {
    /// An engine, or `node`.
    subject: String,
    /// The median of `proofs_ms`.
    proof_ms: f64,
    /// `proof_ms` in proportion to that of `node`.
    to_node: f64,
    /// Compiling the module, in milliseconds, where the engine does that once and before.
    compile_ms: Option<f64>,
    proofs_ms: Vec<f64>,
}

/// An engine with the compiled module.
struct Compiled {
    name: &'static str,
    module: Arc<dyn Module>,
    took: Duration,
}

impl Compiled {
    fn new(name: &'static str, wasm: &[u8]) -> Result<Self> {
        let engine = engines::hosting_engine(name, Options::default())?;
        let started = ProcessTime::now();
        let module = engine.compile(wasm)?;
        let took = started.elapsed();
        eprintln!("{name}: compiled in {took:.1?} of processor time");
        Ok(Self { name, module, took })
    }
}

/// An engine with its prover for one circuit. It stays idle while others prove.
struct Subject {
    name: &'static str,
    bare: Bare,
    compiled: Duration,
    proofs_ms: Vec<f64>,
}

impl Subject {
    fn new(compiled: &Compiled, args: &Args, circuit: &Circuit) -> Result<Self> {
        let imports = bindgen_host::system();
        let mut bare = Bare::create(&*compiled.module, &imports, &limits(args))?;
        bare.start_pool(args.workers)?;
        bare.index(circuit)?;
        Ok(Self {
            name: compiled.name,
            bare,
            compiled: compiled.took,
            proofs_ms: Vec::new(),
        })
    }

    fn prove(&mut self, proofs: u32) -> Result<()> {
        for _ in 0..proofs {
            let started = ProcessTime::now();
            let verified = self.bare.prove()?;
            self.proofs_ms.push(milliseconds(started.elapsed()));
            ensure!(verified, "a proof of {} does not verify", self.name);
        }
        Ok(())
    }
}

/// The part of what `prove.cjs` prints that is read here.
#[derive(Deserialize)]
struct FromNode {
    verified: bool,
    node: String,
    round_cpu_ms: Vec<f64>,
}

/// Makes twice as many proofs under Node as asked for, and gives the later half. The process is a
/// fresh one, and Node compiles what is called often a second time, in the first proofs.
fn prove_under_node(args: &Args, circuit: &Path, proofs: u32) -> Result<FromNode> {
    let name = args.module.file_name().and_then(|name| name.to_str());
    let stem = name.and_then(|name| name.strip_suffix("_bg.wasm"));
    let stem = stem.context("the module must be called `..._bg.wasm`, as the package calls it")?;
    let glue = args.module.with_file_name(format!("{stem}.cjs"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("node/prove.cjs");
    let output = Command::new("node")
        .args([script.as_path(), glue.as_path(), circuit])
        .args(["--workers", &args.workers.to_string()])
        .args(["--proofs", &(2 * proofs).to_string()])
        .output()
        .context("cannot start `node`")?;
    let mut said: FromNode = serde_json::from_slice(&output.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&output.stdout);
        format!("`prove.cjs` made no proofs: {said}")
    })?;
    ensure!(said.verified, "a proof of Node does not verify");
    said.round_cpu_ms.drain(..proofs as usize);
    Ok(said)
}

/// Measures all engines that are compiled in, or the one that the arguments name, and Node, with
/// each circuit.
pub(crate) fn measure(args: &Args, rounds: u32, wasm: &[u8]) -> Result<Vec<Measured>> {
    let wanted = |name: &str| args.engine.as_deref().is_none_or(|engine| engine == name);
    let mut compiled = Vec::new();
    for listed in engines::compiled_in().filter(|listed| wanted(listed.name)) {
        match Compiled::new(listed.name, wasm) {
            Ok(module) => compiled.push(module),
            Err(error) => eprintln!("{} is left out: {error:#}", listed.name),
        }
    }
    std::iter::once(&args.circuit)
        .chain(&args.also_circuit)
        .map(|circuit| {
            let measured = measure_circuit(args, rounds, circuit, &compiled)?;
            println!("{}", measured.markdown());
            Ok(measured)
        })
        .collect()
}

fn measure_circuit(
    args: &Args,
    rounds: u32,
    path: &Path,
    compiled: &[Compiled],
) -> Result<Measured> {
    let circuit = Circuit::read(path)?;
    let mut subjects = compiled
        .iter()
        .map(|compiled| Subject::new(compiled, args, &circuit))
        .collect::<Result<Vec<_>>>()?;
    let mut under_node = Vec::new();
    let mut versions = BTreeMap::new();
    for _ in 0..rounds {
        for subject in &mut subjects {
            subject.prove(args.proofs)?;
        }
        let said = prove_under_node(args, path, args.proofs)?;
        under_node.extend(said.round_cpu_ms);
        versions.insert("Node".to_owned(), said.node);
    }
    let node = median(&under_node);
    let mut figures: Vec<Figures> = subjects
        .into_iter()
        .map(|subject| Figures {
            subject: subject.name.to_owned(),
            proof_ms: median(&subject.proofs_ms),
            to_node: median(&subject.proofs_ms) / node,
            compile_ms: Some(milliseconds(subject.compiled)),
            proofs_ms: subject.proofs_ms,
        })
        .collect();
    figures.push(Figures {
        subject: "node".to_owned(),
        proof_ms: node,
        to_node: 1.0,
        compile_ms: None,
        proofs_ms: under_node,
    });
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock = std::fs::read_to_string(lock).unwrap_or_default();
    for (name, package) in [("wasmtime", "wasmtime"), ("Wasmer", "wasmer")] {
        versions.extend(machine::locked(&lock, package).map(|found| (name.to_owned(), found)));
    }
    let command: Vec<String> = std::env::args().skip(1).collect();
    Ok(Measured {
        origin: Origin::now(format!("o1js-prover {}", command.join(" ")), versions),
        module: args.module.display().to_string(),
        circuit: path.display().to_string(),
        workers: args.workers,
        rounds,
        proofs_per_round: args.proofs,
        subjects: figures,
    })
}

impl Measured {
    pub(crate) fn markdown(&self) -> String {
        let names = self.subjects.iter().map(|one| one.subject.as_str());
        let columns: Vec<&str> = std::iter::once("processor time").chain(names).collect();
        let row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
            let cells = self.subjects.iter().map(cell);
            std::iter::once(name.to_owned()).chain(cells).collect()
        };
        let rows = vec![
            row("a proof and its verification", &|one| {
                format!("{:.0} ms", one.proof_ms)
            }),
            row("in proportion to Node", &|one| {
                format!("{:.2}", one.to_node)
            }),
            row("compiling the module", &|one| {
                one.compile_ms
                    .map_or_else(String::new, |ms| format!("{:.1} s", ms / 1000.0))
            }),
        ];
        let table = Table::new(&columns, rows).markdown();
        let origin = self.origin.sentence();
        format!(
            "{origin} Circuit `{}`, {} workers.\n\n{table}",
            self.circuit, self.workers
        )
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
