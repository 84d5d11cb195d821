//! The module that the command line names, with its policy, its workload and its limits.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use bindgen_host::Options;
use engine_api::{Imports, Limits, ModuleInfo};
use proxy_core::{Policy, Thresholds};
use workload::Workload;

use crate::args::{Streams, SubjectArgs};
use crate::chosen_policy::ChosenPolicy;
use crate::{embedded, given_imports, module_file};

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
        streams: Streams,
        needed: impl FnOnce(&str) -> String,
    ) -> Result<Self> {
        let workload = workload.map(Workload::read).transpose()?;
        let mut subject = Self::without_calls(args, streams)?;
        subject.workload = match workload {
            Some(workload) => workload,
            None if args.module.is_none() => embedded::workload(proofs),
            None => bail!("{}", needed(&subject.name)),
        };
        Ok(subject)
    }

    /// Reads the module and its policy. There are no calls to make. The `streams` are for a WASI
    /// guest.
    pub(crate) fn without_calls(args: &SubjectArgs, streams: Streams) -> Result<Self> {
        let chosen = ChosenPolicy::read(args.policy.as_deref(), args.preset.as_deref())?;
        let policy = chosen.as_ref().map(|chosen| chosen.policy.clone());
        let (name, wasm) = match &args.module {
            None => (embedded::NAME.to_owned(), embedded::module()),
            Some(path) => {
                let wasm = module_file::read(path)?;
                let wasm = given_imports::renamed(wasm, args.imports.names.as_deref())?;
                let wasm = given_imports::callable(wasm)
                    .with_context(|| format!("cannot run `{}`", path.display()))?;
                (path.display().to_string(), wasm)
            }
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
        if let Some(option) = args
            .world
            .given()
            .filter(|_| !given_imports::is_wasi(&info))
        {
            bail!("`{name}` imports nothing of WASI, so {option} is of no use to it; leave it out");
        }
        let path = Path::new(&name);
        let program = path.file_name().unwrap_or(path.as_os_str());
        let world = || args.world.config(&program.to_string_lossy(), streams);
        let mut imports = given_imports::of_hosts(&info, world)?;
        let info = Arc::new(info);
        // The hosted module lacks the imports that the host serves. Those must not be stubs.
        let hosted = bindgen_host::hosted_info(&info);
        given_imports::add_constants(&mut imports, &hosted, &wasm, &args.imports)?;
        given_imports::add_emscripten(&mut imports, &hosted, &wasm);
        if args.imports.stubs_all() {
            imports.stub_missing(&hosted);
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

    /// How wasm-bindgen's modules are hosted under this policy.
    pub(crate) fn options(&self, policy: &Policy) -> Options {
        let mut options = draft::host_options(policy);
        if let Some(exit) = self.worker_exit {
            options.worker_exit = exit.into();
        }
        options
    }
}
