//! Maps every way in which a call can end early to its name in the contract.

use engine_api::{Error, Trap};
use wasmer_types::TrapCode;

use crate::signal;

/// The host's reasons to end a call early, as they are known at its end.
#[derive(Clone, Copy, Default)]
pub(crate) struct Imposed {
    /// Set if the deadline passed or somebody interrupted the call.
    pub(crate) kill: Option<Trap>,
    /// Whether the last block that was accounted for needed more fuel than was left.
    pub(crate) out_of_fuel: bool,
}

/// The contract's error for a trap of wasmer.
pub(crate) fn error(trap: wasmer_vm::Trap, imposed: Imposed) -> Error {
    let code = match trap {
        wasmer_vm::Trap::User(source) => {
            return match source.downcast::<Error>() {
                Ok(error) => *error,
                Err(_) => unreachable!("only the contract's errors are raised as user traps"),
            };
        }
        // The host lacks what the operation needs, for example to grow a memory.
        wasmer_vm::Trap::OOM { .. } => return Error::Trap(Trap::MemoryOutOfBounds),
        wasmer_vm::Trap::UncaughtException { .. } => return Error::Trap(Trap::Uncaught),
        wasmer_vm::Trap::Lib { trap_code, .. } => trap_code,
        wasmer_vm::Trap::Wasm { pc, .. } if signal::is_end(pc) => TrapCode::HostInterrupt,
        wasmer_vm::Trap::Wasm {
            signal_trap: Some(code @ (TrapCode::HostInterrupt | TrapCode::StackOverflow)),
            ..
        } => code,
        trap @ wasmer_vm::Trap::Wasm { .. } => wasmer_compiler::get_trace_and_trapcode(&trap)
            .1
            .unwrap_or(TrapCode::UnreachableCodeReached),
    };
    Error::Trap(by_name(code, imposed))
}

/// The contract's name for a trap code.
pub(crate) fn by_name(code: TrapCode, imposed: Imposed) -> Trap {
    match code {
        TrapCode::StackOverflow => Trap::StackOverflow,
        TrapCode::HeapAccessOutOfBounds => Trap::MemoryOutOfBounds,
        TrapCode::HeapMisaligned | TrapCode::UnalignedAtomic => Trap::UnalignedAtomic,
        // The second is a write to a table of constants, which a valid module does not contain.
        TrapCode::TableAccessOutOfBounds | TrapCode::ReadonlyTableModified => {
            Trap::TableOutOfBounds
        }
        TrapCode::IndirectCallToNull => Trap::IndirectCallToNull,
        TrapCode::BadSignature => Trap::BadSignature,
        TrapCode::IntegerOverflow => Trap::IntegerOverflow,
        TrapCode::IntegerDivisionByZero => Trap::IntegerDivisionByZero,
        TrapCode::BadConversionToInteger => Trap::BadConversionToInteger,
        // The metering middleware ends a guest with an `unreachable` that it adds.
        TrapCode::UnreachableCodeReached if imposed.out_of_fuel => Trap::OutOfFuel,
        TrapCode::UnreachableCodeReached => Trap::Unreachable,
        // The second cannot happen: our host functions never yield.
        TrapCode::UncaughtException | TrapCode::YieldOutsideAsyncContext => Trap::Uncaught,
        TrapCode::UninitializedExnRef => Trap::NullReference,
        // Wasmer also reports this for a wait that a memory refuses. Our unshared memories refuse
        // all waits.
        TrapCode::HostInterrupt => imposed.kill.unwrap_or(Trap::AtomicWaitUnshared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The match above is exhaustive, so it does not compile if wasmer gets a new trap code. This
    /// test checks each name.
    #[test]
    fn every_trap_code_has_the_name_of_its_cause() {
        let plain = Imposed::default();
        let expected = [
            (TrapCode::StackOverflow, Trap::StackOverflow),
            (TrapCode::HeapAccessOutOfBounds, Trap::MemoryOutOfBounds),
            (TrapCode::HeapMisaligned, Trap::UnalignedAtomic),
            (TrapCode::TableAccessOutOfBounds, Trap::TableOutOfBounds),
            (TrapCode::IndirectCallToNull, Trap::IndirectCallToNull),
            (TrapCode::BadSignature, Trap::BadSignature),
            (TrapCode::IntegerOverflow, Trap::IntegerOverflow),
            (TrapCode::IntegerDivisionByZero, Trap::IntegerDivisionByZero),
            (
                TrapCode::BadConversionToInteger,
                Trap::BadConversionToInteger,
            ),
            (TrapCode::UnreachableCodeReached, Trap::Unreachable),
            (TrapCode::UnalignedAtomic, Trap::UnalignedAtomic),
            (TrapCode::UncaughtException, Trap::Uncaught),
            (TrapCode::UninitializedExnRef, Trap::NullReference),
            (TrapCode::YieldOutsideAsyncContext, Trap::Uncaught),
            (TrapCode::HostInterrupt, Trap::AtomicWaitUnshared),
            (TrapCode::ReadonlyTableModified, Trap::TableOutOfBounds),
        ];
        for (code, trap) in expected {
            assert_eq!(by_name(code, plain), trap, "{code:?}");
        }
    }

    #[test]
    fn the_host_s_reasons_take_the_place_of_the_code_that_carried_them() {
        let killed = Imposed {
            kill: Some(Trap::DeadlineExceeded),
            ..Imposed::default()
        };
        assert_eq!(
            by_name(TrapCode::HostInterrupt, killed),
            Trap::DeadlineExceeded
        );
        assert_eq!(
            by_name(TrapCode::IntegerOverflow, killed),
            Trap::IntegerOverflow
        );
        let empty = Imposed {
            out_of_fuel: true,
            ..Imposed::default()
        };
        assert_eq!(
            by_name(TrapCode::UnreachableCodeReached, empty),
            Trap::OutOfFuel
        );
        assert_eq!(by_name(TrapCode::StackOverflow, empty), Trap::StackOverflow);
        let unreachable = TrapCode::UnreachableCodeReached;
        assert_eq!(by_name(unreachable, killed), Trap::Unreachable);
    }
}
