//! Forgetting what no live object needs.
//!
//! An entry is *needed* if
//!
//! 1. it changes the module as a whole; or
//! 2. it created an object that is still alive; or
//! 3. a needed entry names one of its objects as an argument; or
//! 4. it changed or freed an object whose creation is needed, because replay must leave that object
//!    as it was, and freed where it was; or
//! 5. it changed or freed an object of the checkpoint that has taken the place of older entries.
//!
//! Everything else goes. Rules 3 and 4 feed each other, so needs are followed until no new ones
//! appear; that takes time linear in the journal.
//!
//! So it works on a copy of the list of entries, and the journal is not locked meanwhile. An entry
//! that is not needed now is not needed later, because new entries name only live objects. The
//! caller must keep the horizons from changing meanwhile.

use std::sync::Arc;
use std::time::Duration;

use guest_calls::{HandleMap, OwnedArg};
use smallvec::SmallVec;

use super::{Entry, Journal, Maker};
use crate::policy::plan::Changes;
use crate::{Handle, SequenceNumber};

impl Journal {
    /// The newest entries applied by the instance under preparation and by each checkpoint. Both
    /// still need the later entries that free their objects.
    ///
    /// `standby` is the newest entry that a generation under preparation has applied or is
    /// applying: an object that was created up to it and freed after it counts as alive, so such a
    /// generation still finds the entry that frees it. One that came and went after it is never
    /// made there. Without such a generation it is [`SequenceNumber`]'s maximum.
    pub(crate) fn horizons(&self, standby: SequenceNumber) -> Vec<SequenceNumber> {
        let others = self.checkpoints.iter().chain(&self.scratch);
        others.copied().chain([standby]).collect()
    }

    /// Whether objects were freed since the last compaction, so entries after `horizon` may go.
    pub(crate) fn has_passing(&self, horizon: SequenceNumber) -> bool {
        self.frees_since_compaction > 0 && self.count_after(horizon) > 0
    }

    /// A compaction begins: frees from here on count for the next.
    pub(crate) fn begin_compaction(&mut self) {
        self.frees_since_compaction = 0;
    }

    /// Replaces all entries up to `last` by `kept`, and returns them. `gone` is the weight of those
    /// that are not in `kept`.
    pub(crate) fn replace_up_to(
        &mut self,
        last: SequenceNumber,
        mut kept: Vec<Arc<Entry>>,
        gone: Weight,
    ) -> Vec<Arc<Entry>> {
        kept.extend(self.after(last, usize::MAX));
        self.lose(gone);
        self.len_after_compaction = kept.len();
        std::mem::replace(&mut self.entries, kept)
    }

    /// Entries of this weight are gone.
    pub(super) fn lose(&mut self, gone: Weight) {
        self.took = self.took.saturating_sub(gone.took);
        self.bytes = self.bytes.saturating_sub(gone.bytes);
    }

    /// Drops the entries of an earlier process about objects that came and went before its checkpoint
    /// was taken, as far as their records are after it: it was made without those objects.
    pub(crate) fn drop_passing(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        let makers = &self.makers;
        let needed = needed_with(&entries, &[self.base], |handle| {
            makers.contains_key(&handle)
        });
        let mut needed = needed.into_iter();
        let (kept, gone): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|_| needed.next().unwrap_or(true));
        self.entries = kept;
        self.lose(Weight::of(&gone));
        self.forget_objects(&gone);
    }

    /// Forgets the objects of entries that are gone.
    pub(crate) fn forget_objects(&mut self, gone: &[Arc<Entry>]) {
        for (handle, _) in gone.iter().flat_map(|entry| entry.creates()) {
            self.objects.remove(&handle);
        }
    }

    /// Forgets the objects that these entries, oldest first, freed. Those that they created and that
    /// are alive are still known, with their makers: a checkpoint has them.
    pub(crate) fn forget_freed(&mut self, gone: &[Arc<Entry>]) {
        for entry in gone {
            for (handle, ty) in entry.creates() {
                let maker = Maker {
                    func: entry.func,
                    export: Arc::clone(&entry.export),
                    ty: ty.clone(),
                };
                self.makers.insert(handle, maker);
            }
            for handle in &entry.frees {
                self.objects.remove(handle);
                self.makers.remove(handle);
            }
        }
    }

    /// Whether enough was freed to look for entries that checkpoints alone need: as many objects as
    /// are alive, so the cost of the look is constant for each.
    pub(crate) fn is_look_due(&mut self) -> bool {
        let is_due = !self.checkpoints.is_empty() && self.frees_since_look >= self.live + 64;
        if is_due {
            self.frees_since_look = 0;
        }
        is_due
    }
}

