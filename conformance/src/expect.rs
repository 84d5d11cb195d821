//! Expectations that cases share.

use engine_api::{Error, Trap};

/// The binary form of a module in the text format.
#[must_use]
pub fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("the suite's own module: {error}\n{text}"))
}

/// The error of a result; a case fails if there is none.
#[must_use]
#[track_caller]
pub fn refused<T>(result: Result<T, Error>) -> Error {
    match result {
        Ok(_) => panic!("this must fail, and did not"),
        Err(error) => error,
    }
}

/// The trap that ended a call; a case fails if none did.
#[must_use]
#[track_caller]
pub fn trap_of<T>(result: Result<T, Error>) -> Trap {
    match refused(result) {
        Error::Trap(trap) => trap,
        error => panic!("this must trap, and failed otherwise: {error:?}"),
    }
}

/// The reason of an invalid module; a case fails on any other outcome.
#[must_use]
#[track_caller]
pub fn module_error<T>(result: Result<T, Error>) -> String {
    match refused(result) {
        Error::InvalidModule { reason } => reason,
        error => panic!("the module must be called invalid, not: {error:?}"),
    }
}
