//! A job bound to a compiled module: what instances with the state are made from.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use engine_api::{Engine, Module, Precompiled};
use proxy_core::{Arg, Bare, BareInstance, Error, Proxy, Results, Value};
use workload::bind::{Bound, BoundCall, BoundStep, Scope};
use workload::perform::{
    Batch, Callee, Failure, Slot, Why, perform, perform_pinned, perform_scope,
};

use crate::Job;

/// A job bound to a module that an engine compiled.
#[derive(Debug)]
pub struct Kit {
    pub(crate) job: Job,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) module: Arc<dyn Module>,
    pub(crate) bare: Bare,
    bound: Bound,
    at: usize,
}

/// An instance that has the state, or what behaves like one.
pub(crate) struct Live<S> {
    pub(crate) site: S,
    pub(crate) slots: Vec<Slot>,
}

/// The objects of a state as bytes, in the order of the calls that make it; `None` for calls without an artifact.
pub(crate) type Artifacts = Vec<Option<Vec<u8>>>;

/// Why a turn ended before its end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) cause: String,
}

/// Where calls and scopes are made.
pub(crate) trait Site {
    fn call<'a>(
        &mut self,
        call: &'a BoundCall,
        index: u64,
        slots: &mut [Slot],
        batch: &mut Batch,
    ) -> Result<(), Failure<'a>>;

    fn scope<'a>(
        &mut self,
        scope: &'a Scope,
        index: u64,
        slots: &mut [Slot],
        batch: &mut Batch,
    ) -> Result<(), Failure<'a>>;
}

impl Site for Proxy {
    fn call<'a>(
        &mut self,
        call: &'a BoundCall,
        index: u64,
        slots: &mut [Slot],
        batch: &mut Batch,
    ) -> Result<(), Failure<'a>> {
        let mut callee = &*self;
        perform(&mut callee, call, index, slots, batch, Instant::now())
    }

    fn scope<'a>(
        &mut self,
        scope: &'a Scope,
        index: u64,
        slots: &mut [Slot],
        batch: &mut Batch,
    ) -> Result<(), Failure<'a>> {
        perform_pinned(self, scope, index, slots, batch)
    }
}

impl<C: Callee + Scoped> Site for C {
    fn call<'a>(
        &mut self,
        call: &'a BoundCall,
        index: u64,
        slots: &mut [Slot],
        batch: &mut Batch,
    ) -> Result<(), Failure<'a>> {
        perform(self, call, index, slots, batch, Instant::now())
    }

    fn scope<'a>(
        &mut self,
        scope: &'a Scope,
        index: u64,
        slots: &mut [Slot],
        batch: &mut Batch,
    ) -> Result<(), Failure<'a>> {
        self.begin_scope();
        perform_scope(self, scope, index, slots, batch, Instant::now())
    }
}

/// What has one instance, on which scopes begin.
pub(crate) trait Scoped {
    fn begin_scope(&mut self);
}

impl Scoped for BareInstance {
    fn begin_scope(&mut self) {
        BareInstance::begin_scope(self);
    }
}

/// Builds a state, and exports what it can of it.
struct Exporting {
    instance: BareInstance,
    artifacts: Artifacts,
}

impl Callee for Exporting {
    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        let results = self.instance.call(export, args)?;
        let made = match results.as_slice() {
            [Value::Handle(object)] => self.instance.export_artifact(export, *object)?,
            _ => None,
        };
        self.artifacts.push(made);
        Ok(results)
    }
}

impl Scoped for Exporting {
    fn begin_scope(&mut self) {
        self.instance.begin_scope();
    }
}

/// Builds a state from what was exported, and by calls where nothing was.
struct Importing<'a> {
    instance: BareInstance,
    artifacts: VecDeque<&'a Option<Vec<u8>>>,
}

impl Callee for Importing<'_> {
    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        match self.artifacts.pop_front() {
            Some(Some(bytes)) => self.instance.import_artifact(export, args, bytes),
            _ => self.instance.call(export, args),
        }
    }
}

impl Scoped for Importing<'_> {
    fn begin_scope(&mut self) {
        self.instance.begin_scope();
    }
}

impl Kit {
    /// Compiles the module, or loads what an earlier kit compiled, and checks the workload against it.
    ///
    /// # Errors
    ///
    /// The engine refuses the module; the policy or the workload does not fit it; the workload repeats nothing.
    pub fn new(job: Job, engine: Arc<dyn Engine>, compiled: Option<&Precompiled>) -> Result<Self> {
        let at = job.repeat()?;
        let module = match compiled {
            Some(compiled) => engine.load(&job.wasm, compiled)?,
            None => engine.compile(&job.wasm)?,
        };
        let bare = Bare::new(
            engine.id(),
            Arc::clone(&module),
            &job.policy,
            job.imports.clone(),
            job.limits.clone(),
        )?;
        let bound = job
            .workload
            .bind(&|name| bare.export(name), job.policy.strict)?;
        Ok(Self {
            job,
            engine,
            module,
            bare,
            bound,
            at,
        })
    }

