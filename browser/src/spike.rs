//! What the spike's worker runs: the calls of a workload on a guest, behind a proxy or on a bare
//! instance. `web/worker.mjs` calls the functions that are exported here.
//!
//! One worker runs one workload. Texts come in through [`spike_buffer`] and go out through [`spike_report`].

#![cfg_attr(target_family = "wasm", no_main)]

mod hosted;

use std::cell::RefCell;
use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use browser_engine::{Browser, FileJournal};
use engine_api::{Engine, Limits};
use guest_calls::{Bare, BareInstance, Policy, ScopedCallee};
use proxy_core::{Durability, Event, Identity, Proxy, Recovered, Swapped};
use serde_json::{Value, json};
use workload::Workload;
use workload::bind::{Bound, BoundStep};
use workload::perform::{Batch, Failure, Variable, Why, perform, perform_scope};

thread_local! {
    static INPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<String> = const { RefCell::new(String::new()) };
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// A workload under way.
struct Run {
    subject: Subject,
    steps: Steps,
    tally: Tally,
}

enum Subject {
    Proxy(Box<Proxy>, Told),
    Bare(Box<BareInstance>),
}

type Told = Arc<Mutex<Seen>>;

/// What a proxy has told.
#[derive(Default)]
struct Seen {
    swaps: Vec<Swapped>,
    recovered: Option<Recovered>,
}

/// What the calls gave.
struct Tally {
    variables: Vec<Variable>,
    batch: Batch,
    digest: blake3::Hasher,
    calls: usize,
    failures: Vec<String>,
}

/// The steps of a workload with the turn of the repeat that each is in, one after the other. The
/// workload stays until the worker ends.
struct Steps(Vec<(&'static [BoundStep], usize, u64, u64)>);

impl Steps {
    fn new(bound: Bound) -> Self {
        let steps: &'static [BoundStep] = Box::leak(bound.steps.into_boxed_slice());
        Self(vec![(steps, 0, 0, 1)])
    }
}

impl Iterator for Steps {
    /// A call or a scope, and its turn.
    type Item = (&'static BoundStep, u64);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (steps, at, turn, times) = self.0.last_mut()?;
            let Some(step) = steps.get(*at) else {
                (*at, *turn) = (0, *turn + 1);
                if *turn >= *times {
                    self.0.pop();
                }
                continue;
            };
            *at += 1;
            match step {
                BoundStep::Repeat { times, steps } if *times > 0 => {
                    self.0.push((steps, 0, 0, *times));
                }
                BoundStep::Repeat { .. } => {}
                _ => return Some((step, *turn)),
            }
        }
    }
}

impl Tally {
    /// Makes the calls of a step. Whether a further one makes sense.
    fn step<C: ScopedCallee>(&mut self, callee: &mut C, step: &BoundStep, turn: u64) -> bool
    where
        C::Error: Error,
    {
        let (variables, batch) = (&mut self.variables, &mut self.batch);
        batch.clear();
        let outcome = match step {
            BoundStep::Call(call) => perform(callee, call, turn, variables, batch, Instant::now()),
            BoundStep::Pinned(scope) => perform_scope(callee, scope, turn, variables, batch),
            BoundStep::Repeat { .. } => return true,
        };
        self.digest.update(&self.batch.results);
        self.calls += self.batch.latencies.len();
        self.failures.append(&mut self.batch.failures);
        match outcome {
            Ok(()) => true,
            Err(failure) => {
                self.failures.push(described(&failure));
                false
            }
        }
    }
}

fn described<E: Error>(failure: &Failure<'_, E>) -> String {
    let mut text = match &failure.why {
        Why::Call(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            text
        }
        Why::Argument(reason) => reason.clone(),
    };
    if let Some(call) = failure.call {
        text = format!("line {}: `{}`: {text}", call.line, call.export);
    }
    text
}

impl Run {
    fn open(inputs: &[Vec<u8>], settings: &Value) -> Result<Self, Box<dyn Error>> {
        let [wasm, policy, text] = inputs else {
            return Err("give a module, a policy and a workload".into());
        };
        let (wasm, policy, text) = if settings["hosted"] == json!(true) {
            let is_deep = settings["deep"] == json!(true);
            let text = if is_deep {
                hosted::DEEP
            } else {
                hosted::WORKLOAD
            };
            (hosted::wasm(), hosted::POLICY, text)
        } else {
            (wasm.clone(), str::from_utf8(policy)?, str::from_utf8(text)?)
        };
        let mut workload = Workload::parse("workload", text)?;
        if let Some(turns) = settings["turns"].as_u64() {
            workload.repeat_instead(turns);
        }
        let limits = Limits {
            memory_bytes_max: settings["limitMiB"].as_u64().map(|mib| mib << 20),
            ..Limits::default()
        };
        let (subject, bound) = if settings["bare"] == json!(true) {
            let module = Browser::default().compile(&wasm)?;
            let bare = Bare::new(module, &policy.parse()?, hosted::imports(), limits)?;
            let bound = workload.bind(&|name| bare.export(name), true)?;
            (Subject::Bare(Box::new(bare.instance()?)), bound)
        } else {
            let (proxy, seen) = open_proxy(&wasm, &policy.parse()?, limits, settings)?;
            let bound = workload.bind(&|name| proxy.export(name), true)?;
            (Subject::Proxy(Box::new(proxy), seen), bound)
        };
        Ok(Self {
            subject,
            tally: Tally {
                variables: vec![Variable::Empty; bound.variables],
                batch: Batch {
                    anonymous: true,
                    ..Batch::default()
                },
                digest: blake3::Hasher::new(),
                calls: 0,
                failures: Vec::new(),
            },
            steps: Steps::new(bound),
        })
    }

    /// Makes so many steps, or fewer if there are no more. Whether there may be more.
    fn advance(&mut self, steps: u32) -> bool {
        for _ in 0..steps {
            let Some((step, turn)) = self.steps.next() else {
                return false;
            };
            let goes_on = match &mut self.subject {
                Subject::Bare(instance) => self.tally.step(&mut **instance, step, turn),
                Subject::Proxy(proxy, _) => {
                    let goes_on = self.tally.step(&mut **proxy, step, turn);
                    // In place of a supervisor, whose thread there is not.
                    proxy.tick(Instant::now());
                    goes_on
                }
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    fn shown(&self) -> Value {
        let mut shown = json!({
            "calls": self.tally.calls,
            "failures": self.tally.failures,
            "digest": self.tally.digest.finalize().to_hex().as_str(),
            "proxyOwnBytes": own_bytes(),
        });
        match &self.subject {
            Subject::Bare(instance) => {
                shown["memory"] = json!(instance.memory_bytes());
                shown["died"] = json!(instance.died());
            }
            Subject::Proxy(proxy, seen) => {
                let info = proxy.debug_info();
                shown["engine"] = json!(info.engine.to_string());
                shown["memory"] = json!(info.memory);
                shown["swaps"] = json!(info.swaps);
                shown["emergencies"] = json!(info.emergencies);
                shown["entriesVerified"] = json!(info.entries_verified);
                shown["divergences"] = json!(info.divergences);
                shown["journalEntries"] = json!(info.journal_entries);
                shown["journalBytes"] = json!(info.journal_bytes);
                shown["generationsAlive"] = json!(info.generations_alive);
                shown["retries"] = json!(info.retries);
                shown["lastError"] = json!(info.last_error);
                shown["obstacles"] = json!(info.checkpoint_obstacles);
                shown["checkpointBytes"] = json!(info.checkpoint.map(|taken| taken.bytes));
                shown["objects"] = json!(info.objects);
                shown["hostCalls"] = json!(hosted::ASKED.load(Ordering::Relaxed));
                if let Ok(seen) = seen.lock() {
                    shown["list"] = seen.swaps.iter().map(swap).collect();
                    shown["recovered"] = seen.recovered.map_or(Value::Null, |recovered| {
                        json!({
                            "entries": recovered.entries,
                            "objects": recovered.objects,
                            "memory": recovered.memory,
                            "microseconds": micros(recovered.duration),
                        })
                    });
                }
            }
        }
        shown
    }

    /// Compacts the journal, replays it on an engine of its own, and compares.
    fn verified(&self) -> Result<Value, Box<dyn Error>> {
        let Subject::Proxy(proxy, _) = &self.subject else {
            return Err("a bare instance has no journal".into());
        };
        proxy.compact()?;
        let report = proxy.verify_on(Browser::default())?;
        let digests = proxy.journal_digests().into_iter();
        let journal = digests.map(|digest| blake3::Hash::from_bytes(digest).to_hex().to_string());
        Ok(json!({
            "journal": journal.collect::<Vec<_>>(),
            "entries": report.entries,
            "memory": report.memory,
            "microseconds": micros(report.duration),
        }))
    }
}

fn open_proxy(
    wasm: &[u8],
    policy: &Policy,
    limits: Limits,
    settings: &Value,
) -> Result<(Proxy, Told), Box<dyn Error>> {
    let seen = Told::default();
    let told = Arc::clone(&seen);
    let mut builder = Proxy::builder(Browser::default())
        .module(wasm)
        .policy(policy.clone())
        .imports(hosted::imports())
        .limits(limits)
        .on_event(move |event| {
            let Ok(mut told) = told.lock() else { return };
            match event {
                Event::SwapComplete(swapped) => told.swaps.push(*swapped),
                Event::Recovered(recovered) => told.recovered = Some(*recovered),
                _ => {}
            }
        });
    if settings["journal"] == json!(true) {
        let journal = FileJournal::open(Identity::of(wasm, policy)?)?;
        builder = builder.journal(Arc::new(journal), Durability::Durable);
    }
    Ok((builder.build()?, seen))
}

fn swap(swapped: &Swapped) -> Value {
    json!({
        "reason": format!("{:?}", swapped.reason),
        "to": swapped.to,
        "before": swapped.memory_before,
        "after": swapped.memory_after,
        "prepare": micros(swapped.prepare),
        "pause": micros(swapped.pause),
        "tail": swapped.tail,
    })
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The size of this module's own memory: what journal, images and code of the proxy take.
fn own_bytes() -> usize {
    #[cfg(target_family = "wasm")]
    let pages = std::arch::wasm32::memory_size(0);
    #[cfg(not(target_family = "wasm"))]
    let pages = 0;
    pages << 16
}

/// Makes room for an input, and returns its address.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "JavaScript finds it by its name")]
pub extern "C" fn spike_buffer(len: usize) -> *mut u8 {
    INPUTS.with_borrow_mut(|inputs| {
        inputs.push(vec![0; len]);
        let last = inputs.last_mut();
        last.map_or(std::ptr::null_mut(), Vec::as_mut_ptr)
    })
}

/// Begins a workload: the inputs are a module, a policy, a workload, and settings as JSON. 1 if that
/// works; [`spike_report`] says why it does not.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "JavaScript finds it by its name")]
pub extern "C" fn spike_open() -> i32 {
    let mut inputs = INPUTS.take();
    let opened = inputs
        .pop()
        .ok_or_else(|| "there are no inputs".into())
        .and_then(|settings| Ok(serde_json::from_slice(&settings)?))
        .and_then(|settings| Run::open(&inputs, &settings));
    match opened {
        Ok(run) => {
            RUN.set(Some(run));
            1
        }
        Err(error) => {
            OUTPUT.set(json!({ "error": error.to_string() }).to_string());
            0
        }
    }
}

/// Makes so many steps. 1 if there are more.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "JavaScript finds it by its name")]
pub extern "C" fn spike_advance(steps: u32) -> i32 {
    RUN.with_borrow_mut(|run| run.as_mut().is_some_and(|run| run.advance(steps)).into())
}

/// Writes what happened so far. Its length in bytes.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "JavaScript finds it by its name")]
pub extern "C" fn spike_report() -> usize {
    RUN.with_borrow(|run| {
        if let Some(run) = run {
            OUTPUT.set(run.shown().to_string());
        }
    });
    OUTPUT.with_borrow(String::len)
}

/// Replays the journal on a fresh instance and writes what that gave. The length in bytes.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "JavaScript finds it by its name")]
pub extern "C" fn spike_verify() -> usize {
    let verified = RUN.with_borrow(|run| match run {
        Some(run) => run.verified(),
        None => Err("nothing is open".into()),
    });
    let verified = verified.unwrap_or_else(|error| json!({ "error": error.to_string() }));
    OUTPUT.set(verified.to_string());
    OUTPUT.with_borrow(String::len)
}

/// Where the last text lies.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "JavaScript finds it by its name")]
pub extern "C" fn spike_output() -> *const u8 {
    OUTPUT.with_borrow(|output| output.as_ptr())
}

/// Room for the slots of a host function's call, and back.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "JavaScript finds it by its name")]
pub extern "C" fn spike_slots(len: usize) -> *mut engine_api::Slot {
    let slots = vec![engine_api::Slot::default(); len].into_boxed_slice();
    Box::into_raw(slots).cast()
}

/// Ends what [`spike_slots`] began.
///
/// # Safety
///
/// They come from [`spike_slots`] with the same length, and nobody uses them any more.
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "JavaScript calls it with a pointer; see SAFETY")]
pub unsafe extern "C" fn spike_free_slots(slots: *mut engine_api::Slot, len: usize) {
    // SAFETY: as our own.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(slots, len)) });
}

#[cfg(not(target_family = "wasm"))]
fn main() {}
