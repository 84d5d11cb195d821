//! From a module's bytes and its glue to a session.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use compile_cache::{CachingEngine, Task, Teller};
use draft::Draft;
use engine_api::{Module, ModuleInfo};
use glue::Glue;
use guest_calls::policy::plan::Plan;
use proxy_core::{Builder, Identity, Policy, PolicyError, Proxy, Supervisor};

use crate::failure::{Failure, described};
use crate::journal::Journal;
use crate::napi::Listener;
use crate::options::Options;
use crate::session::Session;
use crate::surface::Services;
use crate::{events, metrics_text, surface};

/// How often the supervisor looks at a proxy that nobody calls.
const SUPERVISOR_INTERVAL: Duration = Duration::from_secs(5);

/// The policy, its text, and the exports that it does not describe.
struct Chosen {
    policy: Policy,
    text: String,
    left_out: HashMap<String, String>,
}

pub(crate) fn open(
    wasm: &[u8],
    glue: &str,
    options: &Options,
    listener: Listener,
) -> Result<Session, Failure> {
    metrics_text::install();
    let notes = Notes(listener.clone());
    let engine_name = options.engine()?;
    let (limits, thresholds) = (options.limits()?, options.thresholds()?);
    let (triggers, prepare_timeout) = (options.triggers()?, options.prepare_timeout()?);
    let checkpoints = options.checkpoints()?;
    let info = module_bytes::parse(wasm).map_err(|error| Failure::Module(described(&error)))?;
    if !bindgen_host::is_bindgen(&info) {
        return Err(Failure::Module(
            "wasm-bindgen did not make this module; only such packages can be wrapped".to_owned(),
        ));
    }
    let info = Arc::new(info);
    let hosted = bindgen_host::hosted_info(&info);
    let mut chosen = choose(&hosted, (&info, wasm), glue, options)?;
    let services = Services::of(Glue::read(glue).ok().as_ref());
    let plan =
        Plan::bind(&chosen.policy, &hosted).map_err(|error| Failure::Policy(described(&error)))?;
    let (exports, impossible) = surface::exports(&plan, &hosted)?;
    chosen.left_out.extend(impossible);
    let durability = options.durability()?;
    let journal = match &options.journal {
        None => {
            options.check_no_journal()?;
            None
        }
        Some(folder) => {
            surface::check_lasting(&exports, &hosted)?;
            let identity = Identity::of(wasm, &chosen.policy)?;
            Some(Journal::open(folder, &options.name, durability, identity)?)
        }
    };
    let engine = engines::hosting_engine(engine_name, draft::host_options(&chosen.policy))
        .map_err(|error| Failure::Module(described(&error)))?;
    let engine = CachingEngine::around(engine, options.compile_cache.clone(), Box::new(notes));
    let mut builder = Proxy::builder(engine)
        .name(&options.name)
        .module(wasm)
        .policy(chosen.policy)
        .imports(bindgen_host::system())
        .limits(limits)
        .thresholds(thresholds)
        .triggers(triggers)
        .checkpoints(checkpoints)
        .enabled(options.enabled)
        .on_event(move |event| listener.tell(events::json(event)));
    if let Some(timeout) = prepare_timeout {
        builder = builder.prepare_timeout(timeout);
    }
    if let Some(journal) = &journal {
        builder = builder.journal(journal.store(), journal.durability);
    }
    let (proxy, journal) = built(builder, journal)?;
    let supervisor = Supervisor::start(&proxy, SUPERVISOR_INTERVAL)
        .map_err(|error| Failure::Proxy(format!("the system has no thread left: {error}")))?;
    let session = Session::new(
        (proxy, Some(supervisor)),
        exports,
        chosen.left_out,
        (chosen.text, services),
    );
    match journal {
        Some(journal) => session.with_journal(journal),
        None => Ok(session),
    }
}

/// Makes the proxy, and its state again from the journal.
fn built(builder: Builder, journal: Option<Journal>) -> Result<(Proxy, Option<Journal>), Failure> {
    let error = match builder.build() {
        Ok(proxy) => return Ok((proxy, journal)),
        Err(error) => error,
    };
    let Some(journal) = journal else {
        return Err(error.into());
    };
    let failure = match &error {
        proxy_core::Error::Divergence(_) => Failure::Journal(format!(
            "the journal in `{}` cannot be replayed: {error}; `wasm-proxy replay` says more",
            journal.folder.display()
        )),
        _ => error.into(),
    };
    journal.withdraw();
    Err(failure)
}

/// What goes wrong with the folder for compiled code, as an event.
#[derive(Debug)]
struct Notes(Listener);

impl Teller for Notes {
    fn note(&self, text: &str) {
        self.0.tell(events::note(text));
    }

    fn while_compiling(
        &self,
        _: &Task<'_>,
        work: &mut dyn FnMut() -> Result<Arc<dyn Module>, engine_api::Error>,
    ) -> Result<Arc<dyn Module>, engine_api::Error> {
        work()
    }
}

/// The policy: the one that is named, or a draft by the glue. The module's bytes, and what they say
/// without a host, tell which of its conversions only the glue knows.
fn choose(
    info: &ModuleInfo,
    (own, wasm): (&ModuleInfo, &[u8]),
    glue: &str,
    options: &Options,
) -> Result<Chosen, Failure> {
    if let Some(policy) = options.policy()? {
        return Ok(Chosen {
            text: policy.to_toml(),
            left_out: unlisted(&policy, info)?,
            policy,
        });
    }
    let read = Glue::read(glue).map_err(|error| {
        Failure::Glue(format!(
            "the JavaScript of package `{}` is not glue that a policy can be drafted from: {error}; name a policy with \
             option `policy`",
            options.name
        ))
    })?;
    let draft = Draft::with_glue(info, Some(&read))
        .map_err(|error| Failure::Glue(format!("{error}; name a policy with option `policy`")))?
        .with_casts(own, wasm, &read);
    // What nothing describes might be given addresses, which mean nothing to the guest.
    let text = draft.to_toml(&options.name);
    let text = text.replacen("\nstrict = false\n", "\nstrict = true\n", 1);
    // A journal knows its policy by a hash, and the file that the text is written to has to have the same.
    let policy: Policy = text
        .parse()
        .map_err(|error: PolicyError| Failure::Internal(described(&error)))?;
    let left_out = draft
        .exports
        .iter()
        .filter(|export| !export.listed && !export.is_service)
        .map(|export| (export.name.clone(), export.reason.clone()))
        .collect();
    Ok(Chosen {
        policy,
        text,
        left_out,
    })
}

/// The exports that a policy does not list. JavaScript may give them addresses.
fn unlisted(policy: &Policy, info: &ModuleInfo) -> Result<HashMap<String, String>, Failure> {
    let plan = Plan::bind(policy, info).map_err(|error| Failure::Policy(described(&error)))?;
    let mut left_out = HashMap::new();
    for function in info.functions() {
        let listed = plan
            .named(info, &function.name)
            .is_ok_and(|plan| plan.listed);
        if !listed && !function.name.starts_with("__") {
            let reason = "the policy has no entry for it; add one".to_owned();
            left_out.insert(function.name.clone(), reason);
        }
    }
    Ok(left_out)
}
