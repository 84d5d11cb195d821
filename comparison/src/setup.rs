//! A job bound to a compiled module. It makes instances that have the state.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use engine_api::{Engine, Module, Precompiled};
use proxy_core::{
    Arg, Bare, BareInstance, CallError, Callee, Results, ScopedCallee, Value, with_causes,
};
use workload::bind::{Bound, BoundStep};
use workload::perform::{Batch, Failure, Variable, Why, perform, perform_scope};

use crate::Job;

/// A job bound to a module that an engine compiled.
#[derive(Debug)]
pub struct Setup {
    pub(crate) job: Job,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) module: Arc<dyn Module>,
    pub(crate) bare: Bare,
    bound: Bound,
    at: usize,
}

/// An instance with the state, or a proxy with it.
pub(crate) struct Live<S> {
    pub(crate) site: S,
    pub(crate) variables: Vec<Variable>,
}

/// The objects of a state as bytes, in the order of the calls that make it; `None` for calls
/// without an artifact.
pub(crate) type Artifacts = Vec<Option<Vec<u8>>>;

/// The reason why a turn failed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) cause: String,
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        Self {
            cause: with_causes(&*error),
        }
    }
}

/// A bare instance or a proxy, which takes the calls and scopes of a job.
pub(crate) trait Site: ScopedCallee<Error: Error + Send + Sync + 'static> {}

impl<C: ScopedCallee<Error: Error + Send + Sync + 'static>> Site for C {}

/// Builds a state. With `from` objects are made of its bytes, and by calls where it has none;
/// without it, the objects that the policy can write as bytes are exported into `made`.
struct Building<'a> {
    instance: BareInstance,
    from: Option<VecDeque<&'a Option<Vec<u8>>>>,
    made: Artifacts,
}

impl Callee for Building<'_> {
    type Error = CallError;

    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, CallError> {
        if let Some(from) = &mut self.from {
            return match from.pop_front() {
                Some(Some(bytes)) => self.instance.import_artifact(export, args, bytes),
                _ => self.instance.call(export, args),
            };
        }
        let results = self.instance.call(export, args)?;
        let made = match results.as_slice() {
            [Value::Handle(object)] => self.instance.export_artifact(export, *object)?,
            _ => None,
        };
        self.made.push(made);
        Ok(results)
    }
}

impl ScopedCallee for Building<'_> {
    fn scope<T, E: From<CallError>>(
        &mut self,
        mut run: impl FnMut(&mut dyn Callee<Error = CallError>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.instance.begin_scope();
        run(self)
    }
}

impl Setup {
    /// Compiles the module, or loads it compiled, and checks the workload against it.
    ///
    /// # Errors
    ///
    /// The engine refuses the module; the policy or the workload does not fit it; the workload
    /// repeats nothing.
    pub fn new(job: Job, engine: Arc<dyn Engine>, compiled: Option<&Precompiled>) -> Result<Self> {
        let at = job.repeat()?;
        let module = match compiled {
            Some(compiled) => engine.load(&job.wasm, compiled)?,
            None => engine.compile(&job.wasm)?,
        };
        let bare = Bare::new(
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

    /// The precompiled module, if the engine can make one.
    #[must_use]
    pub fn compiled(&self) -> Option<Precompiled> {
        self.module.precompiled().ok()
    }

    /// The number of turns of the compared repeat.
    #[must_use]
    pub fn turns(&self) -> u64 {
        match &self.bound.steps[self.at] {
            BoundStep::Repeat { times, .. } => *times,
            _ => 0,
        }
    }

    /// Numbers of calls: those that build the state, those of one turn, and those after the repeat,
    /// which are left out.
    #[must_use]
    pub fn calls(&self) -> (u64, u64, u64) {
        let steps = &self.job.workload.steps;
        let turn = workload::Workload::count(&steps[self.at..=self.at]) / self.turns().max(1);
        let count = workload::Workload::count;
        (count(&steps[..self.at]), turn, count(&steps[self.at + 1..]))
    }

    /// Whether any object of the state has an artifact.
    pub(crate) fn has_artifacts(&self) -> Result<bool> {
        Ok(self.artifacts()?.iter().any(Option::is_some))
    }

    /// A bare instance with the state.
    pub(crate) fn instance(&self) -> Result<Live<BareInstance>> {
        self.with_state(self.bare.instance()?)
    }

    /// The objects of a state as bytes.
    pub(crate) fn artifacts(&self) -> Result<Artifacts> {
        Ok(self.built(None)?.site.made)
    }

    /// A bare instance with the state, made from artifacts where there are any.
    pub(crate) fn instance_from(&self, artifacts: &Artifacts) -> Result<Live<BareInstance>> {
        let Live { site, variables } = self.built(Some(artifacts))?;
        Ok(Live {
            site: site.instance,
            variables,
        })
    }

    fn built<'a>(&self, from: Option<&'a Artifacts>) -> Result<Live<Building<'a>>> {
        self.with_state(Building {
            instance: self.bare.instance()?,
            from: from.map(|artifacts| artifacts.iter().collect()),
            made: Artifacts::new(),
        })
    }

    /// Builds the state on a new instance or proxy.
    pub(crate) fn with_state<S: Site>(&self, site: S) -> Result<Live<S>> {
        let mut live = Live {
            site,
            variables: vec![Variable::Empty; self.bound.variables],
        };
        let mut results = Vec::new();
        let steps = &self.bound.steps[..self.at];
        if let Err(Ended { cause }) = live.steps(steps, 0, &mut results) {
            bail!("the state cannot be built: {}: {cause}", self.bound.name);
        }
        Ok(live)
    }

    /// Makes a turn, and appends its results to `results`.
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
            let (site, variables) = (&mut self.site, &mut self.variables);
            let (line, outcome) = match step {
                BoundStep::Repeat { times, steps } => {
                    for turn in 0..*times {
                        self.steps(steps, turn, results)?;
                    }
                    continue;
                }
                BoundStep::Call(call) => {
                    let started = Instant::now();
                    let outcome = perform(site, call, index, variables, &mut batch, started);
                    (call.line, outcome)
                }
                BoundStep::Pinned(scope) => {
                    let outcome = perform_scope(site, scope, index, variables, &mut batch);
                    (scope.line, outcome)
                }
            };
            settle(line, outcome, &batch)?;
            results.extend_from_slice(&batch.results);
        }
        Ok(())
    }
}

fn settle<E: Error + Send + Sync + 'static>(
    line: usize,
    outcome: Result<(), Failure<'_, E>>,
    batch: &Batch,
) -> Result<(), Ended> {
    let cause = match outcome {
        Err(Failure { call, why }) => {
            let line = call.map_or(line, |call| call.line);
            let why = match why {
                Why::Call(error) => with_causes(&error),
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
