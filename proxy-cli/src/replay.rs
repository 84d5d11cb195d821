//! `replay`: a journal replayed on several engines, and every result compared with what it has.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use proxy_core::{
    CheckpointPolicy, Divergence, Error, Event, History, JournalStore, Proxy, Recovered,
    SequenceNumber, with_causes,
};

use crate::args::{ReplayArgs, Streams, SubjectArgs};
use crate::console::mib;
use crate::journal::{history_of, open_read_only, values, with_module_named};
use crate::subject::Subject;
use crate::{failure, hosting, output};

/// The journal, and what it is replayed with.
struct Replay<'a> {
    subject: &'a Subject,
    args: &'a SubjectArgs,
    store: Arc<dyn JournalStore>,
    history: History,
    until: SequenceNumber,
    /// What was said of checkpoints, which every engine would say again.
    passed_over: Arc<Mutex<Vec<String>>>,
}

/// What an engine made of the journal.
enum Outcome {
    /// Every entry gave what the journal has.
    Equal {
        recovered: Option<Recovered>,
        digest: Option<String>,
    },
    Diverged(Box<Divergence>),
    /// The engine cannot run the module, or not from where the journal begins.
    Unable(anyhow::Error),
}

pub(crate) fn replay(args: &ReplayArgs) -> Result<ExitCode> {
    let named: Vec<&str> = args.engine.iter().map(String::as_str).collect();
    for name in &named {
        engines::find(name)?;
    }
    let subject_args = args.offline.subject();
    let subject = Subject::without_calls(&subject_args, Streams::Closed)?;
    let store: Arc<dyn JournalStore> = Arc::new(open_read_only(&args.journal)?);
    let replay = Replay {
        subject: &subject,
        args: &subject_args,
        history: history_of(&*store)?,
        store,
        until: SequenceNumber(args.until.unwrap_or(u64::MAX)),
        passed_over: Arc::default(),
    };
    let chosen: Vec<&str> = if named.is_empty() {
        engines::compiled_in().map(|listed| listed.name).collect()
    } else {
        named.clone()
    };
    let mut outcomes = Vec::new();
    for name in chosen {
        let outcome = replay
            .on(name)
            .with_context(|| format!("cannot replay `{}` on {name}", args.journal.display()))?;
        match outcome {
            Outcome::Unable(error) if !named.is_empty() => {
                return Err(error.context(format!(
                    "cannot replay `{}` on {name}",
                    args.journal.display()
                )));
            }
            outcome => outcomes.push((name, outcome)),
        }
    }
    let compared = Compared::of(&outcomes);
    output::print(&report(&outcomes, &compared))?;
    match compared {
        Compared::Nothing => bail!(
            "no engine can replay `{}`; name one with --engine to see why",
            args.journal.display()
        ),
        Compared::Equal => Ok(ExitCode::SUCCESS),
        Compared::Diverged | Compared::OtherStates => Ok(ExitCode::from(failure::DIVERGED)),
    }
}