/// What entries take.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weight {
    /// How long their calls took together.
    took: Duration,
    /// What they take in memory, in bytes.
    bytes: u64,
}

impl Weight {
    pub(crate) fn of(entries: &[Arc<Entry>]) -> Self {
        Self {
            took: entries.iter().map(|entry| entry.took).sum(),
            bytes: entries.iter().map(|entry| entry.bytes()).sum(),
        }
    }
}

/// The life of an object in a list of entries: the positions of those that created, changed and freed it.
#[derive(Default)]
struct Life {
    created: Option<usize>,
    /// Most objects are used by few entries, and then the list is in place.
    touched: SmallVec<[usize; 2]>,
    freed: Option<SequenceNumber>,
}

/// Which of these entries, the journal's up to some moment, are needed. `base` is the entry up to
/// which a checkpoint has taken the place of all others: what is done to its objects stays.
pub(crate) fn needed(
    entries: &[Arc<Entry>],
    horizons: &[SequenceNumber],
    base: SequenceNumber,
) -> Vec<bool> {
    needed_with(entries, horizons, |handle| handle.sequence() <= base)
}

/// The same, if the checkpoint may have only such objects.
fn needed_with(
    entries: &[Arc<Entry>],
    horizons: &[SequenceNumber],
    may_be_in_base: impl Fn(Handle) -> bool,
) -> Vec<bool> {
    let mut lives: HandleMap<Life> = HandleMap::default();
    lives.reserve(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        for (handle, _) in entry.creates() {
            lives.entry(handle).or_default().created = Some(position);
        }
        for handle in entry.touched() {
            lives.entry(handle).or_default().touched.push(position);
        }
        for handle in &entry.frees {
            let life = lives.entry(*handle).or_default();
            life.freed = life.freed.or(Some(entry.sequence));
        }
    }
    let is_alive = |handle: Handle| {
        let Some(freed_by) = lives.get(&handle).and_then(|life| life.freed) else {
            return true;
        };
        let mut horizons = horizons.iter();
        horizons.any(|horizon| handle.sequence() <= *horizon && freed_by > *horizon)
    };
    let is_in_base = |handle: Handle| {
        may_be_in_base(handle) && lives.get(&handle).is_none_or(|life| life.created.is_none())
    };
    let mut needed = vec![false; entries.len()];
    let mut pending: Vec<usize> = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        let is_root = entry.changes == Changes::Module
            || entry.creates().any(|(handle, _)| is_alive(handle))
            || entry.touched().any(is_in_base);
        if is_root {
            needed[position] = true;
            pending.push(position);
        }
    }
    while let Some(position) = pending.pop() {
        let entry = &entries[position];
        let depends_on = entry.dependencies().filter_map(|handle| lives.get(&handle));
        let creators = depends_on.filter_map(|life| life.created.as_ref());
        let made = entry.creates().filter_map(|(handle, _)| lives.get(&handle));
        let touching = made.flat_map(|life| &life.touched);
        for next in creators.chain(touching) {
            if !std::mem::replace(&mut needed[*next], true) {
                pending.push(*next);
            }
        }
    }
    needed
}

/// The entries that are needed, and those that are not.
pub(crate) fn parted(
    entries: Vec<Arc<Entry>>,
    horizons: &[SequenceNumber],
    base: SequenceNumber,
) -> (Vec<Arc<Entry>>, Vec<Arc<Entry>>) {
    let needed = needed(&entries, horizons, base);
    let mut needed = needed.into_iter();
    entries
        .into_iter()
        .partition(|_| needed.next().unwrap_or(true))
}

