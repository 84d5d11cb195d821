//! Instances without a proxy, called by the same policy: what a proxy is compared with.

use std::fmt;
use std::sync::Arc;

use engine_api::{EngineId, Imports, Limits, Module};
use smallvec::SmallVec;

use super::{Blueprint, CallFailure, Guest, new_proxy_tag};
use crate::memory::mib;
use crate::policy::ArgKind;
use crate::policy::bind::similar;
use crate::policy::plan::{ExportPlan, Plan};
use crate::value::{Arg, Results};
use crate::{Error, ExportInfo, Handle, Policy, SequenceNumber, Thresholds};

/// A module with its policy, of which bare instances are made: what somebody has who embeds the engine and
/// translates arguments and results by hand. Nothing is journaled, no fingerprint is taken, and what dies stays dead.
///
/// It exists to compare a proxy with, on the same module and the same calls.
///
/// ```
/// # #[path = "../../proxy-core/tests/fake/mod.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use engine_api::{Engine, Imports, Limits};
/// use proxy_core::{Bare, Policy, args};
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
/// let bare = Bare::new(engine.id(), module, &policy, Imports::new(), Limits::default())?;
/// let mut instance = bare.instance()?;
/// let counter = instance.call("counter_new", args![])?.handle()?;
/// assert_eq!(instance.call("counter_value", args![counter])?.i32()?, 0);
/// assert!(instance.died().is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Bare {
    blueprint: Blueprint,
    memory_limit: u64,
}

impl Bare {
    /// Binds a policy to a module that `engine` compiled.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] if the policy does not fit the module.
    pub fn new(
        engine: EngineId,
        module: Arc<dyn Module>,
        policy: &Policy,
        imports: Imports,
        limits: Limits,
    ) -> Result<Self, Error> {
        let info = module.info();
        let plan = Arc::new(Plan::bind(policy, info)?);
        let own = if info.memories().is_empty() {
            u64::MAX
        } else {
            info.memory_bytes_max()
        };
        Ok(Self {
            memory_limit: limits.memory_bytes_max.unwrap_or(u64::MAX).min(own),
            blueprint: Blueprint {
                engine,
                module,
                imports,
                limits,
                plan,
                proxy: new_proxy_tag(),
                checkpoints: false,
            },
        })
    }

    /// A new instance.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`].
    pub fn instance(&self) -> Result<BareInstance, Error> {
        // Each has a tag of its own: a handle of an instance that is gone is an error, and not another object.
        let blueprint = Blueprint {
            proxy: new_proxy_tag(),
            ..self.blueprint.clone()
        };
        let (guest, _) = Guest::create(&blueprint, None)?;
        Ok(BareInstance {
            guest,
            plan: Arc::clone(&self.blueprint.plan),
            memory_limit: self.memory_limit,
            last: SequenceNumber::ZERO,
            scope: 0,
            died: None,
        })
    }

    /// What the policy and the module say of an export.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownExport`].
    pub fn export(&self, name: &str) -> Result<ExportInfo, Error> {
        let info = self.blueprint.module.info();
        plan_of(&self.blueprint.plan, info, name).map(|plan| ExportInfo::of(plan))
    }

    /// What an instance's memories may have, in bytes: the smaller of the limit and the module's own maximum.
    #[must_use]
    pub fn memory_limit_bytes(&self) -> u64 {
        self.memory_limit
    }
}

/// An instance without a proxy. See [`Bare`].
pub struct BareInstance {
    guest: Guest,
    plan: Arc<Plan>,
    memory_limit: u64,
    last: SequenceNumber,
    scope: u64,
    died: Option<String>,
}

