//! What a committer remembers of failures. Each case was written for a fault that was planted in
//! `committer.rs`, which `models` compiles too, with another scheduler.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::committer::{Committer, Durability, JournalQueue};
use crate::journal::Positions;
use crate::journal_store::{Fault, Head, Identity, JournalStore, MemoryJournal};
use crate::{Error, SequenceNumber};

/// What a committer is made with: the store, how, its head, and where it begins.
type Made = (
    Arc<dyn JournalStore>,
    (Durability, JournalQueue),
    Head,
    (SequenceNumber, Positions),
);

fn made(durability: Durability) -> (Made, MemoryJournal) {
    let journal = MemoryJournal::new(Identity {
        module: [7; 32],
        notes: Vec::new(),
    });
    let store: Arc<dyn JournalStore> = Arc::new(journal.clone());
    let head = store.head().unwrap();
    let how = (durability, JournalQueue::default());
    let begun = (SequenceNumber::ZERO, Positions::default());
    ((store, how, head, begun), journal)
}

fn committer(durability: Durability) -> (Committer, MemoryJournal) {
    let ((store, how, head, begun), journal) = made(durability);
    let committer = Committer::start(store, how, head, begun, |_| ()).unwrap();
    (committer, journal)
}

/// As it is where the platform has no threads.
fn alone(durability: Durability) -> (Committer, MemoryJournal) {
    let ((store, how, head, begun), journal) = made(durability);
    (Committer::alone(store, how, head, begun, |_| ()), journal)
}

fn put(committer: &Committer, sequence: u64) -> bool {
    let batch = committer.put(vec![1, 2, 3], Some(SequenceNumber(sequence)));
    committer.tell();
    batch.unwrap().wait().is_ok()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn nothing_is_wrong_any_more_after_a_batch_that_was_appended() {
    let every = Duration::from_millis(1);
    let (committer, journal) = committer(Durability::Relaxed { every });
    journal.inject(Fault::Full);
    assert!(put(&committer, 1), "it was acknowledged");
    until("it is noticed", || committer.fault().is_some());
    journal.mend();
    // Nobody asks for room: the batch is tried again, and goes.
    until("it is written", || journal.head().unwrap().position.0 == 1);
    until("it is forgotten", || committer.fault().is_none());
    assert!(committer.admit().is_ok());
    assert!(put(&committer, 2));
}

#[test]
fn nothing_is_admitted_before_what_was_lost_is_undone() {
    let (committer, journal) = committer(Durability::Durable);
    assert!(put(&committer, 1));
    journal.inject(Fault::Full);
    assert!(!put(&committer, 2));
    journal.mend();
    // Longer than between two looks at the disk.
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        let refused = committer.admit().err();
        assert!(matches!(refused, Some(Error::JournalFull { .. })));
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(committer.take_undo(), Some(SequenceNumber(1)));
    until("there is room", || committer.admit().is_ok());
}

#[test]
fn an_undo_after_an_undo_loses_only_what_came_between() {
    let (committer, journal) = committer(Durability::Durable);
    assert!(put(&committer, 1));
    for lost in [2, 3] {
        journal.inject(Fault::Full);
        assert!(!put(&committer, lost));
        assert_eq!(committer.take_undo(), Some(SequenceNumber(lost - 1)));
        committer.note_undone(SequenceNumber(lost));
        journal.mend();
        until("there is room", || committer.admit().is_ok());
    }
}

#[test]
fn without_a_thread_a_record_is_in_the_store_when_it_was_put() {
    let every = Duration::from_hours(1);
    for durability in [Durability::Durable, Durability::Relaxed { every }] {
        let (committer, journal) = alone(durability);
        for sequence in 1..=3 {
            let batch = committer.put(vec![1], Some(SequenceNumber(sequence)));
            assert!(batch.unwrap().is_durable());
            assert_eq!(journal.head().unwrap().position.0, sequence);
        }
        assert!(committer.pending().is_none());
    }
}

#[test]
fn without_a_thread_a_call_that_cannot_be_kept_is_undone() {
    let (committer, journal) = alone(Durability::Durable);
    assert!(put(&committer, 1));
    journal.inject(Fault::Full);
    assert!(!put(&committer, 2));
    assert_eq!(committer.take_undo(), Some(SequenceNumber(1)));
    committer.note_undone(SequenceNumber(2));
    journal.mend();
    until("there is room", || committer.admit().is_ok());
    assert!(put(&committer, 3));
}

#[test]
fn without_a_thread_what_was_acknowledged_is_written_with_the_next_record_or_at_the_end() {
    let every = Duration::from_hours(1);
    let (committer, journal) = alone(Durability::Relaxed { every });
    journal.inject(Fault::Full);
    assert!(put(&committer, 1), "it was acknowledged");
    journal.mend();
    until("there is room", || committer.admit().is_ok());
    assert!(put(&committer, 2));
    assert_eq!(journal.head().unwrap().position.0, 2);
    journal.inject(Fault::Full);
    assert!(put(&committer, 3), "it was acknowledged");
    journal.mend();
    drop(committer);
    assert_eq!(journal.head().unwrap().position.0, 3);
}
