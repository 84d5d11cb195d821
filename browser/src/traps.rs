//! V8's messages as traps. Other browsers have other messages, which are none of the contract.

use engine_api::Trap;

/// The messages, each after the name of its class.
const MESSAGES: [(&str, Trap); 15] = [
    ("RuntimeError: unreachable", Trap::Unreachable),
    (
        "RuntimeError: memory access out of bounds",
        Trap::MemoryOutOfBounds,
    ),
    (
        "RuntimeError: data segment out of bounds",
        Trap::MemoryOutOfBounds,
    ),
    (
        "RuntimeError: operation does not support unaligned accesses",
        Trap::UnalignedAtomic,
    ),
    (
        "RuntimeError: table index is out of bounds",
        Trap::TableOutOfBounds,
    ),
    (
        "RuntimeError: table access out of bounds",
        Trap::TableOutOfBounds,
    ),
    (
        "RuntimeError: element segment out of bounds",
        Trap::TableOutOfBounds,
    ),
    // V8 does not tell the two apart.
    (
        "RuntimeError: null function or function signature mismatch",
        Trap::BadSignature,
    ),
    (
        "RuntimeError: dereferencing a null pointer",
        Trap::NullReference,
    ),
    (
        "RuntimeError: divide result unrepresentable",
        Trap::IntegerOverflow,
    ),
    ("RuntimeError: divide by zero", Trap::IntegerDivisionByZero),
    (
        "RuntimeError: remainder by zero",
        Trap::IntegerDivisionByZero,
    ),
    (
        "RuntimeError: float unrepresentable in integer range",
        Trap::BadConversionToInteger,
    ),
    (
        "RangeError: Maximum call stack size exceeded",
        Trap::StackOverflow,
    ),
    (
        "RuntimeError: Atomics.wait cannot be called in this context",
        Trap::AtomicWaitUnshared,
    ),
];

/// The trap that a message means, if it means one.
pub(crate) fn trap_of(message: &str) -> Option<Trap> {
    let mut known = MESSAGES.iter().filter(|(text, _)| *text == message);
    known.next().map(|(_, trap)| *trap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_means_one_trap_and_another_error_none() {
        assert_eq!(
            trap_of("RuntimeError: unreachable"),
            Some(Trap::Unreachable)
        );
        assert_eq!(trap_of("TypeError: unreachable"), None);
        for (message, _) in MESSAGES {
            let same = MESSAGES.iter().filter(|(text, _)| *text == message);
            assert_eq!(same.count(), 1, "{message}");
        }
    }
}
