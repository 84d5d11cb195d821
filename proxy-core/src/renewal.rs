//! Whether the next checkpoint may continue the newest, or is to be made from nothing.

use std::time::Duration;

/// What is known of instances made from nothing, and of what it costs to do without a newer
/// checkpoint.
///
/// A checkpoint that continues another keeps every hole that its tail left in the guest's memory.
/// In a chain of them these add up. So an instance that is noticeably larger than one made from
/// nothing is not continued: its holes end with it, and the checkpoint stays the old one until a
/// newer one has been made from nothing. That takes long, and the next tail may leave holes of the
/// same size. So it is begun only when the tails that a newer checkpoint would have saved took as
/// long as it takes: at most half of all that work is spent on starting over.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    measure: Option<Measure>,
    refusal: Option<Refusal>,
}

/// An instance that has no holes, as far as is known.
#[derive(Clone, Copy, Debug)]
struct Measure {
    bytes: u64,
    /// How many entries live objects needed at that time.
    entries: usize,
}

/// An instance was not continued, and no checkpoint has been kept since.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    /// What the tails took since then, in all.
    spent: Duration,
    /// How long it takes to make an instance from nothing.
    price: Duration,
}

/// An instance may be larger than one made from nothing by this part of it: less than a fiftieth.
const EXCESS: u64 = 64;

/// This many times as many entries make another state, whose size nobody knows yet.
const OTHER_STATE: usize = 2;

impl Renewal {
    /// An instance was made from nothing. It takes this many bytes, and live objects need so many
    /// entries.
    pub(crate) fn note_from_nothing(&mut self, bytes: u64, entries: usize) {
        self.measure = Some(Measure { bytes, entries });
    }

    /// Whether a chain has made an instance of this size too large to be continued. Without
    /// anything to compare it with it has not. `entries` is asked how many entries live objects
    /// need now, if that matters.
    pub(crate) fn has_crept(&self, bytes: u64, entries: impl FnOnce() -> usize) -> bool {
        let measure = self.measure.filter(|measure| measure.is_exceeded(bytes));
        measure.is_some_and(|measure| !measure.is_of_another_state(entries()))
    }

    /// A checkpoint of an instance of this size was kept. If it is large, it is the measure from
    /// now on: it is of another state.
    pub(crate) fn note_kept(&mut self, bytes: u64, entries: impl FnOnce() -> usize) {
        self.refusal = None;
        if self
            .measure
            .is_none_or(|measure| measure.is_exceeded(bytes))
        {
            self.note_from_nothing(bytes, entries());
        }
    }

    /// An instance was not continued. Its tail took `tail`, and one from nothing takes `price`.
    pub(crate) fn refuse(&mut self, tail: Duration, price: Duration) {
        let before = self.refusal.map_or(Duration::ZERO, |refusal| refusal.spent);
        self.refusal = Some(Refusal {
            spent: before.saturating_add(tail),
            price,
        });
    }

    /// Whether the newest checkpoint is not continued any more.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// Whether it is time to make one from nothing, if the next tail should take `tail`.
    pub(crate) fn is_due(&self, tail: Duration) -> bool {
        self.refusal
            .is_some_and(|refusal| refusal.spent.saturating_add(tail) >= refusal.price)
    }
}

impl Measure {
    fn is_exceeded(self, bytes: u64) -> bool {
        bytes > self.bytes.saturating_add(self.bytes / EXCESS)
    }

    fn is_of_another_state(self, entries: usize) -> bool {
        entries >= self.entries.max(1).saturating_mul(OTHER_STATE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_instance_is_compared_with_one_made_from_nothing_until_the_journal_has_doubled() {
        let mut renewal = Renewal::default();
        assert!(!renewal.has_crept(8 * MIB, || 100));
        renewal.note_from_nothing(8 * MIB, 100);
        for (bytes, entries, has_crept) in [
            (8 * MIB, 100, false),
            (8 * MIB + MIB / 8, 100, false),
            (8 * MIB + MIB / 8 + 1, 100, true),
            (7 * MIB, 50, false),
            (10 * MIB, 50, true),
            (10 * MIB, 199, true),
            (10 * MIB, 200, false),
        ] {
            let found = renewal.has_crept(bytes, || entries);
            assert_eq!(found, has_crept, "{bytes} bytes, {entries} entries");
        }
        renewal.note_kept(10 * MIB, || 200);
        assert!(!renewal.has_crept(10 * MIB, || 200));
        assert!(renewal.has_crept(11 * MIB, || 399));
        // One that is kept of the same state is no new measure.
        renewal.note_kept(10 * MIB + MIB / 8, || 201);
        assert!(renewal.has_crept(10 * MIB + MIB / 4, || 201));
    }

    #[test]
    fn starting_over_waits_until_the_tails_took_as_long() {
        let mut renewal = Renewal::default();
        assert!(!renewal.is_due(Duration::MAX));
        renewal.refuse(10 * MS, 30 * MS);
        assert!(renewal.is_refused());
        assert!(!renewal.is_due(10 * MS));
        assert!(renewal.is_due(20 * MS), "the next tail counts too");
        renewal.refuse(10 * MS, 40 * MS);
        assert!(!renewal.is_due(10 * MS));
        renewal.refuse(20 * MS, 40 * MS);
        assert!(renewal.is_due(Duration::ZERO));
        renewal.note_kept(8 * MIB, || 1);
        assert!(!renewal.is_refused());
        assert!(!renewal.is_due(Duration::MAX));
    }

    proptest! {
        /// Each tail loses memory, and each is long enough to ask for a newer checkpoint.
        #[test]
        fn no_chain_creeps_and_starting_over_takes_no_longer_than_the_tails(
            state in MIB..100 * MIB,
            lost in 0..4 * MIB,
            tail in 50..500_u32,
            price in 1..10_000_u32,
            entries in 1..1000_usize,
        ) {
            let (tail, price) = (tail * MS, price * MS);
            let mut renewal = Renewal::default();
            renewal.note_from_nothing(state, entries);
            renewal.note_kept(state, || entries);
            let mut checkpoint = state;
            let (mut tails, mut begun) = (Duration::ZERO, Duration::ZERO);
            for _ in 0..500 {
                let standby = checkpoint + lost;
                prop_assert!(standby <= state + state / EXCESS + lost);
                tails += tail;
                if renewal.has_crept(standby, || entries) {
                    renewal.refuse(tail, price);
                } else {
                    renewal.note_kept(standby, || entries);
                    checkpoint = standby;
                }
                if renewal.is_due(Duration::ZERO) {
                    begun += price;
                    renewal.note_from_nothing(state, entries);
                    renewal.note_kept(state, || entries);
                    checkpoint = state;
                }
            }
            prop_assert!(begun <= tails, "{begun:?} for {tails:?}");
        }
    }
}
