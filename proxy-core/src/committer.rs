//! The committer: one thread that appends what callers journal to the store.
//!
//! A call leaves its record in the open batch while it has the turn, lets go of everything, and
//! waits for the batch. The committer takes the batch when the one before is done: the slower the
//! disk, the more calls share a flush. No timer holds anybody back.
//!
//! If a batch cannot be appended, its calls were never acknowledged, and the state has to lose them
//! ([`Committer::take_undo`]). Until that is done, nothing is taken into a batch.
//!
//! What waits is bounded ([`JournalQueue`]): a journaled call is admitted before it runs, and waits
//! or is refused there, with nothing in hand.
//!
//! Where the platform has no threads, each call appends its own record, with the turn in hand: nobody
//! else is there to wait for it.

use std::fmt;
use std::io::ErrorKind;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::batch::Batch;
use crate::journal::Positions;
use crate::journal_store::{
    Epoch, Flush, Head, JournalStore, Position, RECORD_BYTES_MAX, StoreError,
};
use crate::locking::lock;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard, PoisonError};
use crate::{Error, SequenceNumber};

/// When a journaled call is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When its entry has been flushed to the disk. Callers that wait share a flush.
    #[default]
    Durable,
    /// At once. Entries are flushed every so often, and what was journaled since is lost if the
    /// process or the machine ends meanwhile.
    Relaxed {
        /// The longest time between two flushes: the window of loss.
        every: Duration,
    },
}

/// A full disk is looked at again after this time, when somebody asks.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// How much may wait for the store of a journal. Beyond it callers wait or are refused, before
/// their calls run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalQueue {
    /// Bytes of one record: a call's arguments, its results, and what its host functions gave. A
    /// call that makes a larger one is undone. The default is 64 MiB, the most
    /// [`RECORD_BYTES_MAX`].
    pub record_bytes_max: u64,
    /// Bytes of records that wait for a flush. Later calls wait for room; one record may be above
    /// it. The default is 16 MiB.
    pub backlog_bytes_max: u64,
    /// Journaled calls at once, from their start until they are acknowledged. One more is refused
    /// with [`Error::JournalBusy`]. The default is 4,096.
    pub callers_max: usize,
}

impl Default for JournalQueue {
    fn default() -> Self {
        Self {
            record_bytes_max: 64 << 20,
            backlog_bytes_max: 16 << 20,
            callers_max: 4_096,
        }
    }
}

/// The committer of one proxy. It ends when this is dropped, after it has appended what waits.
pub(crate) struct Committer {
    commits: Arc<Commits>,
    thread: Option<JoinHandle<()>>,
}

/// The work of a committer, between callers and its thread.
pub(crate) struct Commits {
    store: Arc<dyn JournalStore>,
    durability: Durability,
    queue: JournalQueue,
    state: Mutex<State>,
    /// Something for the committer to do.
    work: Condvar,
    /// The backlog is shorter, or nothing will make it so.
    room: Condvar,
    /// Whether a call that is to be admitted has to look at the state first: something is wrong with
    /// the store, or the backlog is long. Set with the state locked.
    is_hindered: AtomicBool,
    /// Journaled calls that were admitted and are not over.
    callers: AtomicUsize,
    /// The bytes of all records that were appended, and of what goes with each.
    appended: AtomicU64,
    /// Whether the open batch has records of which the committer was not told. Set with the state locked.
    is_untold: AtomicBool,
    /// Whether there is no thread, so whoever puts a record appends it.
    is_alone: AtomicBool,
    on_durable: Box<OnDurable>,
}

/// Is told the newest entry that is in the store.
type OnDurable = dyn Fn(SequenceNumber) + Send + Sync;

/// What a store keeps beside a record, its hash above all, in bytes.
const BESIDE_BYTES: u64 = 64;

/// A journaled call that was admitted, for as long as it lasts.
pub(crate) struct Admitted<'a>(&'a AtomicUsize);

