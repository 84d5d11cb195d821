//! The main job: a prover that leaks, with its policy and its workload.

use proxy_core::Policy;
use workload::Workload;

// The files are links into `guests/`, which cargo follows when it packages the program.

/// A `halo2` prover compiled to wasm; `guests/README.md` describes it.
const PROVER: &[u8] = include_bytes!("../embedded/prover.wasm");
const POLICY: &str = include_str!("../embedded/prover.toml");
const WORKLOAD: &str = include_str!("../embedded/prover.jsonl");

/// The prover's name in messages.
pub(crate) const NAME: &str = "prover (embedded)";

pub(crate) fn module() -> Vec<u8> {
    PROVER.to_vec()
}

pub(crate) fn policy() -> Policy {
    POLICY.parse().expect("the embedded policy is a policy")
}

/// Its workload: proofs that lose 1 MiB each, 1,000 of them unless told otherwise.
pub(crate) fn workload(proofs: Option<u64>) -> Workload {
    let mut workload =
        Workload::parse("prover.jsonl", WORKLOAD).expect("the embedded workload is a workload");
    if let Some(proofs) = proofs {
        workload.repeat_instead(proofs);
    }
    workload
}