    /// The compiled module in the form for a file, where the engine has one.
    #[must_use]
    pub fn compiled(&self) -> Option<Precompiled> {
        self.module.precompiled().ok()
    }

    /// How many turns the compared repeat has.
    #[must_use]
    pub fn turns(&self) -> u64 {
        match &self.bound.steps[self.at] {
            BoundStep::Repeat { times, .. } => *times,
            _ => 0,
        }
    }

    /// How many calls build the state, one turn makes, and stand after the repeat and are left out.
    #[must_use]
    pub fn calls(&self) -> (u64, u64, u64) {
        let steps = &self.job.workload.steps;
        let turn = workload::Workload::count(&steps[self.at..=self.at]) / self.turns().max(1);
        let count = workload::Workload::count;
        (count(&steps[..self.at]), turn, count(&steps[self.at + 1..]))
    }

    /// Whether anything of a state can be exported.
    pub(crate) fn has_artifacts(&self) -> Result<bool> {
        Ok(self.artifacts()?.iter().any(Option::is_some))
    }

    /// A bare instance with the state.
    pub(crate) fn instance(&self) -> Result<Live<BareInstance>> {
        self.with_state(self.bare.instance()?)
    }

    /// What can be exported of a state.
    pub(crate) fn artifacts(&self) -> Result<Artifacts> {
        let live = self.with_state(Exporting {
            instance: self.bare.instance()?,
            artifacts: Artifacts::new(),
        })?;
        Ok(live.site.artifacts)
    }

    /// A bare instance with the state, made from artifacts as far as there are any.
    pub(crate) fn instance_from(&self, artifacts: &Artifacts) -> Result<Live<BareInstance>> {
        let Live { site, slots } = self.with_state(Importing {
            instance: self.bare.instance()?,
            artifacts: artifacts.iter().collect(),
        })?;
        Ok(Live {
            site: site.instance,
            slots,
        })
    }

    /// Builds the state on something new.
    pub(crate) fn with_state<S: Site>(&self, site: S) -> Result<Live<S>> {
        let mut live = Live {
            site,
            slots: vec![Slot::Empty; self.bound.slots],
        };
        let mut results = Vec::new();
        let steps = &self.bound.steps[..self.at];
        if let Err(Ended { cause }) = live.steps(steps, 0, &mut results) {
            bail!("the state cannot be built: {}: {cause}", self.bound.name);
        }
        Ok(live)
    }

    /// Makes a turn. What it gave is appended to `results`.
    pub(crate) fn turn<S: Site>(
        &self,
        live: &mut Live<S>,
        index: u64,
        results: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        match &self.bound.steps[self.at] {
            BoundStep::Repeat { steps, .. } => live.steps(steps, index, results),
            _ => unreachable!("it was chosen because it is a repeat"),
        }
    }
}

impl<S: Site> Live<S> {
    fn steps(
        &mut self,
        steps: &[BoundStep],
        index: u64,
        results: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        for step in steps {
            let mut batch = Batch {
                anonymous: true,
                ..Batch::default()
            };
            let (line, outcome) = match step {
                BoundStep::Repeat { times, steps } => {
                    for turn in 0..*times {
                        self.steps(steps, turn, results)?;
                    }
                    continue;
                }
                BoundStep::Call(call) => {
                    let outcome = self.site.call(call, index, &mut self.slots, &mut batch);
                    (call.line, outcome)
                }
                BoundStep::Pinned(scope) => {
                    let outcome = self.site.scope(scope, index, &mut self.slots, &mut batch);
                    (scope.line, outcome)
                }
            };
            settle(line, outcome, &batch)?;
            results.extend_from_slice(&batch.results);
        }
        Ok(())
    }
}

fn settle(line: usize, outcome: Result<(), Failure<'_>>, batch: &Batch) -> Result<(), Ended> {
    let cause = match outcome {
        Err(Failure { call, why }) => {
            let line = call.map_or(line, |call| call.line);
            let why = match why {
                Why::Proxy(error) => format!("{:#}", anyhow::Error::new(error)),
                Why::Argument(why) => why,
            };
            format!("line {line}: {why}")
        }
        Ok(()) => match batch.failures.first() {
            None => return Ok(()),
            Some(failure) => failure.clone(),
        },
    };
    Err(Ended { cause })
}