impl Admitted<'_> {
    /// The call outlasts the borrow. It is over when [`Commits::leave`] is called.
    pub(crate) fn stay(self) {
        std::mem::forget(self);
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct State {
    open: Open,
    /// The batch that is being appended.
    taken: Option<Arc<Batch>>,
    /// The store's newest record.
    head: Head,
    /// The newest entry in the store.
    durable: SequenceNumber,
    positions: Positions,
    /// The bytes in the open batch and in the one that is being appended.
    backlog: u64,
    fault: Option<Fault>,
    failures: u64,
    /// Entries whose calls were acknowledged, and which the store never took.
    lost: u64,
    /// Calls after this entry were not acknowledged, and the state still has them.
    undo: Option<SequenceNumber>,
    is_shut_down: bool,
}

impl State {
    /// The open batch, which is appended from now on.
    fn take(&mut self) -> Open {
        let open = std::mem::take(&mut self.open);
        self.taken = Some(Arc::clone(&open.batch));
        open
    }
}

/// The batch that calls join.
#[derive(Default)]
struct Open {
    batch: Arc<Batch>,
    /// Each with the entry that it is, if it is one.
    records: Vec<(Vec<u8>, Option<SequenceNumber>)>,
}

/// Why nothing can be journaled.
struct Fault {
    error: Arc<StoreError>,
    /// When a full disk was last looked at; `None` if the store has stopped for good.
    probed: Option<Instant>,
}

impl Fault {
    fn new(error: Arc<StoreError>) -> Self {
        let is_full = matches!(*error, StoreError::Full { .. });
        Self {
            error,
            probed: is_full.then(Instant::now),
        }
    }
}

impl Committer {
    /// A committer for a store whose newest entry is `durable`, with the entries at `positions`.
    ///
    /// # Errors
    ///
    /// The system's error, if it has threads and gives none.
    pub(crate) fn start(
        store: Arc<dyn JournalStore>,
        how: (Durability, JournalQueue),
        head: Head,
        begun: (SequenceNumber, Positions),
        on_durable: impl Fn(SequenceNumber) + Send + Sync + 'static,
    ) -> Result<Self, std::io::Error> {
        let mut committer = Self::alone(store, how, head, begun, on_durable);
        let own = Arc::clone(&committer.commits);
        let started = thread::Builder::new()
            .name("wasm-proxy-journal".to_owned())
            .spawn(move || own.run());
        match started {
            Ok(thread) => {
                committer.thread = Some(thread);
                committer.commits.is_alone.store(false, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            Err(error) => return Err(error),
        }
        Ok(committer)
    }

    /// As [`Committer::start`], without a thread.
    pub(crate) fn alone(
        store: Arc<dyn JournalStore>,
        (durability, queue): (Durability, JournalQueue),
        head: Head,
        (durable, positions): (SequenceNumber, Positions),
        on_durable: impl Fn(SequenceNumber) + Send + Sync + 'static,
    ) -> Self {
        let commits = Arc::new(Commits {
            store,
            durability,
            queue,
            state: Mutex::new(State {
                open: Open::default(),
                taken: None,
                head,
                durable,
                positions,
                backlog: 0,
                fault: None,
                failures: 0,
                lost: 0,
                undo: None,
                is_shut_down: false,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            is_hindered: AtomicBool::new(false),
            callers: AtomicUsize::new(0),
            appended: AtomicU64::new(0),
            is_untold: AtomicBool::new(false),
            is_alone: AtomicBool::new(true),
            on_durable: Box::new(on_durable),
        });
        let thread = None;
        Self { commits, thread }
    }
}

impl Deref for Committer {
    type Target = Commits;

    fn deref(&self) -> &Commits {
        &self.commits
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shut_down();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Commits {
    pub(crate) fn store(&self) -> &Arc<dyn JournalStore> {
        &self.store
    }

    /// Whether an acknowledged call is in the store.
    pub(crate) fn is_durable(&self) -> bool {
        self.durability == Durability::Durable
    }

    /// Takes a journaled call in before it runs. It waits here for room in the backlog, with no
    /// lane, no turn and no lock, and is refused if its entry could not be kept.
    ///
    /// # Errors
    ///
    /// [`Error::JournalBusy`]; [`Error::JournalFull`]; [`Error::JournalStopped`].
    pub(crate) fn admit(&self) -> Result<Admitted<'_>, Error> {
        let callers = self.callers.fetch_add(1, Ordering::Relaxed);
        let admitted = Admitted(&self.callers);
        let callers_max = self.queue.callers_max;
        if callers >= callers_max {
            return Err(Error::JournalBusy { callers_max });
        }
        if self.is_hindered.load(Ordering::Acquire) {
            self.wait_for_room();
            self.check()?;
        }
        Ok(admitted)
    }

    /// A call that was to stay is over.
    pub(crate) fn leave(&self) {
        drop(Admitted(&self.callers));
    }

    /// Waits until the backlog is short, or nothing will make it so.
    #[cold]
    fn wait_for_room(&self) {
        let mut state = lock(&self.state);
        while state.backlog > self.queue.backlog_bytes_max
            && state.fault.is_none()
            && !state.is_shut_down
        {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells callers whether they have to look at the state. Called after each change of it.
    fn note_hindrance(&self, state: &State) {
        let is_long = state.backlog > self.queue.backlog_bytes_max;
        let is_hindered = is_long || state.fault.is_some() || state.is_shut_down;
        self.is_hindered.store(is_hindered, Ordering::Release);
    }

    /// The bytes that wait for a flush, and the journaled calls at this moment.
    pub(crate) fn waiting(&self) -> (u64, usize) {
        let callers = self.callers.load(Ordering::Relaxed);
        (lock(&self.state).backlog, callers)
    }

    /// Refuses a journaled call before it runs, if its entry could not be kept. Looks at a full disk
    /// again now and then.
    fn check(&self) -> Result<(), Error> {
        let mut state = lock(&self.state);
        let Some(fault) = &mut state.fault else {
            return Ok(());
        };
        let error = Arc::clone(&fault.error);
        let is_probed = match &mut fault.probed {
            Some(probed) if probed.elapsed() >= PROBE_PAUSE => {
                *probed = Instant::now();
                true
            }
            _ => false,
        };
        if is_probed {
            drop(state);
            if self.store.has_room().is_ok() {
                let mut state = lock(&self.state);
                // The state still has calls that were not acknowledged.
                if state.undo.is_none() {
                    state.fault = None;
                    self.note_hindrance(&state);
                    self.work.notify_all();
                    return Ok(());
                }
            }
        }
        Err(refused(&error))
    }

    /// Puts a record into the open batch. Called with the turn, so records are in the order of the
    /// calls. `entry` is the entry that the record is, if it is one. The committer learns of it from
    /// [`Commits::tell`].
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`], [`Error::JournalFull`] and [`Error::JournalStopped`]; the record is
    /// not kept.
    pub(crate) fn put(
        &self,
        record: Vec<u8>,
        entry: Option<SequenceNumber>,
    ) -> Result<Arc<Batch>, Error> {
        let bytes = record.len() as u64;
        let bytes_max = self.queue.record_bytes_max.min(RECORD_BYTES_MAX);
        if bytes > bytes_max {
            return Err(StoreError::TooLarge { bytes, bytes_max }.into());
        }
        let mut state = lock(&self.state);
        // With `Relaxed`, what was acknowledged stays queued while a disk is full.
        if let Some(fault) = &state.fault {
            return Err(refused(&fault.error));
        }
        if state.is_shut_down {
            return Err(Error::ShutDown);
        }
        state.backlog += bytes;
        if state.backlog > self.queue.backlog_bytes_max {
            self.note_hindrance(&state);
        }
        state.open.records.push((record, entry));
        let batch = Arc::clone(&state.open.batch);
        if self.is_alone.load(Ordering::Relaxed) {
            let open = state.take();
            drop(state);
            self.commit(open);
        } else if state.open.records.len() == 1 {
            self.is_untold.store(true, Ordering::Relaxed);
        }
        Ok(batch)
    }

    /// Tells the committer of what was put. Called without the turn and the lane: the committer may take
    /// the place of this thread on its processor, and everybody would wait for what the thread has.
    #[inline]
    pub(crate) fn tell(&self) {
        if self.is_untold.load(Ordering::Relaxed) && self.is_untold.swap(false, Ordering::Relaxed) {
            self.work.notify_all();
        }
    }

    /// The batch that is settled after all that was put so far. `None` if nothing waits.
    pub(crate) fn pending(&self) -> Option<Arc<Batch>> {
        let state = lock(&self.state);
        if state.open.records.is_empty() {
            state.taken.clone()
        } else {
            Some(Arc::clone(&state.open.batch))
        }
    }

    /// Whether a caller has to wait for its batch.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.is_durable() || lock(&self.state).backlog > self.queue.backlog_bytes_max
    }

    /// How many bytes were appended since this process has opened the store.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    /// How often appending has failed.
    pub(crate) fn failures(&self) -> u64 {
        lock(&self.state).failures
    }

    /// How many entries of acknowledged calls the store never took, and will not take.
    pub(crate) fn lost(&self) -> u64 {
        lock(&self.state).lost
    }

    /// Whether there is something to undo.
    pub(crate) fn is_undo_due(&self) -> bool {
        lock(&self.state).undo.is_some()
    }

    /// The last entry that was acknowledged, if the state has later ones that it must lose. Told
    /// once.
    pub(crate) fn take_undo(&self) -> Option<SequenceNumber> {
        lock(&self.state).undo.take()
    }

    /// The record of the newest entry up to this one.
    pub(crate) fn position_of(&self, sequence: SequenceNumber) -> Option<Position> {
        lock(&self.state).positions.of(sequence)
    }

    /// Records before this one are gone.
    pub(crate) fn forget_before(&self, position: Position) {
        lock(&self.state).positions.forget_before(position);
    }

    /// The epoch of this owner.
    pub(crate) fn epoch(&self) -> Epoch {
        lock(&self.state).head.epoch
    }

    /// After entries were undone: their numbers are never given out, so all up to `last` are in the
    /// store as far as they exist.
    pub(crate) fn note_undone(&self, last: SequenceNumber) {
        lock(&self.state).durable = last;
    }

    /// Why nothing can be journaled now, if so.
    pub(crate) fn fault(&self) -> Option<Arc<StoreError>> {
        let state = lock(&self.state);
        state.fault.as_ref().map(|fault| Arc::clone(&fault.error))
    }

    /// Takes nothing more. What waits is appended before the thread ends.
    pub(crate) fn shut_down(&self) {
        let mut state = lock(&self.state);
        state.is_shut_down = true;
        self.note_hindrance(&state);
        let is_alone = self.is_alone.load(Ordering::Relaxed);
        // What waits is from before the disk was full.
        let waits = (is_alone && !state.open.records.is_empty()).then(|| state.take());
        drop(state);
        self.work.notify_all();
        self.room.notify_all();
        if let Some(open) = waits {
            self.commit(open);
        }
    }

    fn run(&self) {
        let mut last_flush = Instant::now();
        while let Some(open) = self.next(last_flush) {
            last_flush = Instant::now();
            self.commit(open);
        }
    }

    /// The next batch, when it is due. `None` after the shutdown.
    fn next(&self, last_flush: Instant) -> Option<Open> {
        let mut state = lock(&self.state);
        loop {
            let has_work = !state.open.records.is_empty();
            let is_full = state
                .fault
                .as_ref()
                .is_some_and(|fault| fault.probed.is_some());
            let wait = match self.durability {
                // What waits was acknowledged, and is tried again with the next look at the disk.
                Durability::Relaxed { every } if has_work && !state.is_shut_down => {
                    let every = if is_full {
                        every.max(PROBE_PAUSE)
                    } else {
                        every
                    };
                    every.checked_sub(last_flush.elapsed())
                }
                _ => None,
            };
            if has_work && wait.is_none() {
                self.is_untold.store(false, Ordering::Relaxed);
                return Some(state.take());
            }
            if state.is_shut_down && !has_work {
                return None;
            }
            state = self.rest(state, wait);
        }
    }

    fn rest<'a>(
        &self,
        state: MutexGuard<'a, State>,
        wait: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        match wait {
            Some(wait) => {
                let woken = self.work.wait_timeout(state, wait);
                woken.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state)
            }
            None => self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn commit(&self, open: Open) {
        let head = lock(&self.state).head;
        let records: Vec<&[u8]> = open.records.iter().map(|(record, _)| &**record).collect();
        let bytes: u64 = records.iter().map(|record| record.len() as u64).sum();
        let appended = bytes + BESIDE_BYTES * records.len() as u64;
        let outcome = self
            .store
            .append(head.epoch, head.position, &records, Flush::Now);
        drop(records);
        match outcome {
            Ok(head) => {
                self.appended.fetch_add(appended, Ordering::Relaxed);
                let mut state = lock(&self.state);
                let mut at = state.head.position;
                for (_, entry) in &open.records {
                    at = at.next();
                    if let Some(entry) = *entry {
                        state.positions.note(entry, at);
                        state.durable = entry;
                    }
                }
                state.head = head;
                state.taken = None;
                state.backlog -= bytes;
                state.fault = None;
                self.note_hindrance(&state);
                let durable = state.durable;
                drop(state);
                self.room.notify_all();
                (self.on_durable)(durable);
                open.batch.settle(Ok(()));
            }
            Err(error) => self.failed(open, Arc::new(error)),
        }
    }

    fn failed(&self, open: Open, error: Arc<StoreError>) {
        let mut state = lock(&self.state);
        state.taken = None;
        state.failures += 1;
        let fault = Fault::new(Arc::clone(&error));
        let is_full = fault.probed.is_some();
        state.fault = Some(fault);
        self.note_hindrance(&state);
        self.room.notify_all();
        if !self.is_durable() && is_full && !state.is_shut_down {
            // Its calls were acknowledged: they wait for room, in front of the later ones.
            let later = std::mem::take(&mut state.open);
            let mut records = open.records;
            records.extend(later.records);
            state.open = Open {
                batch: later.batch,
                records,
            };
            drop(state);
            open.batch.settle(Ok(()));
            return;
        }
        let later = std::mem::take(&mut state.open);
        state.backlog = 0;
        self.note_hindrance(&state);
        if self.is_durable() {
            state.undo = Some(state.durable);
        } else {
            let records = open.records.iter().chain(&later.records);
            let lost = records.filter(|(_, entry)| entry.is_some()).count();
            state.lost = state.lost.saturating_add(lost as u64);
        }
        drop(state);
        open.batch.settle(Err(Arc::clone(&error)));
        later.batch.settle(Err(error));
    }
}

/// The error for a call that was refused before it ran.
fn refused(error: &Arc<StoreError>) -> Error {
    let source = Arc::clone(error);
    if matches!(**error, StoreError::Full { .. }) {
        Error::JournalFull { source }
    } else {
        Error::JournalStopped { source }
    }
}

impl fmt::Debug for Commits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commits")
            .field("store", &self.store)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
