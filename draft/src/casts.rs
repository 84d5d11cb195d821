//! What imports convert, where a module without names does not say it and its glue does.

use bindgen_host::{Abi, GivenCast, Options, Takes};
use engine_api::{ExternType, ModuleInfo, ValType};
use glue::{Glue, Taken};
use guest_calls::{CastPolicy, ClosureArgument, Policy};

/// What the glue says of imports of which the module says nothing. What the host does not convert is
/// left out, and is among what is missing.
pub(super) fn casts(info: &ModuleInfo, wasm: &[u8], glue: &Glue) -> Vec<CastPolicy> {
    let undescribed = bindgen_host::undescribed(info, wasm);
    let casts = undescribed.into_iter().filter_map(|import| {
        let what = glue.casts.iter().find(|cast| cast.import == import);
        let closure = glue
            .closures
            .iter()
            .find(|closure| closure.import == import);
        let from = match (what, closure) {
            (_, Some(_)) => "Closure".to_owned(),
            (Some(cast), None) => {
                let from = cast.what.rsplit_once(" -> ")?.0;
                // Glue without comments cannot tell a whole number of 64 bits from others.
                let is_wide = from == "F64" && takes_i64(info, &import);
                if is_wide { "I64" } else { from }.to_owned()
            }
            (None, None) => return None,
        };
        let invoke = closure.and_then(|closure| closure.invoke.clone());
        // With externrefs, types tell objects from numbers.
        let is_slots = bindgen_host::abi(info) == Abi::Slots;
        let takes = closure.and_then(|closure| closure.takes.as_ref());
        let takes = takes.filter(|_| is_slots);
        let takes = takes.map(|takes| takes.iter().map(|taken| taken_of(*taken)).collect());
        Some(CastPolicy {
            import,
            from,
            invoke,
            takes,
        })
    });
    let fits = |cast: &CastPolicy| {
        let policy = Policy {
            casts: vec![cast.clone()],
            ..Policy::default()
        };
        bindgen_host::served_in(info, wasm, &host_options(&policy)).is_ok()
    };
    casts.filter(fits).collect()
}

/// Whether an import takes one i64.
fn takes_i64(info: &ModuleInfo, import: &str) -> bool {
    info.imports().iter().any(|one| {
        one.name == import
            && matches!(&one.ty, ExternType::Func(ty) if ty.params() == [ValType::I64])
    })
}

/// The options of the host, with what a policy says of the module's conversions.
#[must_use]
pub fn host_options(policy: &Policy) -> Options {
    let mut options = Options::default();
    options.casts = policy
        .casts
        .iter()
        .map(|cast| {
            let mut given = GivenCast::new(&cast.import, &cast.from);
            given.invoke.clone_from(&cast.invoke);
            let takes = cast.takes.as_ref();
            given.takes = takes.map(|takes| takes.iter().map(|taken| takes_of(*taken)).collect());
            given
        })
        .collect();
    options
}

fn taken_of(taken: Taken) -> ClosureArgument {
    match taken {
        Taken::Object => ClosureArgument::Object,
        Taken::Borrowed => ClosureArgument::Borrowed,
        Taken::Number => ClosureArgument::Number,
    }
}

fn takes_of(taken: ClosureArgument) -> Takes {
    match taken {
        ClosureArgument::Object => Takes::Object,
        ClosureArgument::Borrowed => Takes::Borrowed,
        ClosureArgument::Number => Takes::Number,
    }
}
