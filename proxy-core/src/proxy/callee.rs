//! A proxy and its pinned scopes as [`Callee`]s.

use guest_calls::{Callee, ScopedCallee};

use super::Proxy;
use crate::Error;
use crate::data_plane::Pinned;
use crate::value::{Arg, Results};

impl Callee for Proxy {
    type Error = Error;

    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        Proxy::call(self, export, args)
    }

    fn call_with_id(
        &mut self,
        id: &[u8],
        export: &str,
        args: &[Arg<'_>],
    ) -> Result<Results, Error> {
        Proxy::call_with_id(self, id, export, args)
    }
}

impl Callee for &Pinned<'_> {
    type Error = Error;

    fn call(&mut self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        Pinned::call(self, export, args)
    }
}

impl ScopedCallee for Proxy {
    fn scope<T, E: From<Error>>(
        &mut self,
        mut run: impl FnMut(&mut dyn Callee<Error = Error>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.pinned(|mut pinned| run(&mut pinned))
    }
}
