//! The unmodified o1js prover behind wasm-proxy: endless proofs on a module that loses memory
//! with every pool of threads. `README.md` beside this crate says where the module comes from.

mod against_node;
mod bare;
mod circuit;
mod prover;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bindgen_host::{Options, WorkerExit};
use clap::Parser;
use cpu_time::ThreadTime;
use engine_api::{Engine, Limits, Module};
use proxy_core::{
    ArtifactStore, CheckpointPolicy, Event, Policy, Prepared, Proxy, Source, Supervisor,
};

use bare::Bare;
use circuit::Circuit;
use prover::{Pool, Prover};
use report::{Moved, Report, Swap};

/// Proofs with the unmodified o1js prover.
#[derive(Debug, Parser)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
struct Args {
    /// `plonk_wasm_bg.wasm` or `kimchi_wasm_bg.wasm` of the npm package o1js.
    module: PathBuf,
    /// The circuit: see README.md for the format.
    #[arg(long)]
    circuit: PathBuf,
    /// How many proofs to make and verify.
    #[arg(long, default_value_t = 10)]
    proofs: u32,
    /// Threads of the guest's pool.
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// Stop and start the pool around every proof, as o1js up to 2.14 does.
    #[arg(long)]
    cycle_pool: bool,
    /// End workers without giving back their stacks, as o1js up to 2.14 does: about 1 MiB is lost
    /// for each worker and cycle.
    #[arg(long)]
    abandon_workers: bool,
    /// The guest's memory, in MiB.
    #[arg(long, default_value_t = 64)]
    memory_limit_mib: u64,
    /// The runtime and compiler; `wasm-proxy engines` lists them [default: the first that is
    /// compiled in].
    #[arg(long)]
    engine: Option<String>,
    /// On one instance, without the proxy.
    #[arg(long)]
    bare: bool,
    /// After the run, prove in turns behind the proxy and on a bare instance, this often each, and
    /// compare.
    #[arg(long, default_value_t = 0)]
    compare: u32,
    /// After the run, prepare this many standbys and swap to them, while another thread goes on
    /// proving.
    #[arg(long, default_value_t = 0)]
    swaps: u32,
    /// Make every standby by replay of the journal, without checkpoints.
    #[arg(long, conflicts_with = "bare")]
    by_replay: bool,
    /// At the end, replay the whole journal this often, to compare with the standbys of `--swaps`.
    #[arg(long, default_value_t = 0, conflicts_with = "bare")]
    replays: u32,
    /// At the end, swap to this engine, and make and verify a proof there.
    #[arg(long, conflicts_with = "bare", value_name = "ENGINE")]
    move_to: Option<String>,
    /// Before the run, check for every export of the module that the policy lists it, and that the
    /// proxy reaches it with the arguments that it takes.
    #[arg(long)]
    walk: bool,
    /// A directory where the reference string is kept as bytes: the next run reads it.
    #[arg(long, conflicts_with = "bare")]
    artifacts: Option<PathBuf>,
    /// Only measure the processor's time for a proof: on every engine, or the one that is named,
    /// and under Node, in turns. So many rounds, each with the proofs of `--proofs`.
    #[arg(long, value_name = "ROUNDS", conflicts_with_all = ["bare", "cycle_pool", "compare", "swaps", "walk"])]
    against_node: Option<u32>,
    /// Another circuit to measure with the same code; may be repeated.
    #[arg(long, value_name = "FILE", requires = "against_node")]
    also_circuit: Vec<PathBuf>,
    /// Write the report as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let circuit = Circuit::read(&args.circuit)?;
    let wasm = std::fs::read(&args.module).with_context(|| {
        format!(
            "cannot read `{}`; fetch.sh fetches it",
            args.module.display()
        )
    })?;
    if let Some(rounds) = args.against_node {
        let measured = against_node::measure(&args, rounds, &wasm)?;
        write_json(&args, &measured)?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = match &args.engine {
        Some(name) => name,
        None => engines::default_name()?,
    };
    let engine = engines::hosting_engine(name, options(&args))?;
    let started = Instant::now();
    let module = engine.compile(&wasm)?;
    let mut report = Report::new(name, started.elapsed());
    if args.bare {
        run_bare(&args, &circuit, &*module, &mut report)?;
    } else {
        run(&args, &circuit, &wasm, &engine, &module, &mut report)?;
    }
    report.end();
    println!("{report}");
    write_json(&args, &report)?;
    Ok(if report.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Writes what was measured where `--report` says.
fn write_json(args: &Args, measured: &impl serde::Serialize) -> Result<()> {
    let Some(path) = &args.report else {
        return Ok(());
    };
    let json = serde_json::to_string_pretty(measured)?;
    std::fs::write(path, json + "\n").with_context(|| format!("cannot write `{}`", path.display()))
}

fn options(args: &Args) -> Options {
    let mut options = Options::default();
    if args.abandon_workers {
        options.worker_exit = WorkerExit::Abandon;
    }
    options
}

fn limits(args: &Args) -> Limits {
    Limits {
        memory_bytes_max: Some(args.memory_limit_mib << 20),
        ..Limits::default()
    }
}

/// Proves on one instance until it dies.
fn run_bare(
    args: &Args,
    circuit: &Circuit,
    module: &dyn Module,
    report: &mut Report,
) -> Result<()> {
    let mut bare = Bare::create(module, &bindgen_host::system(), &limits(args))?;
    let mut pool = bare.start_pool(args.workers)?;
    bare.index(circuit)?;
    if args.cycle_pool {
        bare.stop_pool(pool)?;
        pool = bare.start_pool(args.workers)?;
    }
    report.begin(bare.memory_bytes());
    for _ in 0..args.proofs {
        let started = Instant::now();
        let mut prove = || {
            if args.cycle_pool {
                bare.stop_pool(pool)?;
                pool = bare.start_pool(args.workers)?;
            }
            bare.prove()
        };
        match prove() {
            Ok(verified) => report.proof(started.elapsed(), verified),
            Err(error) => {
                report.failed += 1;
                report.died_of = Some(format!("{error:#}"));
                break;
            }
        }
    }
    report.memory = bare.memory_bytes();
    Ok(())
}

/// What the proxy has told.
#[derive(Default)]
struct Seen {
    swaps: Mutex<Vec<Swap>>,
    /// How many generations were freed.
    freed: AtomicUsize,
}

impl Seen {
    fn swaps(&self) -> MutexGuard<'_, Vec<Swap>> {
        self.swaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every generation that was swapped out has been freed.
    fn wait_for_the_end_of_the_old(&self) {
        while self.freed.load(Ordering::Acquire) < self.swaps().len() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A proxy with the policy that comes with the program. What it tells is noted in `seen`.
fn proxy(
    args: &Args,
    wasm: &[u8],
    engine: &Arc<dyn Engine>,
    module: &Arc<dyn Module>,
    seen: &Arc<Seen>,
) -> Result<Proxy> {
    let policy = Policy::preset("o1js")?;
    let artifacts = match &args.artifacts {
        Some(path) => ArtifactStore::directory(path)?,
        None => ArtifactStore::memory(),
    };
    let checkpoints = if args.by_replay {
        CheckpointPolicy::off()
    } else {
        CheckpointPolicy::default()
    };
    let seen = Arc::clone(seen);
    Ok(Proxy::builder(Arc::clone(engine))
        .artifacts(artifacts)
        .checkpoints(checkpoints)
        .module(wasm)
        .compiled(Arc::clone(module))
        .policy(policy)
        .imports(bindgen_host::system())
        .limits(limits(args))
        .on_event(move |event| note(event, &seen))
        .build()?)
}

/// Proves behind the proxy.
fn run(
    args: &Args,
    circuit: &Circuit,
    wasm: &[u8],
    engine: &Arc<dyn Engine>,
    module: &Arc<dyn Module>,
    report: &mut Report,
) -> Result<()> {
    let seen = Arc::default();
    let proxy = proxy(args, wasm, engine, module, &seen)?;
    if args.walk {
        report.exports = Some(walk(&proxy)?);
    }
    let supervisor = Supervisor::start(&proxy, Duration::from_millis(200))?;
    let mut pool = Some(Pool::start(&proxy, args.workers)?);
    let prover = Prover::create(&proxy, circuit)?;
    report.srs = Some(prover.srs_took.into());
    if args.cycle_pool {
        // Every generation replays this pool, because the indexes were made with it.
        cycle(&mut pool, &proxy, args.workers)?;
    }
    report.begin(proxy.memory_bytes());
    for _ in 0..args.proofs {
        let started = Instant::now();
        let outcome = if args.cycle_pool {
            cycle(&mut pool, &proxy, args.workers).and_then(|()| prover.prove())
        } else {
            prover.prove()
        };
        match outcome {
            Ok(verified) => report.proof(started.elapsed(), verified),
            Err(error) => {
                report.failed += 1;
                report.died_of.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
    if args.compare > 0 {
        compare(args, circuit, &**module, &prover, report)?;
    }
    if args.swaps > 0 {
        swap_while_proving(args.swaps, &proxy, &prover, &seen, report)?;
    }
    drop(supervisor);
    for _ in 0..args.replays {
        report
            .by_replay
            .push(proxy.verify_on(Arc::clone(engine))?.duration.into());
    }
    if let Some(name) = &args.move_to {
        let engine = engines::hosting_engine(name, options(args))?;
        let prepared = prepare(&proxy, Some(&engine), &seen)?.0;
        proxy.swap()?;
        let verified = prover.prove()?;
        report.moved = Some(Moved::new(name, &prepared, verified));
    }
    report.memory = proxy.memory_bytes();
    let info = proxy.debug_info();
    report.srs_read = (info.artifact_hits, info.artifacts_imported);
    prover.free()?;
    if let Some(pool) = pool {
        pool.stop(&proxy)?;
    }
    if !proxy.shutdown() {
        eprintln!("a host function still keeps a generation");
    }
    drop(proxy);
    report.swaps = std::mem::take(&mut *seen.swaps());
    Ok(())
}

/// Stops the pool and starts another. After a failed start there is no pool to stop.
fn cycle(pool: &mut Option<Pool>, proxy: &Proxy, workers: u32) -> Result<()> {
    if let Some(last) = pool.take() {
        last.stop(proxy)?;
    }
    *pool = Some(Pool::start(proxy, workers)?);
    Ok(())
}

/// Visits every export with one argument too many. The proxy refuses it and names the right count
/// before the guest runs, which shows that the export is reached without calling it.
fn walk(proxy: &Proxy) -> Result<usize> {
    let functions = proxy.module_info().functions();
    for function in functions {
        let export = proxy.export(&function.name)?;
        let mut arguments = vec![proxy_core::Arg::from(0_i32); export.args.len()];
        arguments.push(proxy_core::Arg::from(0_i32));
        match proxy.call(&function.name, &arguments) {
            Err(proxy_core::Error::Call(proxy_core::CallError::Argument { position, .. }))
                if position == export.args.len() => {}
            outcome => bail!(
                "`{}` {} with {} arguments gives {outcome:?}",
                function.name,
                function.ty,
                arguments.len()
            ),
        }
    }
    Ok(functions.len())
}

fn note(event: &Event, seen: &Seen) {
    match event {
        Event::SwapComplete(swapped) => seen.swaps().push(Swap {
            pause_us: swapped.pause.as_secs_f64() * 1e6,
            memory_before: swapped.memory_before,
            memory_after: swapped.memory_after,
        }),
        Event::GenerationFreed { .. } => {
            seen.freed.fetch_add(1, Ordering::Release);
        }
        Event::StandbyPrepareError { error, .. } | Event::SwapError { error } => {
            eprintln!("no swap: {error}");
        }
        Event::GenerationTainted { cause, .. } => eprintln!("a generation was lost: {cause}"),
        _ => {}
    }
}

/// Proves in turns: a disturbance of the machine then hits both alike.
fn compare(
    args: &Args,
    circuit: &Circuit,
    module: &dyn Module,
    prover: &Prover<'_>,
    report: &mut Report,
) -> Result<()> {
    let mut bare = Bare::create(module, &bindgen_host::system(), &limits(args))?;
    bare.start_pool(args.workers)?;
    bare.index(circuit)?;
    for _ in 0..args.compare {
        let started = Instant::now();
        bare.prove()?;
        report.compared_bare.push(started.elapsed().into());
        let started = Instant::now();
        prover.prove()?;
        report.compared_proxy.push(started.elapsed().into());
    }
    Ok(())
}

/// Makes a standby, when the generation before the active one has gone: it is freed when its last
/// proof is done. Returns how long the standby took, and how much of a processor on this thread.
fn prepare(
    proxy: &Proxy,
    on: Option<&Arc<dyn Engine>>,
    seen: &Seen,
) -> Result<(Prepared, Duration, Duration)> {
    loop {
        seen.wait_for_the_end_of_the_old();
        let (started, before) = (Instant::now(), ThreadTime::now());
        let prepared = match on {
            Some(engine) => proxy.prepare_standby_on(Arc::clone(engine)),
            None => proxy.prepare_standby(),
        };
        match prepared {
            Ok(prepared) => return Ok((prepared, started.elapsed(), before.elapsed())),
            Err(proxy_core::Error::StillDraining) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// How long a loop takes for as much of a processor, after a rest like that of a thread that
/// prepares. It starts and waits for nothing: what is above its own time is the system's.
fn loop_for(spent: Duration) -> Duration {
    std::thread::sleep(Duration::from_millis(10));
    let (started, before) = (Instant::now(), ThreadTime::now());
    while before.elapsed() < spent {
        std::hint::spin_loop();
    }
    started.elapsed()
}

/// Prepares standbys and swaps to them while another thread goes on proving. Notes the time of each
/// preparation, and of a loop that needs the same time of a processor.
fn swap_while_proving(
    swaps: u32,
    proxy: &Proxy,
    prover: &Prover<'_>,
    seen: &Seen,
    report: &mut Report,
) -> Result<()> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let proving = scope.spawn(|| {
            let mut proofs = 0_u32;
            while !done.load(Ordering::Relaxed) {
                anyhow::ensure!(prover.prove()?, "a proof does not verify");
                proofs += 1;
            }
            Ok(proofs)
        });
        let swapped = (|| {
            for _ in 0..swaps {
                let (prepared, took, spent) = prepare(proxy, None, seen)?;
                if let Source::Checkpoint(_) = prepared.source {
                    report.from_checkpoints.push(took.into());
                    report.loops.push(loop_for(spent).into());
                } else {
                    report.by_replay.push(took.into());
                }
                proxy.swap()?;
            }
            Ok(())
        })();
        done.store(true, Ordering::Relaxed);
        let proofs = proving
            .join()
            .unwrap_or_else(|_| bail!("the proving thread panicked"))?;
        eprintln!("{proofs} proofs were made during the swaps");
        swapped
    })
}
