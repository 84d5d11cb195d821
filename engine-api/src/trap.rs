//! Why a guest stopped.

use std::fmt;

/// The guest's own end of a call. Every trap of every runtime is mapped to one of these by name;
/// one that is not is a defect which the conformance suite shows.
///
/// After a trap the instance still answers, but its state is whatever the call left half done (its
/// shadow stack pointer, for one, is not restored). Drop the instance if its state matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trap {
    /// An `unreachable` instruction, which is also how Rust guests panic and abort.
    Unreachable,
    /// A load, store or bulk operation outside a linear memory.
    MemoryOutOfBounds,
    /// An atomic access at an address that is not a multiple of its size.
    UnalignedAtomic,
    /// `memory.atomic.wait` on a memory that is not shared.
    AtomicWaitUnshared,
    /// A table access or `call_indirect` outside a table.
    TableOutOfBounds,
    /// `call_indirect` of a null element.
    IndirectCallToNull,
    /// `call_indirect` of a function with another signature.
    BadSignature,
    /// A null reference where the instruction needs an object.
    NullReference,
    /// Integer overflow in a division or a conversion.
    IntegerOverflow,
    /// Division by zero.
    IntegerDivisionByZero,
    /// A float that is no integer, or none of the target's range, in a conversion.
    BadConversionToInteger,
    /// The call stack reached its limit.
    StackOverflow,
    /// The call used up its [`crate::Limits::fuel`].
    OutOfFuel,
    /// The call passed its [`crate::Limits::deadline`].
    DeadlineExceeded,
    /// Somebody called [`crate::Interrupter::interrupt`].
    Interrupted,
    /// An exception or a continuation that nobody caught or resumed.
    Uncaught,
}

impl Trap {
    /// Whether the host ended the call, rather than the guest by its own doing.
    #[must_use]
    pub fn is_host_imposed(self) -> bool {
        matches!(
            self,
            Trap::OutOfFuel | Trap::DeadlineExceeded | Trap::Interrupted
        )
    }

    /// A short stable name for metrics and reports, in snake case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Trap::Unreachable => "unreachable",
            Trap::MemoryOutOfBounds => "memory_out_of_bounds",
            Trap::UnalignedAtomic => "unaligned_atomic",
            Trap::AtomicWaitUnshared => "atomic_wait_unshared",
            Trap::TableOutOfBounds => "table_out_of_bounds",
            Trap::IndirectCallToNull => "indirect_call_to_null",
            Trap::BadSignature => "bad_signature",
            Trap::NullReference => "null_reference",
            Trap::IntegerOverflow => "integer_overflow",
            Trap::IntegerDivisionByZero => "integer_division_by_zero",
            Trap::BadConversionToInteger => "bad_conversion_to_integer",
            Trap::StackOverflow => "stack_overflow",
            Trap::OutOfFuel => "out_of_fuel",
            Trap::DeadlineExceeded => "deadline_exceeded",
            Trap::Interrupted => "interrupted",
            Trap::Uncaught => "uncaught",
        }
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trap::Unreachable => "unreachable executed (a guest's panic or abort ends like this)",
            Trap::MemoryOutOfBounds => "out of bounds memory access",
            Trap::UnalignedAtomic => "unaligned atomic access",
            Trap::AtomicWaitUnshared => "atomic wait on an unshared memory",
            Trap::TableOutOfBounds => "out of bounds table access",
            Trap::IndirectCallToNull => "indirect call to null",
            Trap::BadSignature => "indirect call to a function of another signature",
            Trap::NullReference => "null reference",
            Trap::IntegerOverflow => "integer overflow",
            Trap::IntegerDivisionByZero => "integer division by zero",
            Trap::BadConversionToInteger => "invalid conversion to integer",
            Trap::StackOverflow => "call stack exhausted",
            Trap::OutOfFuel => "all fuel consumed",
            Trap::DeadlineExceeded => "deadline exceeded",
            Trap::Interrupted => "interrupted by the host",
            Trap::Uncaught => "uncaught exception",
        })
    }
}
