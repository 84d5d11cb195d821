//! Forgetting what no live object needs.
//!
//! An entry is *needed* if
//!
//! 1. it changes the module as a whole; or
//! 2. it created an object that is still alive; or
//! 3. a needed entry names one of its objects as an argument; or
//! 4. it changed or freed an object whose creation is needed, because replay must leave that object
//!    as it was, and freed where it was.
//!
//! Everything else goes. Rules 3 and 4 feed each other, so needs are followed until no new ones
//! appear; that takes time linear in the journal.

use std::collections::HashMap;
use std::sync::Arc;

use super::Journal;
use crate::policy::plan::Changes;
use crate::{Handle, SequenceNumber};

impl Journal {
    /// Drops what came and went after `horizon`, which saves a waiting standby from doing it all.
    pub(crate) fn compact_tail(&mut self, horizon: SequenceNumber) -> usize {
        if self.frees_since_compaction == 0 || self.count_after(horizon) == 0 {
            return 0;
        }
        self.compact(horizon)
    }

    /// Drops the entries that no live object needs, and returns how many.
    ///
    /// `horizon` is the newest entry that a generation under preparation has applied or is applying:
    /// an object that was created up to it and freed after it counts as alive, so that such a
    /// generation still finds the entry that frees it. One that came and went after it is never made
    /// there. Without such a generation it is [`SequenceNumber`]'s maximum. Checkpoints are horizons too.
    pub(crate) fn compact(&mut self, horizon: SequenceNumber) -> usize {
        let needed = self.needed(&self.horizons(horizon));
        let before = self.entries.len();
        let mut position = 0;
        let (objects, took) = (&mut self.objects, &mut self.took);
        self.entries.retain(|entry| {
            position += 1;
            let keep = needed[position - 1];
            if !keep {
                *took = took.saturating_sub(entry.took);
                for (handle, _) in entry.creates() {
                    objects.remove(&handle);
                }
            }
            keep
        });
        self.frees_since_compaction = 0;
        self.len_after_compaction = self.entries.len();
        before - self.entries.len()
    }

    /// The entries that would be left if there were no checkpoints.
    pub(crate) fn live_entries(&self) -> Vec<Arc<super::Entry>> {
        let needed = self.needed(&[]);
        let entries = self.entries.iter().zip(needed);
        entries
            .filter(|(_, needed)| *needed)
            .map(|(entry, _)| Arc::clone(entry))
            .collect()
    }

    /// Whether more than half of the entries are there for nothing but a checkpoint, which knows objects that have been
    /// freed since. It is looked at only when as many objects were freed as are alive, so that its cost is constant
    /// for each.
    pub(crate) fn is_held_by_the_dead(&mut self) -> bool {
        if self.checkpoints.is_empty() || self.frees_since_look < self.live + 64 {
            return false;
        }
        self.frees_since_look = 0;
        let held = self.needed(&self.horizons(SequenceNumber(u64::MAX)));
        let held = held.into_iter().filter(|needed| *needed).count();
        2 * self.live_entries().len() < held
    }

    fn horizons(&self, standby: SequenceNumber) -> Vec<SequenceNumber> {
        let others = self.checkpoints.iter().chain(&self.scratch);
        others.copied().chain([standby]).collect()
    }

    fn needed(&self, horizons: &[SequenceNumber]) -> Vec<bool> {
        // Who created an object, and who changed or freed it, by position.
        let mut creator: HashMap<Handle, usize> = HashMap::new();
        let mut users: HashMap<Handle, Vec<usize>> = HashMap::new();
        for (position, entry) in self.entries.iter().enumerate() {
            for (handle, _) in entry.creates() {
                creator.insert(handle, position);
            }
            for handle in entry.touched() {
                users.entry(handle).or_default().push(position);
            }
        }
        let mut needed = vec![false; self.entries.len()];
        let mut pending: Vec<usize> = Vec::new();
        for (position, entry) in self.entries.iter().enumerate() {
            let is_root = entry.changes == Changes::Module
                || entry
                    .creates()
                    .any(|(handle, _)| self.is_alive(handle, horizons));
            if is_root {
                needed[position] = true;
                pending.push(position);
            }
        }
        while let Some(position) = pending.pop() {
            let entry: &Arc<super::Entry> = &self.entries[position];
            let creators = entry
                .dependencies()
                .filter_map(|handle| creator.get(&handle));
            let touching = entry
                .creates()
                .filter_map(|(handle, _)| users.get(&handle))
                .flatten();
            for next in creators.chain(touching) {
                if !std::mem::replace(&mut needed[*next], true) {
                    pending.push(*next);
                }
            }
        }
        needed
    }

    fn is_alive(&self, handle: Handle, horizons: &[SequenceNumber]) -> bool {
        let is_held = |freed_by: SequenceNumber| {
            let mut horizons = horizons.iter();
            horizons.any(|horizon| handle.sequence() <= *horizon && freed_by > *horizon)
        };
        self.objects
            .get(&handle)
            .is_some_and(|freed_by| freed_by.is_none_or(is_held))
    }
}

impl super::Entry {
    /// The objects among its arguments that it changes or frees.
    pub(crate) fn touched(&self) -> impl Iterator<Item = Handle> {
        let changed = match &self.changes {
            Changes::Handles(positions) => positions.as_slice(),
            Changes::Module => &[],
        };
        changed
            .iter()
            .filter_map(|position| self.args.get(*position))
            .flat_map(super::EntryArg::handles)
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
            // Nothing dead is kept: compacting everything that was freed leaves nothing.
            for handle in live {
                free(&mut compacted, handle);
            }
            compacted.compact(EVERYTHING);
            prop_assert_eq!(compacted.len(), 0);
        }
    }
}
