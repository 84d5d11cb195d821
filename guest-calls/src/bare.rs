//! Instances without a proxy, called by the same policy, to compare a proxy with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_api::{Extern, Imports, Limits, Module, ModuleInfo};
use smallvec::SmallVec;

use crate::policy::plan::{ExportPlan, Plan};
use crate::{
    Arg, BoundInstance, CallError, CallFailure, Callee, Effect, ExportInfo, Handle, ObjectTable,
    Policy, PolicyError, Results, Scope, ScopedCallee, SequenceNumber, new_handle_tag,
};

/// A module with its policy, from which bare instances are made. They are like those of a program
/// that embeds the engine and translates arguments and results by hand: nothing is journaled, no
/// fingerprint is taken, and a dead instance stays dead. Nothing notices when a host function
/// swallows the trap of a nested call.
///
/// It exists to compare with a proxy, on the same module and the same calls.
///
/// ```
/// # #[path = "../../proxy-core/tests/fake/mod.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use engine_api::{Engine, Imports, Limits};
/// use guest_calls::{Bare, Policy, args};
///
/// let engine = fake::FakeEngine::counter();
/// let module = engine.compile(&fake::counter_wasm())?;
/// let policy: Policy = r#"
///     [[export]]
///     match = "counter_new"
///     role = "create"
///     results = ["handle"]
///     [[export]]
///     match = "counter_value"
///     role = "pure"
///     args = ["handle"]
/// "#.parse()?;
/// let bare = Bare::new(module, &policy, Imports::new(), Limits::default())?;
/// let mut instance = bare.instance()?;
/// let counter = instance.call("counter_new", args![])?.handle()?;
/// assert_eq!(instance.call("counter_value", args![counter])?.i32()?, 0);
/// assert!(instance.died().is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Bare {
    module: Arc<dyn Module>,
    imports: Imports,
    limits: Limits,
    plan: Arc<Plan>,
    memory_limit: u64,
}

impl Bare {
    /// Binds a policy to a compiled module.
    ///
    /// # Errors
    ///
    /// The policy does not fit the module.
    pub fn new(
        module: Arc<dyn Module>,
        policy: &Policy,
        imports: Imports,
        limits: Limits,
    ) -> Result<Self, PolicyError> {
        let info = module.info();
        let plan = Arc::new(Plan::bind(policy, info)?);
        Ok(Self {
            memory_limit: memory_limit(&limits, info),
            module,
            imports,
            limits,
            plan,
        })
    }

    /// A new instance.
    ///
    /// # Errors
    ///
    /// The engine refuses the imports or the limits, or the start function fails.
    pub fn instance(&self) -> Result<BareInstance, engine_api::Error> {
        let side_effects = SideEffects::default();
        let imports = side_effects.watch(&self.imports, &self.plan);
        let instance = self.module.instantiate(&imports, &self.limits)?;
        let plan = Arc::clone(&self.plan);
        // Each has a tag of its own: a handle of an instance that is gone is an error, and not
        // another object.
        let tag = new_handle_tag();
        Ok(BareInstance {
            bound: BoundInstance::new(instance, plan, ObjectTable::default(), tag),
            side_effects,
            memory_limit: self.memory_limit,
            last: SequenceNumber::ZERO,
            scope: 0,
            died: None,
        })
    }

    /// Describes an export, by the policy and the module.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownExport`].
    pub fn export(&self, name: &str) -> Result<ExportInfo, CallError> {
        let plan = self.plan.named(self.module.info(), name)?;
        Ok(ExportInfo::of(plan))
    }

    /// The memory limit of an instance, in bytes: the smaller of the given limit and the module's
    /// own maximum.
    #[must_use]
    pub fn memory_limit_bytes(&self) -> u64 {
        self.memory_limit
    }
}

/// The memory limit of an instance, in bytes: the smaller of the given limit and the module's own
/// maximum. `u64::MAX` for a module without memories and limit.
#[must_use]
pub fn memory_limit(limits: &Limits, info: &ModuleInfo) -> u64 {
    let own = if info.memories().is_empty() {
        u64::MAX
    } else {
        info.memory_bytes_max()
    };
    limits.memory_bytes_max.unwrap_or(u64::MAX).min(own)
}

/// An instance without a proxy. See [`Bare`].
pub struct BareInstance {
    bound: BoundInstance,
    side_effects: SideEffects,
    memory_limit: u64,
    last: SequenceNumber,
    scope: u64,
    died: Option<String>,
}

/// Whether host functions with effects outside have run in the call.
#[derive(Clone, Debug, Default)]
struct SideEffects(Arc<AtomicBool>);

impl SideEffects {
    /// The imports. Those with effects outside note that they have run.
    fn watch(&self, imports: &Imports, plan: &Plan) -> Imports {
        let mut watched = Imports::new();
        for (module, name, item) in imports.iter() {
            let item = match item {
                Extern::Func(func) if !func.is_local() && plan.effect(func) == Effect::External => {
                    let (had, inner) = (Arc::clone(&self.0), func.clone());
                    Extern::Func(func.replaced(move |caller, args, results| {
                        had.store(true, Ordering::Relaxed);
                        inner.invoke(caller, args, results)
                    }))
                }
                item => item.clone(),
            };
            watched.define(module, name, item);
        }
        watched
    }
}

impl BareInstance {
    /// Calls an export by name, with arguments and results by the policy.
    ///
    /// # Errors
    ///
    /// [`CallError::Died`] once it is dead; otherwise why the call gave no result. Where that kills
    /// the instance, [`BareInstance::died`] says so.
    pub fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, CallError> {
        let plan = Arc::clone(self.plan_of(export)?);
        self.run(&plan, args)
    }

