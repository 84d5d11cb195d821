//! The policy that the command line names, and a check that it is for this module at all.

use std::path::Path;

use anyhow::{Context, Result};
use proxy_core::Policy;

/// A policy from a file, or one that comes with the program.
#[derive(Debug)]
pub(crate) struct ChosenPolicy {
    /// The name that messages use.
    pub(crate) name: String,
    pub(crate) policy: Policy,
    /// Whether it comes with the program. It is then for several versions of a module, and many of
    /// its entries match nothing in any one version.
    pub(crate) is_preset: bool,
}

impl ChosenPolicy {
    /// Reads the policy that the command line names, if it names one.
    pub(crate) fn read(file: Option<&Path>, preset: Option<&str>) -> Result<Option<Self>> {
        match (file, preset) {
            (_, Some(preset)) => Ok(Some(Self {
                name: format!("preset `{preset}`"),
                policy: Policy::preset(preset)?,
                is_preset: true,
            })),
            (Some(path), None) => Ok(Some(Self {
                name: format!("policy `{}`", path.display()),
                policy: read(path)?,
                is_preset: false,
            })),
            (None, None) => Ok(None),
        }
    }

    /// A warning if the policy seems to be for another module, because its entries match only
    /// `listed` of `exports` functions. The binding does not notice this: patterns may match
    /// nothing.
    pub(crate) fn doubt(&self, listed: usize, exports: usize) -> Option<String> {
        let rest = if self.policy.strict {
            "refused"
        } else {
            "journaled for ever"
        };
        if listed == 0 && !self.policy.exports.is_empty() {
            return Some(format!(
                "warning: no entry of the {} matches an export of this module, so every call is {rest}; \
                 `wasm-proxy inspect MODULE --emit-policy` drafts one that fits",
                self.name
            ));
        }
        // Every module has a few of the functions that wasm-bindgen makes, and those are listed.
        (self.is_preset && listed * 4 < exports * 3).then(|| {
            format!(
                "warning: the {} seems to be for another module: it lists {listed} of the {exports} exports of this \
                 one, and calls of the others are {rest}; `wasm-proxy inspect MODULE --emit-policy` drafts \
                 a policy that fits",
                self.name
            )
        })
    }
}

fn read(path: &Path) -> Result<Policy> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "cannot read the policy `{}`; check the path, and that it is UTF-8 text",
            path.display()
        )
    })?;
    text.parse()
        .with_context(|| format!("`{}` is not a policy", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_be_read_by_its_name() {
        for name in proxy_core::PRESETS {
            let chosen = ChosenPolicy::read(None, Some(name)).unwrap().unwrap();
            assert!(chosen.name.contains(name));
        }
        assert!(ChosenPolicy::read(None, None).unwrap().is_none());
    }

    #[test]
    fn a_policy_for_another_module_raises_doubt() {
        let preset = ChosenPolicy::read(None, Some("o1js")).unwrap().unwrap();
        assert!(preset.doubt(0, 10).unwrap().contains("no entry"));
        assert!(preset.doubt(7, 10).unwrap().contains("7 of the 10"));
        assert_eq!(preset.doubt(8, 10), None);
        let file = ChosenPolicy {
            is_preset: false,
            ..preset
        };
        assert!(file.doubt(0, 10).unwrap().contains("no entry"));
        assert_eq!(file.doubt(1, 10), None);
    }
}
