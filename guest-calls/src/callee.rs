//! Callees: a proxy, a scope of one, a bare instance.

use crate::{Arg, Results};

/// Something that takes calls by the names of exports.
pub trait Callee {
    /// Why a call gave no results.
    type Error;

    /// Calls an export.
    ///
    /// # Errors
    ///
    /// As the implementor's own method for calls.
    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Self::Error>;

    /// Calls an export once for each id. A callee that keeps no answers makes the call.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), and what the implementor says of ids.
    fn call_with_id(
        &mut self,
        _id: &[u8],
        export: &str,
        args: &[Arg<'_>],
    ) -> Result<Results, Self::Error> {
        self.call(export, args)
    }
}

/// A callee that can keep several calls on one instance, where they can share raw pointers.
pub trait ScopedCallee: Callee {
    /// Runs a scope. If the instance dies in it, it may be run again from its start on another.
    ///
    /// # Errors
    ///
    /// The scope's own error.
    fn scope<T, E: From<Self::Error>>(
        &mut self,
        run: impl FnMut(&mut dyn Callee<Error = Self::Error>) -> Result<T, E>,
    ) -> Result<T, E>;
}