impl Entry {
    /// The objects among its arguments that it changes or frees.
    pub(crate) fn touched(&self) -> impl Iterator<Item = Handle> {
        let changed = match &self.changes {
            Changes::Handles(positions) => positions.as_slice(),
            Changes::Module => &[],
        };
        changed
            .iter()
            .filter_map(|position| self.args.get(*position))
            .flat_map(OwnedArg::handles)
            .copied()
            .chain(self.frees.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;
    use crate::journal::testing::{TOOK, change_all, entry, free, mutate};
    use crate::journal::{Entry, ResultRecord, testing};

    const EVERYTHING: SequenceNumber = SequenceNumber(u64::MAX);

    impl Journal {
        /// Drops the entries that no live object needs, and returns how many.
        pub(crate) fn compact(&mut self, standby: SequenceNumber) -> usize {
            self.begin_compaction();
            let entries = self.after(SequenceNumber::ZERO, usize::MAX);
            let (kept, gone) = parted(entries, &self.horizons(standby), self.base);
            self.replace_up_to(self.last, kept, Weight::of(&gone));
            self.forget_objects(&gone);
            gone.len()
        }
    }

    fn create(journal: &mut Journal, args: &[Handle]) -> Handle {
        let entry = testing::create(journal, args);
        let (handle, _) = entry.creates().next().expect("it creates an object");
        handle
    }

    #[test]
    fn an_object_goes_with_all_that_was_done_to_it() {
        let mut journal = Journal::default();
        let kept = create(&mut journal, &[]);
        let gone = create(&mut journal, &[]);
        mutate(&mut journal, &[gone], vec![0]);
        mutate(&mut journal, &[kept], vec![0]);
        free(&mut journal, gone);
        assert_eq!(journal.compact(EVERYTHING), 3);
        assert_eq!(journal.len(), 2);
        assert!(matches!(
            journal.handle_error(gone),
            crate::Error::Call(crate::CallError::FreedHandle { .. })
        ));
    }

    #[test]
    fn a_freed_object_stays_while_a_live_one_was_made_from_it() {
        let mut journal = Journal::default();
        let srs = create(&mut journal, &[]);
        let index = create(&mut journal, &[srs]);
        free(&mut journal, srs);
        assert_eq!(journal.compact(EVERYTHING), 0);
        free(&mut journal, index);
        assert_eq!(journal.compact(EVERYTHING), 4);
        assert_eq!(journal.len(), 0);
    }

    #[test]
    fn a_change_of_the_whole_module_is_never_forgotten() {
        let mut journal = Journal::default();
        let object = create(&mut journal, &[]);
        change_all(&mut journal, &[object]);
        free(&mut journal, object);
        assert_eq!(journal.compact(EVERYTHING), 0);
    }

    #[test]
    fn what_a_generation_under_preparation_has_not_freed_yet_stays() {
        let mut journal = Journal::default();
        let object = create(&mut journal, &[]);
        let applied = journal.last();
        free(&mut journal, object);
        assert_eq!(journal.compact(applied), 0);
        assert_eq!(journal.compact(journal.last()), 2);
    }

    #[test]
    fn what_came_and_went_after_a_generation_was_prepared_is_never_made_there() {
        let mut journal = Journal::default();
        let kept = create(&mut journal, &[]);
        let applied = journal.last();
        let passing = create(&mut journal, &[kept]);
        free(&mut journal, passing);
        let made_from = create(&mut journal, &[]);
        let live = create(&mut journal, &[made_from]);
        free(&mut journal, made_from);
        assert_eq!(journal.compact(applied), 2);
        assert!(journal.is_live(live) && journal.is_live(kept));
    }

    #[test]
    fn an_object_that_was_needed_stays_with_its_end() {
        let mut journal = Journal::default();
        let pool = create(&mut journal, &[]);
        let index = Handle::new(journal.next(), 0, 0);
        let entry = Entry {
            results: smallvec![ResultRecord::Object(index, None)],
            needs: Some(pool),
            ..entry(&journal, &[], &[], Changes::Handles(vec![]))
        };
        journal.append(entry);
        free(&mut journal, pool);
        let other = create(&mut journal, &[]);
        free(&mut journal, other);
        assert_eq!(journal.compact(EVERYTHING), 2);
        free(&mut journal, index);
        assert_eq!(journal.compact(EVERYTHING), 4);
    }

    /// A model of a module with objects: each holds a number; what replay of a journal leaves.
    #[derive(Clone, Debug)]
    enum Op {
        Create(Vec<usize>),
        Mutate(usize, usize),
        Free(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => proptest::collection::vec(0..64_usize, 0..3).prop_map(Op::Create),
            3 => (0..64_usize, 0..64_usize).prop_map(|(into, from)| Op::Mutate(into, from)),
            2 => (0..64_usize).prop_map(Op::Free),
        ]
    }

    fn alive(journal: &Journal) -> Vec<Handle> {
        let alive = journal
            .objects
            .iter()
            .filter(|(_, freed_by)| freed_by.is_none());
        alive.map(|(handle, _)| *handle).collect()
    }

    fn replay(journal: &Journal) -> BTreeMap<Handle, u64> {
        let mut state: BTreeMap<Handle, u64> = BTreeMap::new();
        for entry in journal.after(SequenceNumber::ZERO, usize::MAX) {
            let args: Vec<u64> = entry.dependencies().map(|handle| state[&handle]).collect();
            for (handle, _) in entry.creates() {
                let value = args
                    .iter()
                    .fold(entry.sequence.0, |h, a| h.wrapping_mul(31) ^ a);
                state.insert(handle, value);
            }
            for handle in entry.touched() {
                let value = state
                    .get_mut(&handle)
                    .expect("only live objects are touched");
                *value = args
                    .iter()
                    .fold(value.wrapping_mul(37), |h, a| h.wrapping_add(*a));
            }
            for handle in &entry.frees {
                state.remove(handle);
            }
        }
        state
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn replaying_the_compacted_journal_gives_the_same_objects(
            ops in proptest::collection::vec(op(), 0..120),
            every in 1..20_usize,
        ) {
            let mut journal = Journal::default();
            let mut compacted = Journal::default();
            let mut live: Vec<Handle> = Vec::new();
            for (step, op) in ops.iter().enumerate() {
                for journal in [&mut journal, &mut compacted] {
                    let mut alive = live.clone();
                    match op {
                        Op::Create(from) => {
                            let args: Vec<Handle> = from
                                .iter()
                                .filter_map(|at| alive.get(at % alive.len().max(1)).copied())
                                .collect();
                            create(journal, &args);
                        }
                        Op::Mutate(into, from) if !alive.is_empty() => {
                            let args = [alive[into % alive.len()], alive[from % alive.len()]];
                            mutate(journal, &args, vec![0]);
                        }
                        Op::Free(at) if !alive.is_empty() => {
                            let handle = alive.swap_remove(at % alive.len());
                            free(journal, handle);
                        }
                        _ => {}
                    }
                }
                live = alive(&journal);
                live.sort();
                if step % every == 0 {
                    compacted.compact(EVERYTHING);
                }
            }
            prop_assert_eq!(replay(&journal), replay(&compacted));
            let entries = u32::try_from(compacted.len()).unwrap();
            prop_assert_eq!(compacted.took(), TOOK * entries);
            let weight = Weight::of(&compacted.after(SequenceNumber::ZERO, usize::MAX));
            prop_assert_eq!(compacted.bytes(), weight.bytes);
            // Nothing dead is kept: compacting everything that was freed leaves nothing.
            for handle in live {
                free(&mut compacted, handle);
            }
            compacted.compact(EVERYTHING);
            prop_assert_eq!(compacted.len(), 0);
        }
    }
}
