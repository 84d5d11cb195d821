//! A proxy in miniature, of the parts that `proxy-core` has: the lane, the turns, the committer. The
//! steps of a call, a swap and an undo are in the order of `data_plane.rs`, `upkeep/swap.rs` and
//! `upkeep/undo.rs`, where a change must be made here too.

use std::sync::Arc;

use proxy_core::{Fault, Identity, JournalStore, MemoryJournal, Position};

use crate::committer::{Committer, Durability, JournalQueue};
use crate::journal::Positions;
use crate::lane::{Lane, LaneGuard};
use crate::locking::lock;
use crate::planted::Planted;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, thread};
use crate::turns::Turns;
use crate::{Error, SequenceNumber};

/// What a guest keeps: the arguments of the calls, in their order.
type Guest = Vec<u8>;

struct Generation {
    guest: Lane<Guest>,
    is_retired: AtomicBool,
    is_tainted: AtomicBool,
}

/// An entry: the call's argument.
#[derive(Clone, Copy)]
struct Entry(SequenceNumber, u8);

#[derive(Default)]
struct Journal {
    entries: Vec<Entry>,
    last: SequenceNumber,
}

struct Mini {
    active: Mutex<Arc<Generation>>,
    turns: Turns,
    journal: Mutex<Journal>,
    upkeep: Mutex<()>,
    store: MemoryJournal,
    committer: Committer,
}

impl Generation {
    fn new(guest: Guest) -> Arc<Self> {
        Arc::new(Self {
            guest: Lane::new(guest),
            is_retired: AtomicBool::new(false),
            is_tainted: AtomicBool::new(false),
        })
    }

    fn is_closed(&self) -> bool {
        self.is_retired.load(Ordering::SeqCst) || self.is_tainted.load(Ordering::SeqCst)
    }

    fn enter(&self) -> Option<LaneGuard<'_, Guest>> {
        let guest = self.guest.enter(|| self.is_closed())?;
        (!self.is_closed()).then_some(guest)
    }

    fn taint(&self) {
        self.is_tainted.store(true, Ordering::SeqCst);
        self.guest.wake_all();
    }
}

impl Mini {
    fn new() -> Arc<Self> {
        let store = MemoryJournal::new(Identity {
            module: [0; 32],
            notes: Vec::new(),
        });
        let head = store.head().expect("it runs");
        let none = (SequenceNumber::ZERO, Positions::default());
        let shared: Arc<dyn JournalStore> = Arc::new(store.clone());
        let how = (Durability::Durable, JournalQueue::default());
        let committer = Committer::start(shared, how, head, none, |_| ());
        Arc::new(Self {
            active: Mutex::new(Generation::new(Guest::new())),
            turns: Turns::default(),
            journal: Mutex::default(),
            upkeep: Mutex::new(()),
            store,
            committer: committer.expect("there are threads"),
        })
    }

    fn active(&self) -> Arc<Generation> {
        Arc::clone(&lock(&self.active))
    }

    /// A journaled call. Returns once it is acknowledged.
    fn call(&self, arg: u8) -> Result<(), Error> {
        let _admitted = self.committer.admit()?;
        loop {
            let generation = self.active();
            let Some(mut guest) = generation.enter() else {
                self.next_generation(&generation);
                continue;
            };
            let turn = if Planted::NoTurn.is_there() {
                None
            } else if let Some(turn) = self.turns.try_turn() {
                Some(turn)
            } else {
                drop(guest);
                self.turns.wait_at_gate();
                continue;
            };
            if generation.is_retired.load(Ordering::SeqCst) {
                continue;
            }
            let sequence = lock(&self.journal).last.next();
            guest.push(arg);
            let turn = turn.filter(|_| !Planted::PutLate.is_there());
            let batch = match self.committer.put(vec![arg], Some(sequence)) {
                Ok(batch) => batch,
                Err(error) => {
                    generation.taint();
                    return Err(error);
                }
            };
            let mut journal = lock(&self.journal);
            journal.entries.push(Entry(sequence, arg));
            journal.last = sequence;
            drop(journal);
            drop(turn);
            drop(guest);
            self.committer.tell();
            if Planted::AcknowledgedEarly.is_there() {
                return Ok(());
            }
            return batch.wait().map_err(|source| {
                self.undo();
                Error::NotDurable { source }
            });
        }
    }

    fn next_generation(&self, closed: &Arc<Generation>) {
        if closed.is_tainted.load(Ordering::SeqCst) {
            let upkeep = lock(&self.upkeep);
            if Arc::ptr_eq(closed, &self.active()) {
                self.undo_if_due();
                self.exchange();
            }
            drop(upkeep);
        }
    }

