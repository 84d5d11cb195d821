//! Whether the roles of a policy agree with what the calls of a workload do.
//!
//! The workload is run behind a proxy and audited, which finds exports that are called pure and
//! change something. It is also run on bare instances: twice as it is, and once more for each export
//! that is called `mutate`, without the calls of that export. If no other call notices, nothing says
//! that the export changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use engine_api::{Limits, ModuleInfo};
use guest_calls::{Bare, Role, ScopedCallee};
use proxy_core::{Audit, Proxy, with_causes};
use workload::Workload;
use workload::bind::{Bound, BoundCall, BoundStep};
use workload::perform::{Batch, Failure, Variable, Why, perform, perform_scope};

use crate::args::{InspectArgs, Streams};
use crate::chosen_policy::ChosenPolicy;
use crate::{failure, given_imports, hosting, output};

/// How many calls of a workload are made. Roles show in the first turns of a repeat.
const CALLS_MAX: usize = 20_000;

/// How long the runs without an export may take together.
const TIME_MAX: Duration = Duration::from_mins(1);

/// The limit of memory of each instance.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// How many of a kind are shown.
const SHOWN_MAX: usize = 5;

/// What one call gave. Two are the same if they gave the same: errors may name an address.
#[derive(Clone, Debug)]
struct Seen<'a> {
    export: &'a str,
    line: usize,
    /// The results as a digest takes them, or nothing for a call that failed.
    results: Option<Vec<u8>>,
    /// What the workload did not expect.
    failures: Vec<String>,
    /// Why it failed.
    error: Option<String>,
}

impl PartialEq for Seen<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.export, self.line, &self.results) == (other.export, other.line, &other.results)
    }
}

/// What takes the calls of a workload, and says in words why one failed.
trait Called: ScopedCallee<Error: std::error::Error + Send + Sync + 'static> {}

impl<C: ScopedCallee<Error: std::error::Error + Send + Sync + 'static>> Called for C {}

/// What was found about one export.
#[derive(Debug, Default)]
struct Found {
    wrong: Vec<String>,
    hints: Vec<String>,
    undecided: Vec<String>,
}

/// Compares the roles with what calls do, and prints what contradicts them.
pub(super) fn check(args: &InspectArgs, wasm: Vec<u8>, info: &Arc<ModuleInfo>) -> Result<ExitCode> {
    let chosen = ChosenPolicy::read(args.policy.as_deref(), args.preset.as_deref())?
        .context("--check-policy checks a policy: name one with --policy or --preset")?;
    let Some(path) = &args.workload else {
        bail!("--check-policy looks at what calls do: name some with --workload F.jsonl");
    };
    let workload = Workload::read(path)?;
    let hosted = bindgen_host::hosted_info(info);
    let program = args.module.file_name().unwrap_or(args.module.as_os_str());
    let world = || {
        args.world
            .config(&program.to_string_lossy(), Streams::Closed)
    };
    let mut imports = given_imports::of_hosts(info, world)?;
    given_imports::add_emscripten(&mut imports, &hosted, &wasm);
    let options = draft::host_options(&chosen.policy);
    let coverage = hosting::coverage(info, &wasm, &options)?;
    let unserved = given_imports::unserved(coverage.as_ref(), info, &wasm)?;
    // What nobody gives fails when it is called, and the report says so.
    imports.stub_missing(&hosted);
    let limits = Limits {
        memory_bytes_max: Some(MEMORY_BYTES_MAX),
        deadline: Some(DEADLINE),
        ..Limits::default()
    };
    let engine = hosting::engine(&args.engine, info, options, &args.compiling)?;
    let module = engine
        .compile(&wasm)
        .with_context(|| format!("cannot compile the module on {}", args.engine))?;
    let bare = Bare::new(module, &chosen.policy, imports.clone(), limits.clone())?;
    let bound = workload.bind(&|name| bare.export(name), chosen.policy.strict)?;
    let proxy = Proxy::builder(engine)
        .module(wasm)
        .policy(chosen.policy)
        .imports(imports)
        .limits(limits)
        .audit(true)
        .build()?;
    let mut found = Found::default();
    let behind = trial(&mut proxy.clone(), &bound, None);
    found.wrong.extend(unexpected(&behind));
    found.undecided.extend(failed(&behind));
    if !unserved.is_empty() {
        found.undecided.push(format!(
            "calls of {} fail, since nobody gives them",
            given_imports::named(&unserved)
        ));
    }
    if proxy.is_enabled() {
        audited(&proxy.audit()?, &mut found);
    } else {
        bail!(
            "the proxy is switched off by WASM_PROXY_ENABLED, and so there is no replay to compare"
        );
    }
    drop(proxy);
    unnoticed(&bare, &bound, &mut found)?;
    let text = report(&found, &behind, &args.engine);
    output::print(&text)?;
    Ok(if found.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(failure::CALLS_FAILED)
    })
}

