//! Maps wasmtime's errors to the contract's by name.

use engine_api::{EngineId, Error, Trap};

/// The contract's error for the failure of a call, nested or not, or of an instantiation.
pub(crate) fn call_failed(engine: EngineId, error: wasmtime::Error) -> Error {
    // Errors of host functions and of the epoch callback pass through wasmtime unchanged.
    let error = match error.downcast::<Error>() {
        Ok(error) => return error,
        Err(error) => error,
    };
    if error.is::<wasmtime::ThrownException>() {
        return Error::Trap(Trap::Uncaught);
    }
    match error
        .downcast_ref::<wasmtime::Trap>()
        .copied()
        .and_then(trap)
    {
        Some(trap) => Error::Trap(trap),
        None => failed(engine, "run the guest", error),
    }
}

/// Wraps an error that comes from wasmtime itself.
pub(crate) fn failed(engine: EngineId, action: &'static str, error: wasmtime::Error) -> Error {
    Error::Runtime {
        engine,
        action,
        source: error.into_boxed_dyn_error(),
    }
}

/// The contract's name for a trap that a core module can cause with the features of this engine.
///
/// The other traps belong to components, garbage-collected types and the interpreter Pulley, which
/// this engine does not have.
pub(crate) fn trap(trap: wasmtime::Trap) -> Option<Trap> {
    Some(match trap {
        wasmtime::Trap::StackOverflow => Trap::StackOverflow,
        wasmtime::Trap::MemoryOutOfBounds => Trap::MemoryOutOfBounds,
        wasmtime::Trap::HeapMisaligned => Trap::UnalignedAtomic,
        wasmtime::Trap::TableOutOfBounds => Trap::TableOutOfBounds,
        wasmtime::Trap::IndirectCallToNull => Trap::IndirectCallToNull,
        wasmtime::Trap::BadSignature => Trap::BadSignature,
        wasmtime::Trap::IntegerOverflow => Trap::IntegerOverflow,
        wasmtime::Trap::IntegerDivisionByZero => Trap::IntegerDivisionByZero,
        wasmtime::Trap::BadConversionToInteger => Trap::BadConversionToInteger,
        wasmtime::Trap::UnreachableCodeReached => Trap::Unreachable,
        wasmtime::Trap::Interrupt => Trap::Interrupted,
        wasmtime::Trap::OutOfFuel => Trap::OutOfFuel,
        wasmtime::Trap::AtomicWaitNonSharedMemory => Trap::AtomicWaitUnshared,
        wasmtime::Trap::NullReference => Trap::NullReference,
        wasmtime::Trap::UnhandledTag
        | wasmtime::Trap::ContinuationAlreadyConsumed
        | wasmtime::Trap::UncaughtException => Trap::Uncaught,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The traps that no module compiled here can cause.
    const OTHER_FEATURES: &[wasmtime::Trap] = &[
        // Garbage-collected types.
        wasmtime::Trap::ArrayOutOfBounds,
        wasmtime::Trap::AllocationTooLarge,
        wasmtime::Trap::CastFailure,
        // Pulley.
        wasmtime::Trap::DisabledOpcode,
        // Components.
        wasmtime::Trap::CannotEnterComponent,
        wasmtime::Trap::NoAsyncResult,
        wasmtime::Trap::AsyncDeadlock,
        wasmtime::Trap::CannotLeaveComponent,
        wasmtime::Trap::CannotBlockSyncTask,
        wasmtime::Trap::InvalidChar,
        wasmtime::Trap::DebugAssertStringEncodingFinished,
        wasmtime::Trap::DebugAssertEqualCodeUnits,
        wasmtime::Trap::DebugAssertPointerAligned,
        wasmtime::Trap::DebugAssertUpperBitsUnset,
        wasmtime::Trap::StringOutOfBounds,
        wasmtime::Trap::ListOutOfBounds,
        wasmtime::Trap::InvalidDiscriminant,
        wasmtime::Trap::UnalignedPointer,
        wasmtime::Trap::TaskCancelNotCancelled,
        wasmtime::Trap::TaskCancelOrReturnTwice,
        wasmtime::Trap::SubtaskCancelAfterTerminal,
        wasmtime::Trap::TaskReturnInvalid,
        wasmtime::Trap::WaitableSetDropHasWaiters,
        wasmtime::Trap::SubtaskDropNotResolved,
        wasmtime::Trap::ThreadNewIndirectInvalidType,
        wasmtime::Trap::ThreadNewIndirectUninitialized,
        wasmtime::Trap::BackpressureOverflow,
        wasmtime::Trap::UnsupportedCallbackCode,
        wasmtime::Trap::CannotResumeThread,
        wasmtime::Trap::ConcurrentFutureStreamOp,
        wasmtime::Trap::ReferenceCountOverflow,
        wasmtime::Trap::StreamOpTooBig,
        wasmtime::Trap::WaitableSyncAndAsync,
    ];

    #[test]
    fn every_trap_of_the_runtime_is_mapped_or_known_to_be_impossible() {
        let all: Vec<_> = (0..=u8::MAX).filter_map(wasmtime::Trap::from_u8).collect();
        assert!(all.len() > 40, "wasmtime numbers its traps from 0");
        for code in all {
            assert_ne!(
                trap(code).is_some(),
                OTHER_FEATURES.contains(&code),
                "{code:?} is new: map it or list it"
            );
        }
    }

    #[test]
    fn the_first_error_of_a_host_function_comes_back_as_it_was() {
        let engine = EngineId {
            runtime: "wasmtime",
            compiler: "test",
        };
        let error = wasmtime::Error::new(Error::ForeignReference).context("a backtrace");
        assert!(matches!(
            call_failed(engine, error),
            Error::ForeignReference
        ));
    }
}
