//! `run`: puts the module, the proxy, the workload and the display together.

pub(crate) mod calls;
mod command;
pub(crate) mod journal;
mod objects;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use engine_api::Engine;
use guest_calls::ExportInfo;
use guest_calls::policy::plan::Plan;
use proxy_core::{
    ArtifactStore, Builder, CheckpointPolicy, JournalQueue, Proxy, Supervisor, Thresholds, TierUp,
};
use workload::bind::Bound;

use crate::args::{RunArgs, Streams};
use crate::compiling::Telling;
use crate::console::{Console, mib};
use crate::display::Watcher;
use crate::observed::Observed;
use crate::report::{Circumstances, Report, audit};
use crate::subject::Subject;
use crate::{failure, given_imports, hosting, output};
use calls::CallFigures;
use journal::RunJournal;

/// The supervisor looks this often; calls that cross a threshold wake it at once.
const SUPERVISOR_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    if args.tier_up.as_ref() == Some(&args.engine) {
        bail!(
            "--tier-up {0} moves to the engine that --engine {0} begins on; name a better one, or \
             leave it out",
            args.engine
        );
    }
    if args.dry_run {
        let job = Subject::without_calls(&args.subject, Streams::Closed)?;
        let thresholds = args.subject.thresholds()?;
        return journal::dry_run(args, &job, builder(args, &job, thresholds)?);
    }
    if args.workload.is_none() && args.subject.module.is_some() {
        let job = Subject::without_calls(&args.subject, Streams::Inherited)?;
        if command::is_command(args, &job.info) {
            return command::run(args, job);
        }
    }
    let job = subject(args)?;
    // Without a workload `--calls` is the number of proofs.
    let calls_max = args
        .calls
        .filter(|_| args.subject.module.is_some() || args.workload.is_some());
    let thresholds = args.subject.thresholds()?;
    let report_file = args.report.as_deref().map(output::create).transpose()?;
    let calls_planned = calls_max.unwrap_or(u64::MAX).min(job.workload.calls());
    if let Some(directory) = &args.export_objects {
        objects::prepare(directory)?;
    }
    let bound = check(&job)?;
    hosting::tell_stubs(&job, &args.subject.options(&job.policy))?;
    let console = Console::detect(calls_planned, given_imports::is_wasi(&job.info));
    let observed = Arc::new(Observed::new(console.clone())?);
    let journal = RunJournal::open(args, &job)?;
    let proxy = match build(args, &job, thresholds, &observed, journal.as_ref()) {
        Ok(proxy) => proxy,
        Err(error) => {
            if let Some(journal) = journal {
                journal.withdraw();
            }
            return Err(error);
        }
    };
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
        // The move goes on by itself, and events say how it ends.
        let _tier_up = tier_up(args, &job, &proxy)?;
        calls::run(&bound, &proxy, &observed, calls_max)?
    };
    let duration = started.elapsed();
    if let Some(directory) = &args.export_objects {
        objects::export(&proxy, directory, &console)?;
    }
    let circumstances = Circumstances {
        module: job.name.clone(),
        calls_planned,
        duration,
        rss_start,
        first_memory,
        audit_asked: args.audit,
    };
    // Whatever comes of it, there is a report of the run.
    let audit = (args.audit && proxy.is_enabled())
        .then(|| proxy.audit().map_err(|error| error.to_string()));
    let report = finish(
        circumstances,
        made,
        audit,
        &observed,
        proxy,
        journal,
        &console,
    );
    output::print(&report.to_string())?;
    if let Some(file) = report_file {
        output::write(file, &output::json(&report.json())?)?;
    }
    Ok(if report.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(failure::CALLS_FAILED)
    })
}

/// The module and the calls to make on it.
fn subject(args: &RunArgs) -> Result<Subject> {
    let workload = args.workload.as_deref();
    Subject::read(
        &args.subject,
        workload,
        args.calls,
        Streams::Inherited,
        |module| {
            format!(
                "no calls to make on `{module}`: give --workload F.jsonl with one call per line, such as \
             {{\"call\":\"name\",\"args\":[1]}}; `wasm-proxy inspect {module}` lists the exports"
            )
        },
    )
}

/// Compares policy and workload with the module, before anything is compiled.
fn check(job: &Subject) -> Result<Bound> {
    let info = bindgen_host::hosted_info(&job.info);
    let plan = Plan::bind(&job.policy, &info).map_err(|error| {
        let error = anyhow::Error::new(error);
        match &job.chosen {
            Some(chosen) => {
                error.context(format!("the {} does not fit `{}`", chosen.name, job.name))
            }
            None => error,
        }
    })?;
    let export = |name: &str| plan.named(&info, name).map(|plan| ExportInfo::of(plan));
    job.workload.bind(&export, job.policy.strict)
}