    /// Begins a scope: older raw pointers are stale from here on, as they are outside of a pinned
    /// scope.
    pub fn begin_scope(&mut self) {
        self.scope += 1;
    }

    /// An object that `create` made, as bytes: `None` if the policy names no artifact for that
    /// export, or the module gives nothing.
    ///
    /// # Errors
    ///
    /// As [`BareInstance::call`].
    pub fn export_artifact(
        &mut self,
        create: &str,
        object: Handle,
    ) -> Result<Option<Vec<u8>>, CallError> {
        let Some(artifact) = self.plan_of(create)?.artifact else {
            return Ok(None);
        };
        let export = Arc::clone(self.bound.plan.export(artifact.export));
        let results = self.run(&export, &[Arg::Handle(object)])?;
        Ok(results.bytes().ok())
    }

    /// Makes an object from what [`BareInstance::export_artifact`] gave, in place of a call of
    /// `create` with `args`.
    ///
    /// # Errors
    ///
    /// As [`BareInstance::call`]; [`CallError::NoArtifact`] if the policy names none for that
    /// export.
    pub fn import_artifact(
        &mut self,
        create: &str,
        args: &[Arg<'_>],
        bytes: &[u8],
    ) -> Result<Results, CallError> {
        let created = Arc::clone(self.plan_of(create)?);
        let Some(artifact) = created.artifact else {
            return Err(CallError::NoArtifact {
                export: create.to_owned(),
            });
        };
        let import = Arc::clone(self.bound.plan.export(artifact.import));
        let given: SmallVec<[Arg<'_>; 4]> = import
            .args
            .iter()
            .map(
                |kind| match created.args.iter().position(|own| own == kind) {
                    Some(position) if !kind.takes_artifact() => args
                        .get(position)
                        .cloned()
                        .ok_or_else(|| CallError::Argument {
                            export: create.to_owned(),
                            position,
                            expected: "as many as the creating call takes".to_owned(),
                            got: format!("{}", args.len()),
                        }),
                    _ => Ok(Arg::Bytes(bytes)),
                },
            )
            .collect::<Result<_, _>>()?;
        self.run(&import, &given)
    }

    /// The size of its memories, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.bound.memory_bytes()
    }

    /// What killed it, if it is dead.
    #[must_use]
    pub fn died(&self) -> Option<&str> {
        self.died.as_deref()
    }

    fn plan_of(&self, name: &str) -> Result<&Arc<ExportPlan>, CallError> {
        let info = self.bound.instance.info();
        self.bound.plan.named(info, name)
    }

    fn run(&mut self, plan: &ExportPlan, args: &[Arg<'_>]) -> Result<Results, CallError> {
        if let Some(cause) = &self.died {
            return Err(CallError::Died {
                cause: cause.clone(),
            });
        }
        let sequence = if plan.role.is_journaled() {
            self.last = self.last.next();
            self.last
        } else {
            SequenceNumber::ZERO
        };
        self.side_effects.0.store(false, Ordering::Relaxed);
        self.attempt(plan, args, sequence)
            .map_err(|failure| self.failed(plan, failure))
    }

    fn attempt(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
    ) -> Result<Results, CallFailure> {
        plan.check_args(args)?;
        self.bound.needed(plan)?;
        // What earlier calls met is not this one's.
        self.bound.growth_refused();
        let scope = Some(Scope::pinned(self.scope));
        let ran = self.bound.run(plan, args, sequence, scope)?;
        self.bound.forget_consumed(plan, args);
        ran.accepted(plan)
    }

    #[cold]
    fn failed(&mut self, plan: &ExportPlan, failure: CallFailure) -> CallError {
        let export = plan.name.to_string();
        let refused = self.bound.growth_refused();
        let error = match failure {
            CallFailure::Refused(error) | CallFailure::Rejected(error) => return error,
            CallFailure::NoSuchHandle(handle) => return CallError::FreedHandle { handle },
            CallFailure::Garbled(error) if !plan.role.is_journaled() => return error,
            CallFailure::Garbled(error) => error,
            CallFailure::Exhausted => self.out_of_memory(export, refused),
            CallFailure::Ended(source) => match *source {
                engine_api::Error::Trap(trap)
                    if self.is_full() || (refused.is_some() && trap.may_be_allocation()) =>
                {
                    self.out_of_memory(export, refused)
                }
                engine_api::Error::Trap(trap) => CallError::Trapped {
                    export,
                    trap,
                    retried: false,
                    side_effects: self.side_effects.0.load(Ordering::Relaxed),
                },
                engine_api::Error::Host { .. } | engine_api::Error::HostPanicked { .. } => {
                    CallError::HostFailed { export, source }
                }
                engine_api::Error::Exit { code } => CallError::Exited { export, code },
                _ => CallError::Engine(source),
            },
        };
        self.died = Some(error.to_string());
        error
    }

    /// Whether a trap now is most likely a failed allocation: guests panic and abort alike.
    fn is_full(&self) -> bool {
        self.memory_bytes() >= self.memory_limit / 10 * 9
    }

    fn out_of_memory(&self, export: String, refused: Option<u64>) -> CallError {
        CallError::out_of_memory(export, self.memory_bytes(), self.memory_limit, refused)
    }
}

impl Callee for BareInstance {
    type Error = CallError;

    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, CallError> {
        BareInstance::call(self, export, args)
    }
}

impl ScopedCallee for BareInstance {
    fn scope<T, E: From<CallError>>(
        &mut self,
        mut run: impl FnMut(&mut dyn Callee<Error = CallError>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.begin_scope();
        run(self)
    }
}

impl fmt::Debug for BareInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BareInstance")
            .field("memory_bytes", &self.memory_bytes())
            .field("died", &self.died)
            .finish_non_exhaustive()
    }
}
