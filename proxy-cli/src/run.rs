//! `run`: puts the module, the proxy, the workload and the display together.

pub(crate) mod calls;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bindgen_host::Options;
use engine_api::{Imports, Limits, ModuleInfo};
use proxy_core::{ArtifactStore, Policy, Proxy, Supervisor, Thresholds};
use workload::Workload;

use crate::args::RunArgs;
use crate::chosen_policy::ChosenPolicy;
use crate::console::{Console, mib};
use crate::display::Watcher;
use crate::observed::Observed;
use crate::report::{Circumstances, Report};
use crate::{embedded, failure, module_file, output};
use calls::CallFigures;

/// The supervisor looks this often; calls that cross a threshold wake it at once.
const SUPERVISOR_INTERVAL: Duration = Duration::from_secs(1);

/// A module with its policy and its workload.
struct Job {
    name: String,
    wasm: Vec<u8>,
    info: Arc<ModuleInfo>,
    policy: Policy,
    /// The policy with its origin, if the command line names one.
    chosen: Option<ChosenPolicy>,
    workload: Workload,
    /// Where to stop within the workload.
    calls_max: Option<u64>,
}

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    let job = Job::new(args)?;
    let thresholds = thresholds(args.subject.warn, args.subject.critical)?;
    let report_file = args.report.as_deref().map(create).transpose()?;
    let calls_planned = job.calls_max.unwrap_or(u64::MAX).min(job.workload.calls());
    let console = Console::detect(calls_planned);
    let observed = Arc::new(Observed::new(console.clone())?);
    let proxy = build(args, &job, thresholds, &observed)?;
    let bound = job
        .workload
        .bind(&|name| proxy.export(name), job.policy.strict)?;
    announce(&console, args, &job, &proxy, calls_planned);

    let rss_start = observed.sample_process();
    let first_memory = proxy.memory_bytes();
    let started = Instant::now();
    let made = {
        let _watcher = Watcher::start(
            console.clone(),
            proxy.clone(),
            Arc::clone(&observed),
            thresholds,
        )
        .context("cannot start the display's thread")?;
        let _supervisor = proxy
            .is_enabled()
            .then(|| Supervisor::start(&proxy, SUPERVISOR_INTERVAL))
            .transpose()
            .context("cannot start the supervisor's thread")?;
        calls::run(&bound, &proxy, &observed, job.calls_max)?
    };
    let circumstances = Circumstances {
        module: job.name.clone(),
        calls_planned,
        duration: started.elapsed(),
        rss_start,
        first_memory,
    };
    let report = finish(circumstances, made, &observed, proxy, &console);
    output::print(&report.to_string())?;
    if let Some(file) = report_file {
        write(&report, file)?;
    }
    Ok(if report.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(failure::CALLS_FAILED)
    })
}

/// The thresholds that the command line gives.
pub(crate) fn thresholds(warn: f64, critical: f64) -> Result<Thresholds> {
    Thresholds::new(warn, critical).map_err(|_| {
        anyhow!(
            "--warn {warn} and --critical {critical} do not fit: shares of the memory limit are needed, such as \
             0.7 and 0.9, the first smaller"
        )
    })
}

impl Job {
    fn new(args: &RunArgs) -> Result<Self> {
        let chosen = ChosenPolicy::read(
            args.subject.policy.as_deref(),
            args.subject.preset.as_deref(),
        )?;
        let policy = chosen.as_ref().map(|chosen| chosen.policy.clone());
        let workload = args.workload.as_deref().map(Workload::read).transpose()?;
        let Some(path) = &args.subject.module else {
            let (workload, calls_max) = match workload {
                Some(workload) => (workload, args.calls),
                None => (embedded::workload(args.calls), None),
            };
            let wasm = embedded::module();
            return Ok(Self {
                name: embedded::NAME.to_owned(),
                info: Arc::new(
                    module_bytes::parse(&wasm).context("the embedded prover is broken")?,
                ),
                wasm,
                policy: policy.unwrap_or_else(embedded::policy),
                chosen,
                workload,
                calls_max,
            });
        };
        let wasm = module_file::read(path)?;
        let info = module_bytes::parse(&wasm)
            .with_context(|| format!("cannot run `{}`", path.display()))?;
        let Some(workload) = workload else {
            bail!(
                "no calls to make on `{0}`: give --workload F.jsonl with one call per line, such as \
                 {{\"call\":\"name\",\"args\":[1]}}; `wasm-proxy inspect {0}` lists the exports",
                path.display()
            );
        };
        Ok(Self {
            name: path.display().to_string(),
            wasm,
            info: Arc::new(info),
            policy: policy.unwrap_or_default(),
            chosen,
            workload,
            calls_max: args.calls,
        })
    }
}