impl BareInstance {
    /// Calls an export by name, with arguments and results by the policy.
    ///
    /// # Errors
    ///
    /// As [`Proxy::call`](crate::Proxy::call) without repetition; [`Error::DiedInPassthrough`] once it is dead.
    pub fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        let plan = Arc::clone(self.plan_of(export)?);
        self.run(&plan, args)
    }

    /// From here on raw pointers of before are stale, as they are outside of
    /// [their scope](crate::Proxy::pinned).
    pub fn begin_scope(&mut self) {
        self.scope += 1;
    }

    /// An object that `create` made, as bytes: `None` if the policy names no artifact for that export, or the
    /// module gives nothing.
    ///
    /// # Errors
    ///
    /// As [`BareInstance::call`].
    pub fn export_artifact(
        &mut self,
        create: &str,
        object: Handle,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(artifact) = self.plan_of(create)?.artifact else {
            return Ok(None);
        };
        let export = Arc::clone(self.plan.export(artifact.export));
        let results = self.run(&export, &[Arg::Handle(object)])?;
        Ok(results.bytes().ok())
    }

    /// Makes an object from what [`BareInstance::export_artifact`] gave, in place of a call of `create` with `args`.
    ///
    /// # Errors
    ///
    /// As [`BareInstance::call`]; [`Error::Policy`] if the policy names no artifact for that export.
    pub fn import_artifact(
        &mut self,
        create: &str,
        args: &[Arg<'_>],
        bytes: &[u8],
    ) -> Result<Results, Error> {
        let created = Arc::clone(self.plan_of(create)?);
        let Some(artifact) = created.artifact else {
            let reason = format!("`{create}` has no artifact; name one in the policy");
            return Err(Error::Policy { reason });
        };
        let import = Arc::clone(self.plan.export(artifact.import));
        let given: SmallVec<[Arg<'_>; 4]> = import
            .args
            .iter()
            .map(
                |kind| match created.args.iter().position(|own| own == kind) {
                    Some(position) if !matches!(kind, ArgKind::Bytes(_)) => {
                        args.get(position).cloned().ok_or_else(|| Error::Argument {
                            export: create.to_owned(),
                            position,
                            expected: "as many as the creating call takes".to_owned(),
                            got: format!("{}", args.len()),
                        })
                    }
                    _ => Ok(Arg::Bytes(bytes)),
                },
            )
            .collect::<Result<_, _>>()?;
        self.run(&import, &given)
    }

    /// What the memories have now, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.guest.memory_bytes()
    }

    /// Why it is of no use any more, if it is.
    #[must_use]
    pub fn died(&self) -> Option<&str> {
        self.died.as_deref()
    }

    fn plan_of(&self, name: &str) -> Result<&Arc<ExportPlan>, Error> {
        plan_of(&self.plan, self.guest.instance.info(), name)
    }

    fn run(&mut self, plan: &ExportPlan, args: &[Arg<'_>]) -> Result<Results, Error> {
        if let Some(cause) = &self.died {
            return Err(Error::DiedInPassthrough {
                cause: cause.clone(),
            });
        }
        let sequence = if plan.role.is_journaled() {
            self.last = self.last.next();
            self.last
        } else {
            SequenceNumber::ZERO
        };
        let scope = Some(self.scope);
        self.guest
            .call_unrecorded(plan, args, sequence, scope)
            .map_err(|failure| self.failed(plan, failure))
    }

    #[cold]
    fn failed(&mut self, plan: &ExportPlan, failure: CallFailure) -> Error {
        let export = plan.name.to_string();
        let error = match failure {
            CallFailure::Refused(error) | CallFailure::Rejected(error) => return error,
            CallFailure::NoSuchHandle(handle) => return Error::FreedHandle { handle },
            CallFailure::Garbled(error) if !plan.role.is_journaled() => return error,
            CallFailure::Garbled(error) => error,
            CallFailure::Harmed(what) => Error::GuestData { export, what },
            CallFailure::Exhausted { .. } => self.out_of_memory(export),
            CallFailure::Ended {
                source,
                side_effects,
            } => match *source {
                engine_api::Error::Trap(_) if self.is_full() => self.out_of_memory(export),
                engine_api::Error::Trap(trap) => Error::Trapped {
                    export,
                    trap,
                    retried: false,
                    side_effects,
                },
                engine_api::Error::Host { .. } | engine_api::Error::HostPanicked { .. } => {
                    Error::HostFailed { export, source }
                }
                _ => Error::Engine(source),
            },
        };
        self.died = Some(error.to_string());
        error
    }

    /// Whether a trap now is most likely a failed allocation: guests panic and abort alike.
    fn is_full(&self) -> bool {
        self.memory_bytes() >= Thresholds::default().critical_bytes(self.memory_limit)
    }

    fn out_of_memory(&self, export: String) -> Error {
        Error::OutOfMemory {
            export,
            used_mib: mib(self.memory_bytes()),
            limit_mib: mib(self.memory_limit),
            retried: false,
        }
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

fn plan_of<'a>(
    plan: &'a Plan,
    info: &engine_api::ModuleInfo,
    name: &str,
) -> Result<&'a Arc<ExportPlan>, Error> {
    match info.function(name) {
        Ok((func, _)) => Ok(plan.export(func)),
        Err(_) => Err(Error::UnknownExport {
            name: name.to_owned(),
            similar: similar(info, name),
        }),
    }
}
