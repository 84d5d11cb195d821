//! Which proxies a thread is inside of, so no thread waits for itself.

use std::cell::RefCell;

use crate::Error;

/// The code of a proxy that a thread runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Running {
    Guest,
    Hook,
}

thread_local! {
    /// The proxies that this thread is inside of, outermost first.
    static INSIDE: RefCell<Vec<(u32, Running)>> = const { RefCell::new(Vec::new()) };
}

/// For as long as it lives, this thread is inside a guest or a hook of the proxy.
pub(crate) struct Entered(());

impl Entered {
    pub(crate) fn guest(tag: u32) -> Result<Self, Error> {
        INSIDE.with_borrow_mut(|inside| {
            if inside.contains(&(tag, Running::Guest)) {
                return Err(Error::Reentrant);
            }
            inside.push((tag, Running::Guest));
            Ok(Self(()))
        })
    }

    pub(crate) fn hook(tag: u32) -> Self {
        INSIDE.with_borrow_mut(|inside| inside.push((tag, Running::Hook)));
        Self(())
    }

    pub(crate) fn is_inside(tag: u32) -> bool {
        INSIDE.with_borrow(|inside| inside.iter().any(|(proxy, _)| *proxy == tag))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        INSIDE.with_borrow_mut(Vec::pop);
    }
}