fn build(
    args: &RunArgs,
    job: &Subject,
    thresholds: Thresholds,
    observed: &Arc<Observed>,
    journal: Option<&RunJournal>,
) -> Result<Proxy> {
    let observed = Arc::clone(observed);
    let mut builder =
        builder(args, job, thresholds)?.on_event(move |event| observed.on_event(event));
    if let Some(journal) = journal {
        builder = journal.with(builder);
    }
    builder
        .build()
        .map_err(|error| match (&job.chosen, error) {
            (Some(chosen), error @ proxy_core::Error::Policy(_)) => {
                let misfit = format!("the {} does not fit `{}`", chosen.name, job.name);
                anyhow::Error::new(error).context(misfit)
            }
            (_, proxy_core::Error::Setting { reason }) => {
                let reason = by_options(&reason);
                anyhow::Error::new(proxy_core::Error::Setting { reason })
            }
            (_, error) => anyhow::Error::new(error),
        })
        .with_context(|| format!("cannot run `{}` on {}", job.name, args.engine))
}

/// A message of the library with this program's names of what it names.
fn by_options(reason: &str) -> String {
    let names = [
        ("Builder::total_memory", "--total-memory"),
        ("Limits::memory_bytes_max", "--memory-limit"),
        ("SwapTriggers::calls_max", "--swap-calls"),
        ("SwapTriggers::age_max", "--swap-age"),
        ("SwapTriggers::idle_after", "--swap-idle"),
        ("SwapTriggers::stack_drift_bytes_max", "--stack-drift"),
    ];
    let mut reason = reason.to_owned();
    for (name, option) in names {
        reason = reason.replace(name, option);
    }
    reason
}

fn builder(args: &RunArgs, job: &Subject, thresholds: Thresholds) -> Result<Builder> {
    let engine = engine_of(args, job, &args.engine)?;
    let artifacts = match &args.artifacts {
        Some(path) => ArtifactStore::directory_up_to(path, args.artifacts_limit)?,
        None => ArtifactStore::memory(),
    };
    let mut builder = Proxy::builder(engine);
    if let Some(bytes_max) = args.swaps.total_memory {
        builder = builder.total_memory(bytes_max);
    }
    if let Some(callers_max) = args.journal_callers {
        builder = builder.journal_queue(JournalQueue {
            callers_max: callers_max as usize,
            ..JournalQueue::default()
        });
    }
    Ok(builder
        .module(job.wasm.clone())
        .policy(job.policy.clone())
        .imports(job.imports.clone())
        .limits(args.subject.limits())
        .thresholds(thresholds)
        .drain_timeout(args.subject.drain_timeout)
        .hold_back(args.hold_back)
        .triggers(args.swaps.triggers())
        .compile_timeout(args.compile_timeout)
        .enabled(!args.without_proxy)
        .artifacts(artifacts)
        .checkpoints(CheckpointPolicy {
            history: args.history.into(),
            ..CheckpointPolicy::default()
        })
        .audit(args.audit)
        .on_divergence(args.on_divergence.into()))
}

fn engine_of(args: &RunArgs, job: &Subject, name: &str) -> Result<Arc<dyn Engine>> {
    let subject = &args.subject;
    let telling = if command::is_command(args, &job.info) {
        Telling::Never
    } else {
        Telling::Slow
    };
    let options = subject.options(&job.policy);
    hosting::engine_telling(telling, name, &job.info, options, &subject.compiling)
}

/// Starts to compile on the engine of `--tier-up`.
fn tier_up(args: &RunArgs, job: &Subject, proxy: &Proxy) -> Result<Option<TierUp>> {
    let Some(name) = &args.tier_up else {
        return Ok(None);
    };
    let engine = engine_of(args, job, name)?;
    let tier_up = TierUp::start(proxy, engine).context("cannot start the thread that compiles")?;
    Ok(Some(tier_up))
}

fn announce(console: &Console, args: &RunArgs, job: &Subject, proxy: &Proxy, calls: u64) {
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
    if args.audit && !enabled {
        console.line(
            "warning: there is no audit, because the proxy is switched off: --audit does nothing",
        );
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
    audit: Option<audit::Outcome>,
    observed: &Observed,
    proxy: Proxy,
    journal: Option<RunJournal>,
    console: &Console,
) -> Report {
    let mut report = Report::new(
        circumstances,
        made,
        audit,
        observed,
        &proxy,
        journal.as_ref(),
    );
    if !proxy.shutdown() {
        console.line("warning: a host function still keeps a generation");
    }
    drop(proxy);
    // The journal is closed with its last owner.
    drop(journal);
    report.end(observed);
    report
}
