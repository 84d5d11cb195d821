//! The reasons for which a guest's call ends early.

use std::fmt;

/// Why a guest trapped. Engines map every trap of their runtime to one of these by name; the
/// conformance suite finds one that is not mapped.
///
/// After a trap the instance can still be called, but the call has left its state half done (the
/// shadow stack pointer, for example, is not restored). Drop the instance if its state matters.
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
    /// A table access or a `call_indirect` outside a table.
    TableOutOfBounds,
    /// `call_indirect` of a null element.
    IndirectCallToNull,
    /// `call_indirect` of a function with another signature.
    BadSignature,
    /// A null reference in an instruction that needs an object.
    NullReference,
    /// Integer overflow in a division or a conversion.
    IntegerOverflow,
    /// Division by zero.
    IntegerDivisionByZero,
    /// The conversion of a float that no integer of the target type stands for, such as NaN.
    BadConversionToInteger,
    /// The call stack reached its limit.
    StackOverflow,
    /// The call used up its [`crate::Limits::fuel`].
    OutOfFuel,
    /// The call passed its [`crate::Limits::deadline`].
    DeadlineExceeded,
    /// Somebody called [`crate::Interrupter::interrupt`].
    Interrupted,
    /// An exception that nobody caught, or a continuation that nobody resumed.
    Uncaught,
}

impl Trap {
    /// Whether the host ended the call, by a limit or a request, and not the guest's own code.
    #[must_use]
    pub fn is_host_imposed(self) -> bool {
        matches!(
            self,
            Trap::OutOfFuel | Trap::DeadlineExceeded | Trap::Interrupted
        )
    }

    /// Whether a guest whose allocator has nothing left ends like this: it aborts, or writes to the
    /// null pointer that it was given and did not look at.
    #[must_use]
    pub fn may_be_allocation(self) -> bool {
        matches!(self, Trap::Unreachable | Trap::MemoryOutOfBounds)
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