    fn swap(&self) {
        let upkeep = lock(&self.upkeep);
        self.exchange();
        drop(upkeep);
    }

    /// Makes a standby of the journal, and stores the pointer to it.
    fn exchange(&self) {
        let standby: Vec<Entry> = lock(&self.journal).entries.clone();
        let applied = standby.last().map_or(SequenceNumber::ZERO, |entry| entry.0);
        let mut guest: Guest = standby.iter().map(|entry| entry.1).collect();
        let turn = self.turns.turn_for_swap();
        let journal = lock(&self.journal);
        if !Planted::TailLeftOut.is_there() {
            let tail = journal.entries.iter().filter(|entry| entry.0 > applied);
            guest.extend(tail.map(|entry| entry.1));
        }
        drop(journal);
        let mut turn = Some(turn);
        if Planted::TurnReleasedEarly.is_there() {
            turn = None;
        }
        let generation = Generation::new(guest);
        let old = std::mem::replace(&mut *lock(&self.active), generation);
        if Planted::RetiredLate.is_there() {
            turn = None;
        }
        old.is_retired.store(true, Ordering::SeqCst);
        drop(turn);
        old.guest.wake_all();
    }

    fn undo(&self) {
        let upkeep = lock(&self.upkeep);
        if self.undo_if_due() {
            self.exchange();
        }
        drop(upkeep);
    }

    fn undo_if_due(&self) -> bool {
        if !self.committer.is_undo_due() {
            return false;
        }
        let turn = self.turns.turn_for_swap();
        let Some(to) = self.committer.take_undo() else {
            return false;
        };
        let mut journal = lock(&self.journal);
        if !Planted::UndoKeepsEntries.is_there() {
            journal.entries.retain(|entry| entry.0 <= to);
        }
        let last = journal.last;
        drop(journal);
        self.committer.note_undone(last);
        let is_kept = Planted::UndoKeepsState.is_there();
        if !is_kept {
            self.active().taint();
        }
        drop(turn);
        !is_kept
    }

    /// What the store has, oldest first.
    fn stored(&self) -> Vec<u8> {
        let records = self.store.read_after(Position::ZERO, usize::MAX);
        let records = records.expect("the chain is whole");
        records
            .iter()
            .flat_map(|record| record.bytes.clone())
            .collect()
    }

    /// When all calls are over: journal, store and active generation are the same, with all that was
    /// acknowledged and nothing that was refused.
    fn settle(&self, outcomes: &[(u8, bool)]) {
        let active = self.active();
        if active.is_tainted.load(Ordering::SeqCst) {
            self.next_generation(&active);
        }
        let journal: Vec<u8> = lock(&self.journal)
            .entries
            .iter()
            .map(|entry| entry.1)
            .collect();
        assert_eq!(self.stored(), journal, "the store and the journal differ");
        let active = self.active();
        let guest = active.enter().expect("nobody is inside").clone();
        assert_eq!(
            guest, journal,
            "the active generation and the journal differ"
        );
        for (arg, is_acknowledged) in outcomes {
            let first = journal.iter().position(|other| other == arg);
            let last = journal.iter().rposition(|other| other == arg);
            assert_eq!(first, last, "call {arg} is there twice");
            assert_eq!(first.is_some(), *is_acknowledged, "call {arg}");
        }
    }
}

/// Runs callers, swaps and a disk that is full for a moment.
fn run(callers: u8, calls: u8, swaps: u8, is_full_once: bool) {
    let mini = Mini::new();
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let mini = Arc::clone(&mini);
            thread::spawn(move || {
                let call = |call| {
                    let arg = caller << 4 | call;
                    (arg, mini.call(arg).is_ok())
                };
                (0..calls).map(call).collect::<Vec<_>>()
            })
        })
        .collect();
    let disk = is_full_once.then(|| {
        let mini = Arc::clone(&mini);
        thread::spawn(move || {
            mini.store.inject(Fault::Full);
            thread::yield_now();
            mini.store.mend();
        })
    });
    for _ in 0..swaps {
        mini.swap();
    }
    let mut outcomes = Vec::new();
    for caller in callers {
        outcomes.extend(caller.join().expect("a caller has its outcomes"));
    }
    if let Some(disk) = disk {
        disk.join().expect("the disk has room again");
    }
    mini.settle(&outcomes);
}

/// Two callers and a swap.
pub fn calls_and_a_swap() {
    run(2, 2, 1, false);
}

/// Three callers, and a disk that is full for a moment.
pub fn calls_and_a_full_disk() {
    run(3, 2, 0, true);
}

/// Two callers, two swaps, and a disk that is full for a moment.
pub fn calls_and_swaps_and_a_full_disk() {
    run(2, 2, 2, true);
}
