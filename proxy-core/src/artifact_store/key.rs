//! What a call is: the same on every engine, in every process, at any time.

use blake3::Hasher;

use super::record::{CallKey, encode_val};
use crate::Handle;
use crate::policy::plan::{ExportPlan, Plan};
use crate::value::Arg;
use engine_api::ModuleHash;

/// Keeps these hashes apart from all others, and one version of what goes into them from the next.
const CONTEXT: &str = "wasm-proxy 2026 key of a call with an artifact, version 1";

/// The key of a call, or `None` where the call is not one that its arguments say all about: the policy
/// does not allow it (`artifact.live`), or an argument names an object that has no key. `key_of` knows
/// the keys of objects, which are those of the calls that created them.
pub(crate) fn of_call(
    module: ModuleHash,
    bound: &Plan,
    plan: &ExportPlan,
    args: &[Arg<'_>],
    key_of: impl Fn(Handle) -> Option<CallKey>,
) -> Option<CallKey> {
    let artifact = plan.artifact.filter(|artifact| artifact.live)?;
    if args.len() != plan.args.len() {
        return None;
    }
    let mut hasher = Hasher::new_derive_key(CONTEXT);
    hasher.update(module.as_bytes());
    part(&mut hasher, plan.name.as_bytes());
    for service in [
        Some(artifact.export),
        Some(artifact.import),
        plan.fingerprint,
    ] {
        let name = service.map(|func| &*bound.export(func).name);
        part(&mut hasher, name.unwrap_or_default().as_bytes());
    }
    // Where the results end and the arguments begin.
    part(&mut hasher, &(plan.results.len() as u64).to_le_bytes());
    for result in &plan.results {
        part(&mut hasher, result.kind.to_string().as_bytes());
    }
    for (arg, kind) in args.iter().zip(&plan.args) {
        part(&mut hasher, kind.to_string().as_bytes());
        match arg {
            Arg::Val(val) => part(&mut hasher, &encode_val(val)?),
            Arg::Bytes(bytes) => part(&mut hasher, bytes),
            Arg::Text(text) => part(&mut hasher, text.as_bytes()),
            Arg::Handle(handle) => {
                part(&mut hasher, &key_of(*handle)?.0);
                part(&mut hasher, &handle.result().to_le_bytes());
            }
            Arg::Pointer(_) | Arg::Handles(_) | Arg::Pointers(_) => return None,
        }
    }
    Some(CallKey(hasher.finalize().into()))
}

/// Each part goes in with its length, so that no two lists of parts are the same bytes.
fn part(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