/// Opens the file of a report. Called before anything runs: a user should not learn after minutes
/// that the file cannot be written.
pub(crate) fn create(path: &Path) -> Result<File> {
    // An older report stays until there is a new one.
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path);
    file.with_context(|| {
        format!(
            "cannot write the report `{}`; check that its folder exists, and that you may write there",
            path.display()
        )
    })
}

fn build(
    args: &RunArgs,
    job: &Job,
    thresholds: Thresholds,
    observed: &Arc<Observed>,
) -> Result<Proxy> {
    let mut options = Options::default();
    if let Some(exit) = args.subject.worker_exit {
        options.worker_exit = exit.into();
    }
    let engine = engines::engine_for(&args.engine, &job.info, options)?;
    let cannot_run = || format!("cannot run `{}` on {}", job.name, args.engine);
    let mut imports = if bindgen_host::is_bindgen(&job.info) {
        bindgen_host::system()
    } else {
        Imports::new()
    };
    if args.subject.stub_imports {
        // The hosted module lacks the imports that the host serves: those must not become stubs.
        imports.stub_missing(&bindgen_host::hosted_info(&job.info));
    }
    let artifacts = match &args.artifacts {
        Some(path) => ArtifactStore::directory_up_to(path, args.artifacts_limit)?,
        None => ArtifactStore::memory(),
    };
    let observed = Arc::clone(observed);
    Proxy::builder(engine)
        .module(job.wasm.clone())
        .policy(job.policy.clone())
        .imports(imports)
        .limits(Limits {
            memory_bytes_max: Some(args.subject.memory_limit),
            deadline: args.subject.deadline,
            ..Limits::default()
        })
        .thresholds(thresholds)
        .drain_timeout(args.subject.drain_timeout)
        .enabled(!args.without_proxy)
        .artifacts(artifacts)
        .on_event(move |event| observed.on_event(event))
        .build()
        .with_context(cannot_run)
}

fn announce(console: &Console, args: &RunArgs, job: &Job, proxy: &Proxy, calls: u64) {
    let enabled = proxy.is_enabled();
    console.line(&format!(
        "{} calls on {}, {}, {}, limit {:.1} MiB",
        calls,
        job.name,
        proxy.engine(),
        if enabled {
            "behind the proxy"
        } else {
            "on a bare instance"
        },
        mib(proxy.memory_limit_bytes())
    ));
    if enabled == args.without_proxy {
        console.line(&format!(
            "note: WASM_PROXY_ENABLED in the environment switched the proxy {}",
            if enabled {
                "on, although --without-proxy was given"
            } else {
                "off"
            }
        ));
    }
    let functions = proxy.module_info().functions();
    let is_listed = |name: &str| proxy.export(name).is_ok_and(|export| export.listed);
    let listed = functions.iter().filter(|f| is_listed(&f.name)).count();
    let doubt = job
        .chosen
        .as_ref()
        .and_then(|c| c.doubt(listed, functions.len()));
    if let Some(doubt) = doubt {
        console.line(&doubt);
    }
    let has_pool = bindgen_host::is_bindgen(&job.info)
        && functions
            .iter()
            .any(|f| f.name == bindgen_host::THREAD_POOL_START);
    if args.subject.worker_exit.is_some() && !has_pool {
        console.line(
            "note: --worker-exit changes nothing, because the module has no thread pool of wasm-bindgen's",
        );
    }
}

/// Collects the figures, and frees the proxy's memory before the process is sampled a last time.
fn finish(
    circumstances: Circumstances,
    made: CallFigures,
    observed: &Observed,
    proxy: Proxy,
    console: &Console,
) -> Report {
    let mut report = Report::new(circumstances, made, observed, &proxy);
    if !proxy.shutdown() {
        console.line("warning: a host function still keeps a generation");
    }
    drop(proxy);
    report.end(observed);
    report
}

fn write(report: &Report, file: File) -> Result<()> {
    // A pipe or a device has no length.
    let _ = file.set_len(0);
    let mut writer = BufWriter::new(file);
    serde_json::to_writer_pretty(&mut writer, report)
        .map_err(anyhow::Error::from)
        .and_then(|()| {
            writeln!(writer)
                .and_then(|()| writer.flush())
                .map_err(Into::into)
        })
        .context("cannot write the report; is the disk full?")
}
