//! What this thread is inside of, so that nobody waits for himself.

use std::cell::RefCell;

use crate::Error;

/// What of a proxy this thread is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Guest,
    Hook,
}

thread_local! {
    /// The proxies that this thread is inside of, outermost first.
    static INSIDE: RefCell<Vec<(u32, Place)>> = const { RefCell::new(Vec::new()) };
}

/// For as long as it lives, this thread is inside a guest or a hook of the proxy.
pub(super) struct Inside(());

impl Inside {
    pub(super) fn guest(tag: u32) -> Result<Self, Error> {
        INSIDE.with_borrow_mut(|inside| {
            if inside.contains(&(tag, Place::Guest)) {
                return Err(Error::Reentrant);
            }
            inside.push((tag, Place::Guest));
            Ok(Self(()))
        })
    }

    pub(super) fn hook(tag: u32) -> Self {
        INSIDE.with_borrow_mut(|inside| inside.push((tag, Place::Hook)));
        Self(())
    }

    pub(super) fn is_inside(tag: u32) -> bool {
        INSIDE.with_borrow(|inside| inside.iter().any(|(proxy, _)| *proxy == tag))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.with_borrow_mut(Vec::pop);
    }
}