/// What the audit says of exports that are called pure.
fn audited(audit: &Audit, found: &mut Found) {
    let seen = |whose: &str| {
        let lost = audit.lost.iter().take(SHOWN_MAX);
        let shown = lost.map(|seen| {
            format!(
                "`{}({})` gives {} with {whose} calls, and {} without",
                seen.export, seen.args, seen.with, seen.without
            )
        });
        shown.collect::<Vec<_>>().join("; ")
    };
    match &audit.writers.iter().collect::<Vec<_>>()[..] {
        [] if audit.lost.is_empty() => {}
        [] => found.wrong.push(format!(
            "an export is called pure, and changes something: {}",
            seen("all these")
        )),
        [writer] => found.wrong.push(format!(
            "`{writer}` is called pure, and changes something: {}",
            seen("its")
        )),
        // Which of them another call has noticed is not known.
        writers => {
            let writers: Vec<String> = writers.iter().map(|name| format!("`{name}`")).collect();
            found.wrong.push(format!(
                "{} are called pure, and each changes something: {}",
                writers.join(", "),
                seen("all their")
            ));
        }
    }
    for name in &audit.undecided {
        found
            .undecided
            .push(format!("`{name}` answers differently each time"));
    }
    if let Some(why) = &audit.incomplete {
        found
            .wrong
            .push(format!("the state cannot be made again: {why}"));
    }
}

/// The results that the workload does not expect.
fn unexpected(seen: &[Seen<'_>]) -> Vec<String> {
    let mut failures = seen.iter().flat_map(|call| call.failures.iter().cloned());
    let mut told: Vec<String> = failures.by_ref().take(SHOWN_MAX).collect();
    if failures.next().is_some() {
        told.push("and more that the workload does not expect".to_owned());
    }
    told
}

/// Exports of which no call came back, so that nothing is known of them.
fn failed(seen: &[Seen<'_>]) -> Vec<String> {
    let calls = counts(seen).into_iter();
    let told = calls.filter_map(|(name, count)| {
        let mut own = seen.iter().filter(|call| call.export == name);
        let first = own.clone().next()?;
        own.all(|call| call.results.is_none()).then(|| {
            let why = first.error.as_deref().unwrap_or("it gave nothing");
            format!(
                "`{name}`: none of its {count} calls came back; line {}: {why}",
                first.line
            )
        })
    });
    told.collect()
}

/// Looks for exports that are called `mutate`, and whose calls no other call notices.
fn unnoticed(bare: &Bare, bound: &Bound, found: &mut Found) -> Result<()> {
    let fresh = || bare.instance().context("cannot make an instance");
    let first = trial(&mut fresh()?, bound, None);
    let again = trial(&mut fresh()?, bound, None);
    let differs: BTreeSet<&str> = first
        .iter()
        .zip(&again)
        .filter(|(one, other)| one != other)
        .map(|(one, _)| one.export)
        .collect();
    for name in &differs {
        let text = format!("`{name}` gives something else in a second run of the same calls");
        if !found
            .undecided
            .iter()
            .any(|known| known.contains(&format!("`{name}`")))
        {
            found.undecided.push(text);
        }
    }
    let calls = counts(&first);
    let started = Instant::now();
    for (name, count) in calls {
        let Ok(export) = bare.export(name) else {
            continue;
        };
        if export.role != Role::Mutate {
            continue;
        }
        if started.elapsed() > TIME_MAX {
            found.undecided.push(format!(
                "`{name}`: there was no time left to run without it"
            ));
            continue;
        }
        let without = trial(&mut fresh()?, bound, Some(name));
        let rest = first.iter().filter(|seen| seen.export != name);
        let compared = |seen: &&Seen<'_>| !differs.contains(seen.export);
        let came_back = first
            .iter()
            .any(|seen| seen.export == name && seen.results.is_some());
        if came_back && rest.filter(compared).eq(without.iter().filter(compared)) {
            found.hints.push(format!(
                "`{name}` is `mutate`, and no other call noticed that its {} left out: it may be `pure`",
                if count == 1 { "call was".to_owned() } else { format!("{count} calls were") }
            ));
        }
    }
    Ok(())
}

fn counts<'a>(seen: &[Seen<'a>]) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for call in seen {
        *counts.entry(call.export).or_default() += 1;
    }
    counts
}

