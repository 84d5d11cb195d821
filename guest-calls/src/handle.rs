//! The caller's stable names for guest objects.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

/// The position of an entry in the journal: 1 for the first journaled call, and never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceNumber(pub u64);

impl SequenceNumber {
    /// Before every entry.
    pub const ZERO: Self = Self(0);

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The name of a guest object, stable over every swap: the sequence number of the call that created
/// it, and which of that call's results it was. It is never a guest pointer: each generation maps
/// it to its own.
///
/// A handle is valid on the proxy or bare instance that gave it out, until a call of role `free`,
/// or one that consumes it, returns. Anything else is a typed error, such as
/// [`CallError::FreedHandle`](crate::CallError::FreedHandle) and
/// [`CallError::ForeignHandle`](crate::CallError::ForeignHandle).
///
/// ```
/// # #[path = "../../proxy-core/tests/fake/mod.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let bare = fake::counter_bare()?;
/// use guest_calls::{CallError, args};
///
/// let mut instance = bare.instance()?;
/// let counter = instance.call("counter_new", args![])?.handle()?;
/// assert_eq!(counter.sequence().0, 1); // the first call that changes state created it
/// let mut other = bare.instance()?;
/// let error = other.call("counter_value", args![counter]).unwrap_err();
/// assert!(matches!(error, CallError::ForeignHandle { .. }));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    pub(crate) sequence: SequenceNumber,
    pub(crate) result: u32,
    pub(crate) tag: u32,
}

impl Handle {
    /// The name of result `result` of a journaled call. `tag` is that of the proxy or bare
    /// instance. It names an object only if that call has created one.
    #[must_use]
    #[inline]
    pub fn new(sequence: SequenceNumber, result: u32, tag: u32) -> Self {
        Self {
            sequence,
            result,
            tag,
        }
    }

    /// The journaled call that created the object.
    #[must_use]
    #[inline]
    pub fn sequence(&self) -> SequenceNumber {
        self.sequence
    }

    /// Which of that call's results it is, from 0.
    #[must_use]
    pub fn result(&self) -> u32 {
        self.result
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sequence, self.result)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}

/// A map by handles.
pub type HandleMap<T> = HashMap<Handle, T, BuildHasherDefault<HandleHasher>>;

/// A set of handles.
pub(crate) type HandleSet = HashSet<Handle, BuildHasherDefault<HandleHasher>>;

/// The hash of a handle. Neither a guest nor a caller chooses the numbers in a handle, so it need
/// not withstand chosen ones, and costs a few instructions.
#[derive(Clone, Copy, Debug, Default)]
pub struct HandleHasher(u64);

impl HandleHasher {
    fn add(&mut self, number: u64) {
        // The golden ratio as a fraction of 2^64 spreads numbers in a row.
        self.0 = (self.0.rotate_left(26) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for HandleHasher {
    #[inline]
    fn finish(&self) -> u64 {
        // A table takes its place from the low bits, which the product mixes least.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.add(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }
}

/// A raw guest pointer, or any other number that means something in one generation only.
///
/// It comes from a result that the policy calls `pointer`, and is accepted only inside the
/// pinned scope that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    pub(crate) bits: u64,
    pub(crate) scope: u64,
}

impl Pointer {
    /// A number that means something in this scope: for owners of scopes. A bound instance takes it
    /// for an address, if it is of the scope that the call is made in.
    #[must_use]
    #[inline]
    pub fn new(bits: u64, scope: u64) -> Self {
        Self { bits, scope }
    }

    /// The number.
    #[must_use]
    #[inline]
    pub fn bits(self) -> u64 {
        self.bits
    }

    /// The scope in which it means something.
    #[must_use]
    #[inline]
    pub fn scope(self) -> u64 {
        self.scope
    }
}

/// Where raw pointers are good: a pinned scope or a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its number, which its pointers have.
    pub number: u64,
    /// Whether structs come as raw pointers, which are the caller's then, in place of bytes.
    pub raw_structs: bool,
    /// Whether exports that are not pure take raw pointers for handles: a call of one is about raw
    /// objects alone then, and the owner of the scope does not journal it.
    pub raw_calls: bool,
}

impl Scope {
    /// A pinned scope.
    #[must_use]
    #[inline]
    pub fn pinned(number: u64) -> Self {
        Self {
            number,
            raw_structs: false,
            raw_calls: false,
        }
    }
}

/// The last tag that was given out in this process.
static TAGS: AtomicU32 = AtomicU32::new(0);

/// A tag for the handles of a new proxy or bare instance, which tells them from all others.
pub fn new_handle_tag() -> u32 {
    // Wraps after four billion tags in one process.
    TAGS.fetch_add(1, Ordering::Relaxed)
}
