//! The module that the command line names, with its policy, its workload and its limits.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use bindgen_host::Options;
use engine_api::{Imports, Limits, ModuleInfo};
use proxy_core::{Policy, Thresholds};
use workload::Workload;

use crate::args::SubjectArgs;
use crate::chosen_policy::ChosenPolicy;
use crate::{embedded, module_file};

/// A module with its policy and its workload.
pub(crate) struct Subject {
    /// The name that messages use.
    pub(crate) name: String,
    pub(crate) wasm: Vec<u8>,
    pub(crate) info: Arc<ModuleInfo>,
    pub(crate) policy: Policy,
    /// The policy with its origin, if the command line names one.
    pub(crate) chosen: Option<ChosenPolicy>,
    pub(crate) imports: Imports,
    pub(crate) workload: Workload,
}

impl Subject {
    /// Reads what the command line names. Without a module it is the embedded prover, which makes
    /// `proofs` proofs if there is no workload either. For a module without a workload the error
    /// ends in `needed`.
    pub(crate) fn read(
        args: &SubjectArgs,
        workload: Option<&Path>,
        proofs: Option<u64>,
        needed: impl FnOnce(&str) -> String,
    ) -> Result<Self> {
        let workload = workload.map(Workload::read).transpose()?;
        let mut subject = Self::without_calls(args)?;
        subject.workload = match workload {
            Some(workload) => workload,
            None if args.module.is_none() => embedded::workload(proofs),
            None => bail!("{}", needed(&subject.name)),
        };
        Ok(subject)
    }

    /// Reads the module and its policy. There are no calls to make.
    pub(crate) fn without_calls(args: &SubjectArgs) -> Result<Self> {
        let chosen = ChosenPolicy::read(args.policy.as_deref(), args.preset.as_deref())?;
        let policy = chosen.as_ref().map(|chosen| chosen.policy.clone());
        let (name, wasm) = match &args.module {
            None => (embedded::NAME.to_owned(), embedded::module()),
            Some(path) => (path.display().to_string(), module_file::read(path)?),
        };
        let info = module_bytes::parse(&wasm).with_context(|| format!("cannot run `{name}`"))?;
        let policy = policy.unwrap_or_else(|| match args.module {
            None => embedded::policy(),
            Some(_) => Policy::default(),
        });
        let workload = Workload {
            name: name.clone(),
            steps: Vec::new(),
        };
        let mut imports = if bindgen_host::is_bindgen(&info) {
            bindgen_host::system()
        } else {
            Imports::new()
        };
        let info = Arc::new(info);
        if args.stub_imports {
            // The hosted module lacks the imports that the host serves. Those must not be stubs.
            imports.stub_missing(&bindgen_host::hosted_info(&info));
        }
        Ok(Self {
            name,
            wasm,
            info,
            policy,
            chosen,
            imports,
            workload,
        })
    }
}

impl SubjectArgs {
    pub(crate) fn thresholds(&self) -> Result<Thresholds> {
        let Self { warn, critical, .. } = *self;
        Thresholds::new(warn, critical).map_err(|_| {
            anyhow!(
                "--warn {warn} and --critical {critical} do not fit: shares of the memory limit are needed, such as \
                 0.7 and 0.9, the first smaller"
            )
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory_bytes_max: Some(self.memory_limit),
            deadline: self.deadline,
            ..Limits::default()
        }
    }

    /// How wasm-bindgen's modules are hosted.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        if let Some(exit) = self.worker_exit {
            options.worker_exit = exit.into();
        }
        options
    }
}