impl Replay<'_> {
    fn on(&self, name: &str) -> Result<Outcome> {
        let subject = self.subject;
        let engine = hosting::engine(
            name,
            &subject.info,
            self.args.options(&subject.policy),
            &self.args.compiling,
        )?;
        let recovered = Arc::new(Mutex::new(None));
        let (noted, passed_over) = (Arc::clone(&recovered), Arc::clone(&self.passed_over));
        let checkpoints = CheckpointPolicy {
            history: self.history,
            // Without them nothing is kept of what was applied.
            enabled: self.history == History::Checkpoint,
            ..CheckpointPolicy::default()
        };
        let built = Proxy::builder(engine)
            .module(subject.wasm.clone())
            .policy(subject.policy.clone())
            .imports(subject.imports.clone())
            .limits(self.args.limits())
            .enabled(true)
            .checkpoints(checkpoints)
            .replay(Arc::clone(&self.store), self.until)
            .on_event(move |event| match event {
                Event::Recovered(recovered) => {
                    *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(*recovered);
                }
                Event::CheckpointPassedOver { file, reason } => {
                    let line =
                        format!("the checkpoint `{file}` of the journal is not used: {reason}");
                    let mut said = passed_over.lock().unwrap_or_else(PoisonError::into_inner);
                    if !said.contains(&line) {
                        output::note(&line);
                        said.push(line);
                    }
                }
                _ => {}
            })
            .build();
        let proxy = match built {
            Ok(proxy) => proxy,
            Err(Error::Divergence(divergence)) => return Ok(Outcome::Diverged(divergence)),
            Err(error) if is_of_engine(&error) => return Ok(Outcome::Unable(error.into())),
            Err(error) => {
                let module = self.args.module.as_deref();
                return Err(with_module_named(error.into(), module));
            }
        };
        let digest = subject.policy.state_digest.as_deref();
        let digest = digest.map(|export| match proxy.call(export, &[]) {
            Ok(results) => shown(results.as_slice()),
            Err(error) => format!("none: {error}"),
        });
        let recovered = *recovered.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = proxy.shutdown();
        Ok(Outcome::Equal { recovered, digest })
    }
}

fn shown(results: &[proxy_core::Value]) -> String {
    let all: Vec<String> = results
        .iter()
        .map(|value| values::value(value).to_string())
        .collect();
    all.join(", ")
}

/// Whether another engine could do what this one cannot.
fn is_of_engine(error: &Error) -> bool {
    match error {
        Error::Engine(error) => error.trap().is_none(),
        Error::HistoryNeedsCheckpoints { .. } | Error::BaseNotRestorable { .. } => true,
        _ => false,
    }
}

/// How the outcomes relate.
enum Compared {
    /// No engine could.
    Nothing,
    Equal,
    Diverged,
    /// All results are equal, and the states' digests are not.
    OtherStates,
}

impl Compared {
    fn of(outcomes: &[(&str, Outcome)]) -> Self {
        let mut digests = Vec::new();
        for (_, outcome) in outcomes {
            match outcome {
                Outcome::Diverged(_) => return Self::Diverged,
                Outcome::Equal { digest, .. } => digests.push(digest),
                Outcome::Unable(_) => {}
            }
        }
        match digests.split_first() {
            None => Self::Nothing,
            Some((first, others)) if others.iter().all(|other| other == first) => Self::Equal,
            Some(_) => Self::OtherStates,
        }
    }
}

fn report(outcomes: &[(&str, Outcome)], compared: &Compared) -> String {
    let mut text = String::new();
    for (name, outcome) in outcomes {
        let _ = match outcome {
            Outcome::Equal { recovered, digest } => {
                let made = recovered.as_ref().map_or_else(
                    || "no entries".to_owned(),
                    |made| {
                        let from = made
                            .checkpoint
                            .map_or_else(String::new, |at| format!(" after the state at {at}"));
                        format!(
                            "{} entries{from} equal, up to {}, in {:.1?}, {:.1} MiB",
                            made.entries,
                            made.sequence,
                            made.duration,
                            mib(made.memory)
                        )
                    },
                );
                let digest = digest
                    .as_ref()
                    .map_or_else(String::new, |digest| format!(", state digest {digest}"));
                writeln!(text, "{name:<20} {made}{digest}")
            }
            Outcome::Diverged(divergence) => writeln!(
                text,
                "{name:<20} DIVERGED at entry {} (`{}`), {}: expected {}, got {}",
                divergence.entry,
                divergence.export,
                divergence.what.name(),
                divergence.expected,
                divergence.got
            ),
            Outcome::Unable(error) => {
                writeln!(text, "{name:<20} left out: {}", with_causes(&**error))
            }
        };
    }
    text.push_str(match compared {
        Compared::Nothing => "",
        Compared::Equal => "result               every engine gives what the journal has\n",
        Compared::Diverged => "result               not every engine gives what the journal has\n",
        Compared::OtherStates => {
            "result               the results are equal, and the states' digests differ\n"
        }
    });
    text
}
