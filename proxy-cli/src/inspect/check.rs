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
use proxy_core::{Audit, Proxy};
use workload::Workload;
use workload::bind::{Bound, BoundCall, BoundStep};
use workload::perform::{Batch, Variable, perform, perform_scope};

use crate::args::InspectArgs;
use crate::chosen_policy::ChosenPolicy;
use crate::{failure, given_imports, hosting, output};

/// How many calls of a workload are made. Roles show in the first turns of a repeat.
const CALLS_MAX: usize = 20_000;

/// How long the runs without an export may take together.
const TIME_MAX: Duration = Duration::from_mins(1);

/// The limit of memory of each instance.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// What one call gave.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen<'a> {
    export: &'a str,
    line: usize,
    /// The results as a digest takes them, or nothing for a call that failed.
    results: Option<Vec<u8>>,
}

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
    let mut imports = given_imports::of_hosts(info, wasi::Config::default)?;
    given_imports::add_emscripten(&mut imports, &hosted, &wasm);
    // What nobody gives fails when it is called, and the report says so.
    imports.stub_missing(&hosted);
    let limits = Limits {
        memory_bytes_max: Some(MEMORY_BYTES_MAX),
        ..Limits::default()
    };
    let engine = hosting::engine(
        &args.engine,
        info,
        draft::host_options(&chosen.policy),
        &args.compiling,
    )?;
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
    let shown = audit.lost.first().map_or_else(String::new, |seen| {
        format!(
            ": `{}({})` gives {} with its calls, and {} without",
            seen.export, seen.args, seen.with, seen.without
        )
    });
    for writer in &audit.writers {
        found.wrong.push(format!(
            "`{writer}` is called pure, and changes something{shown}"
        ));
    }
    if audit.writers.is_empty() && !audit.lost.is_empty() {
        found.wrong.push(format!(
            "an export is called pure, and changes something{shown}"
        ));
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
        if rest.filter(compared).eq(without.iter().filter(compared)) {
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
fn trial<'a, C: ScopedCallee>(
    callee: &mut C,
    bound: &'a Bound,
    without: Option<&str>,
) -> Vec<Seen<'a>> {
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
    fn steps<C: ScopedCallee>(&mut self, callee: &mut C, steps: &'a [BoundStep], index: u64) {
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
                    let results = made.is_ok().then(|| self.batch.results.clone());
                    self.seen.push(Seen {
                        export: "a pinned scope",
                        line: scope.line,
                        results,
                    });
                }
            }
        }
    }

    fn call<C: ScopedCallee>(&mut self, callee: &mut C, call: &'a BoundCall, index: u64) {
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
        let is_ok = perform(callee, call, index, variables, batch, now).is_ok();
        if !is_ok {
            for at in &call.fills {
                self.variables[*at] = Variable::Failed(call.line);
            }
        }
        self.seen.push(Seen {
            export: &call.export,
            line: call.line,
            results: is_ok.then(|| self.batch.results.clone()),
        });
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
