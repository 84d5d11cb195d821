//! Counts memories and tables of an instance, and refuses growth beyond its limits.

use engine_api::{Limits, MemoryMeter};
use wasmtime::ResourceLimiter;

/// Counts the unshared linear memories of one store, and refuses growth beyond the limits.
///
/// wasmtime asks it before it makes or grows a memory or a table, for the guest and for the host.
/// Shared memories are limited only by their own maximum.
pub(crate) struct Limiter {
    /// Includes `shared_bytes`.
    memory_bytes: u64,
    memory_bytes_max: u64,
    /// The size that the module's own shared memories start with. wasmtime reports these when it
    /// makes them, as if they were unshared, and never reports their growth.
    shared_bytes: u64,
    table_elements_max: u64,
    /// The last growth that was permitted, in bytes; zero once it is known to have failed.
    last_growth: u64,
    /// Whether the memory that grows is wasmtime's own heap of externrefs.
    pub(crate) in_gc_heap: bool,
    /// Has the value of [`Limiter::memory_bytes`], for readers without the instance.
    pub(crate) meter: MemoryMeter,
}

/// The message of the only failed growth that wasmtime reports without asking first: the growth of
/// a memory beyond the range of its index type. Nothing but the message tells it apart.
const NEVER_ASKED: &str = "memory growth exceeds memory type's limits";

impl Limiter {
    /// For a store whose module defines shared memories that start with `shared_bytes` together.
    pub(crate) fn new(limits: &Limits, shared_bytes: u64) -> Self {
        let memory_bytes_max = limits.memory_bytes_max.unwrap_or(u64::MAX);
        Self {
            memory_bytes: 0,
            memory_bytes_max: memory_bytes_max.saturating_add(shared_bytes),
            shared_bytes,
            table_elements_max: limits.table_elements(),
            last_growth: 0,
            in_gc_heap: false,
            meter: MemoryMeter::default(),
        }
    }

    /// The limit of all unshared memories together, in bytes.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.saturating_sub(self.shared_bytes)
    }

    /// The limit of each table, in elements.
    pub(crate) fn table_elements_max(&self) -> u64 {
        self.table_elements_max
    }

    /// Notes that all memories, with the module's own shared ones, were refused this size.
    fn note_refused(&self, memory_bytes: u64) {
        let unshared = memory_bytes.saturating_sub(self.shared_bytes);
        self.meter.note_refused(unshared);
    }

    fn set_memory_bytes(&mut self, bytes: u64) {
        self.memory_bytes = bytes;
        self.meter.set(self.memory_bytes());
    }

    /// The size of all unshared memories, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.saturating_sub(self.shared_bytes)
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if self.in_gc_heap {
            return Ok(true);
        }
        self.last_growth = 0;
        let growth = desired.saturating_sub(current) as u64;
        let memory_bytes = self.memory_bytes.saturating_add(growth);
        if memory_bytes > self.memory_bytes_max || maximum.is_some_and(|max| desired > max) {
            self.note_refused(memory_bytes);
            return Ok(false);
        }
        self.set_memory_bytes(memory_bytes);
        self.last_growth = growth;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if self.in_gc_heap {
            return Ok(());
        }
        if error.to_string() == NEVER_ASKED {
            self.meter.note_refused(u64::MAX);
            return Ok(());
        }
        self.note_refused(self.memory_bytes);
        self.set_memory_bytes(self.memory_bytes - self.last_growth);
        self.last_growth = 0;
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired as u64 <= self.table_elements_max
            && maximum.is_none_or(|maximum| desired <= maximum))
    }
}

#[cfg(test)]
mod tests {
    use engine_api::PAGE_BYTES;

    use super::*;

    const PAGE: usize = 65_536;

    fn limiter(memory_bytes_max: u64) -> Limiter {
        let limits = Limits {
            memory_bytes_max: Some(memory_bytes_max),
            table_elements_max: Some(10),
            ..Limits::default()
        };
        Limiter::new(&limits, 0)
    }

    #[test]
    fn all_memories_count_together() {
        let mut limiter = limiter(3 * PAGE_BYTES);
        assert!(limiter.memory_growing(0, PAGE, None).unwrap());
        assert!(limiter.memory_growing(0, PAGE, None).unwrap());
        assert!(!limiter.memory_growing(PAGE, 3 * PAGE, None).unwrap());
        assert!(limiter.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        assert_eq!(limiter.memory_bytes(), 3 * PAGE_BYTES);
    }

    #[test]
    fn a_growth_that_failed_is_not_counted_and_one_never_asked_for_changes_nothing() {
        let mut limiter = limiter(u64::MAX);
        assert!(limiter.memory_growing(0, PAGE, None).unwrap());
        let never_asked = wasmtime::Error::msg(NEVER_ASKED);
        limiter.memory_grow_failed(never_asked).unwrap();
        assert_eq!(limiter.memory_bytes(), PAGE_BYTES);
        assert!(limiter.memory_growing(PAGE, 5 * PAGE, None).unwrap());
        let failed = || wasmtime::Error::msg("the system has no memory");
        limiter.memory_grow_failed(failed()).unwrap();
        assert_eq!(limiter.memory_bytes(), PAGE_BYTES);
        limiter.memory_grow_failed(failed()).unwrap();
        assert_eq!(limiter.memory_bytes(), PAGE_BYTES);
    }

    #[test]
    fn every_refusal_is_noted_with_its_size_and_no_permission() {
        let mut limiter = limiter(3 * PAGE_BYTES);
        let pages = |count: u64| Some(count * PAGE_BYTES);
        assert!(limiter.memory_growing(0, PAGE, None).unwrap());
        assert_eq!(limiter.meter.take_refused(), None);
        for desired in [7, 4, 5] {
            assert!(!limiter.memory_growing(PAGE, desired * PAGE, None).unwrap());
        }
        assert_eq!(limiter.meter.take_refused(), pages(4), "the smallest");
        assert_eq!(limiter.meter.take_refused(), None, "it was asked");
        assert!(!limiter.memory_growing(PAGE, 2 * PAGE, Some(PAGE)).unwrap());
        assert_eq!(limiter.meter.take_refused(), pages(2));
        let never_asked = wasmtime::Error::msg(NEVER_ASKED);
        limiter.memory_grow_failed(never_asked).unwrap();
        assert_eq!(limiter.meter.take_refused(), Some(u64::MAX));
        assert!(limiter.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        let failed = wasmtime::Error::msg("the system has no memory");
        limiter.memory_grow_failed(failed).unwrap();
        assert_eq!(limiter.meter.take_refused(), pages(2));
        assert!(!limiter.table_growing(0, 11, None).unwrap());
        assert_eq!(limiter.meter.take_refused(), None);
    }

    #[test]
    fn the_heap_of_externrefs_is_not_counted() {
        let mut limiter = limiter(0);
        limiter.in_gc_heap = true;
        assert!(limiter.memory_growing(0, PAGE, None).unwrap());
        let failed = wasmtime::Error::msg("the system has no memory");
        limiter.memory_grow_failed(failed).unwrap();
        assert_eq!(limiter.meter.take_refused(), None);
        limiter.in_gc_heap = false;
        assert_eq!(limiter.memory_bytes(), 0);
        assert!(!limiter.memory_growing(0, PAGE, None).unwrap());
    }

    #[test]
    fn each_table_has_the_limit_for_itself() {
        let mut limiter = limiter(0);
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(!limiter.table_growing(10, 11, None).unwrap());
        assert!(!limiter.table_growing(0, 6, Some(5)).unwrap());
    }
}