/// Makes the calls of a workload, those of one export left out, and notes what each gave.
fn trial<'a, C: Called>(callee: &mut C, bound: &'a Bound, without: Option<&str>) -> Vec<Seen<'a>> {
    let mut trial = Trial {
        without,
        variables: vec![Variable::Empty; bound.variables],
        // Handles are named after the calls before them, of which some are left out.
        batch: Batch {
            anonymous: true,
            ..Batch::default()
        },
        seen: Vec::new(),
    };
    trial.steps(callee, &bound.steps, 0);
    trial.seen
}

struct Trial<'a, 'w> {
    without: Option<&'w str>,
    variables: Vec<Variable>,
    batch: Batch,
    seen: Vec<Seen<'a>>,
}

impl<'a> Trial<'a, '_> {
    fn steps<C: Called>(&mut self, callee: &mut C, steps: &'a [BoundStep], index: u64) {
        for step in steps {
            if self.seen.len() >= CALLS_MAX {
                return;
            }
            match step {
                BoundStep::Call(call) => self.call(callee, call, index),
                BoundStep::Repeat { times, steps } => {
                    for turn in 0..*times {
                        if self.seen.len() >= CALLS_MAX {
                            return;
                        }
                        self.steps(callee, steps, turn);
                    }
                }
                BoundStep::Pinned(scope) => {
                    self.batch.clear();
                    let made =
                        perform_scope(callee, scope, index, &mut self.variables, &mut self.batch);
                    let error = made.err().map(why);
                    self.note("a pinned scope", scope.line, error);
                }
            }
        }
    }

    fn call<C: Called>(&mut self, callee: &mut C, call: &'a BoundCall, index: u64) {
        if self.without == Some(&call.export) {
            // A call that needs its result fails, and so shows that it is needed.
            for at in &call.fills {
                self.variables[*at] = Variable::Empty;
            }
            return;
        }
        self.batch.clear();
        let now = Instant::now();
        let (variables, batch) = (&mut self.variables, &mut self.batch);
        let made = perform(callee, call, index, variables, batch, now);
        let error = made.err().map(why);
        if error.is_some() {
            for at in &call.fills {
                self.variables[*at] = Variable::Failed(call.line);
            }
        }
        self.note(&call.export, call.line, error);
    }

    fn note(&mut self, export: &'a str, line: usize, error: Option<String>) {
        self.seen.push(Seen {
            export,
            line,
            results: error.is_none().then(|| self.batch.results.clone()),
            failures: std::mem::take(&mut self.batch.failures),
            error,
        });
    }
}

fn why<E: std::error::Error + Send + Sync + 'static>(failure: Failure<'_, E>) -> String {
    match failure.why {
        Why::Call(error) => with_causes(&error),
        Why::Argument(cause) => cause,
    }
}

fn report(found: &Found, seen: &[Seen<'_>], engine: &str) -> String {
    let failed = seen.iter().filter(|call| call.results.is_none()).count();
    let mut text = format!(
        "roles compared with what {} calls of {} exports did on {engine}{}:\n",
        seen.len(),
        counts(seen).len(),
        if failed > 0 {
            format!(", {failed} of which failed")
        } else {
            String::new()
        }
    );
    let parts = [
        ("wrong", &found.wrong),
        ("maybe", &found.hints),
        ("undecided", &found.undecided),
    ];
    for (mark, lines) in parts {
        for line in lines {
            let line = engine_api::Printable(line);
            let _ = writeln!(text, "  {mark:9}  {line}");
        }
    }
    if parts.iter().all(|(_, lines)| lines.is_empty()) {
        text.push_str("  nothing contradicts a role\n");
    }
    text
}
