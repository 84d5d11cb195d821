//! What the journal forgets, and when. Each case was written for a fault that was planted.

use super::testing::{create, free};
use super::*;

fn journal() -> Journal {
    Journal::new(HistoryBound::default(), CallIdBound::default())
}

/// An object that comes and goes.
fn pass(journal: &mut Journal) {
    let made = create(journal, &[]);
    let handle = Handle::new(made.sequence, 0, 0);
    free(journal, handle);
}

#[test]
fn a_compaction_that_has_begun_is_not_due_again() {
    let mut journal = journal();
    while !journal.is_compaction_due() {
        pass(&mut journal);
    }
    assert!(journal.has_passing(SequenceNumber::ZERO));
    journal.begin_compaction();
    assert!(!journal.is_compaction_due());
    assert!(!journal.has_passing(SequenceNumber::ZERO));
    pass(&mut journal);
    assert!(
        journal.has_passing(SequenceNumber::ZERO),
        "one more was freed"
    );
}

#[test]
fn what_the_instance_for_the_next_checkpoint_has_yet_to_free_is_kept() {
    let mut journal = journal();
    let made = create(&mut journal, &[]);
    journal.hold_scratch(Some(made.sequence));
    free(&mut journal, Handle::new(made.sequence, 0, 0));
    let needed = |journal: &Journal| {
        let entries = journal.after(SequenceNumber::ZERO, usize::MAX);
        let horizons = journal.horizons(SequenceNumber(u64::MAX));
        compaction::needed(&entries, &horizons, SequenceNumber::ZERO)
    };
    assert_eq!(needed(&journal), [true, true]);
    journal.hold_scratch(None);
    assert_eq!(needed(&journal), [false, false]);
}

#[test]
fn notes_have_no_answer_that_came_after_their_entry() {
    let mut journal = journal();
    for id in 1..=3_u8 {
        let entry = create(&mut journal, &[]);
        let answered = AnsweredCall {
            id: [id].into(),
            call: [id; 32],
            answer: Answer::Rejected("no".into()),
        };
        let answered = Arc::new(answered);
        journal.answered_mut().keep(answered, entry.sequence, None);
    }
    for last in 0..=3 {
        let notes = journal.notes_at(SequenceNumber(last));
        let ids: Vec<u8> = notes.answered.iter().map(|(one, _)| one.id[0]).collect();
        assert!(ids.iter().copied().map(u64::from).eq(1..=last), "{ids:?}");
    }
}

#[test]
fn entries_that_are_undone_weigh_nothing() {
    let mut journal = journal();
    let first = create(&mut journal, &[]);
    let before = (journal.bytes(), journal.took());
    for _ in 0..5 {
        pass(&mut journal);
    }
    assert!(journal.bytes() > before.0 && journal.took() > before.1);
    assert_eq!(journal.roll_back(first.sequence).len(), 10);
    assert_eq!((journal.bytes(), journal.took()), before);
}
