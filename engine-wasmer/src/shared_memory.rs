//! Linear memories that several instances share, with their wait queues.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use engine_api::{
    AtomicBytes, Attachment, Attachments, Error, MemoryType, PAGE_BYTES, SharedMemory,
    SharedMemoryBacking, memory_range,
};
use memory_image::Region;
use wasmer_compiler::Tunables;
use wasmer_types::{MemoryError, MemoryStyle, Pages};
use wasmer_vm::{
    ExpectedValue, LinearMemory, VMMemoryDefinition, VMSharedMemory, WaiterError, on_host_stack,
};

use crate::convert;
use crate::interrupt::Watched;
use crate::layout;
use crate::settings::Settings;

/// Makes a shared memory for [`engine_api::Engine::shared_memory`].
pub(crate) fn create(settings: &Settings, ty: MemoryType) -> Result<SharedMemory, Error> {
    if !ty.shared {
        return Err(settings.unsupported("a shared memory of an unshared type"));
    }
    if ty.memory64 {
        return Err(settings.unsupported("64-bit memories"));
    }
    let vm_type =
        convert::memory_type(ty).ok_or_else(|| settings.unsupported("memories above 4 GiB"))?;
    let style = layout::base().memory_style(&vm_type);
    let memory = VMSharedMemory::new(&vm_type, &style)
        .map_err(|error| settings.failed("reserve a shared memory", error))?;
    let backing = Backing(SharedState::new(memory));
    Ok(SharedMemory::new(settings.id(), ty, Arc::new(backing)))
}

/// The state of one memory that the host and all its instances share.
pub(crate) struct SharedState {
    memory: VMSharedMemory,
    base: NonNull<u8>,
    /// The size in bytes. Wasmer's own copy is behind a lock.
    bytes: AtomicU64,
    /// How often it was refused growth, by whichever instance.
    refusals: AtomicU64,
    /// The size that it was refused last, in bytes.
    refused_bytes: AtomicU64,
    /// The instances that have it.
    pub(crate) attachments: Arc<Attachments>,
    waiters: Mutex<HashMap<u32, VecDeque<Arc<Waiter>>>>,
}

// SAFETY: the memory behind `base` is accessed through atomics only (by the host) and lives as long
// as `memory`; its base never moves, because it is reserved at its largest size. `VMSharedMemory`
// is made to be given to several threads.
unsafe impl Send for SharedState {}
// SAFETY: as above.
unsafe impl Sync for SharedState {}

impl SharedState {
    pub(crate) fn new(memory: VMSharedMemory) -> Arc<Self> {
        // SAFETY: a memory's definition is initialised when it is made, and nobody else has it yet.
        let definition = unsafe { memory.vmmemory().read() };
        Arc::new(Self {
            base: NonNull::new(definition.base).expect("a memory is mapped"),
            bytes: AtomicU64::new(definition.current_length as u64),
            refusals: AtomicU64::new(0),
            refused_bytes: AtomicU64::new(0),
            memory,
            attachments: Arc::default(),
            waiters: Mutex::new(HashMap::new()),
        })
    }

    /// Whether this memory has this base.
    pub(crate) fn is_at(&self, base: *mut u8) -> bool {
        self.base.as_ptr() == base
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// How often it was refused growth, and the size that it was refused last, in bytes.
    pub(crate) fn refused(&self) -> (u64, u64) {
        let refusals = self.refusals.load(Ordering::Acquire);
        (refusals, self.refused_bytes.load(Ordering::Relaxed))
    }

    /// Notes that it was refused to grow by so many pages.
    pub(crate) fn note_refused(&self, delta: u64) {
        let bytes = delta.saturating_mul(PAGE_BYTES);
        let wanted = self.bytes().saturating_add(bytes);
        self.refused_bytes.store(wanted, Ordering::Relaxed);
        self.refusals.fetch_add(1, Ordering::Release);
    }

    /// The largest size in bytes.
    pub(crate) fn bytes_max(&self) -> u64 {
        let pages = self.memory.ty().maximum;
        pages.map_or(u64::MAX, |pages| u64::from(pages.0) * PAGE_BYTES)
    }

    /// The bytes of an access, if all of them are inside the memory.
    fn bytes_at(&self, offset: u64, len: usize) -> Result<AtomicBytes<'_>, Error> {
        let range = memory_range(offset, len, self.bytes())?;
        // SAFETY: the range is within the memory, which never shrinks, so all of the slice is
        // mapped. Guests write it concurrently, hence atomics. Eight atomic bytes, aligned, are as
        // good as an atomic word of them.
        let (head, words, tail) = unsafe {
            let start = self.base.as_ptr().add(range.start).cast::<AtomicU8>();
            std::slice::from_raw_parts(start, len).align_to()
        };
        Ok(AtomicBytes { head, words, tail })
    }

    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let bytes = self.bytes_at(offset, buffer.len())?;
        bytes.read(buffer);
        Ok(())
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.bytes_at(offset, bytes.len())?.write(bytes);
        Ok(())
    }

    fn waiters(&self) -> MutexGuard<'_, HashMap<u32, VecDeque<Arc<Waiter>>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the memory has the value that the waiter expects.
    fn holds(&self, address: u32, expected: &ExpectedValue) -> bool {
        // SAFETY: wasmer has checked that the access is in bounds and aligned.
        unsafe {
            let at = self.base.as_ptr().add(address as usize);
            match expected {
                ExpectedValue::None => true,
                ExpectedValue::U32(value) => {
                    AtomicU32::from_ptr(at.cast()).load(Ordering::SeqCst) == *value
                }
                ExpectedValue::U64(value) => {
                    AtomicU64::from_ptr(at.cast()).load(Ordering::SeqCst) == *value
                }
            }
        }
    }

    /// `memory.atomic.wait`: returns 0 if notified, 1 if the value differs, 2 if the time is over.
    fn wait(
        &self,
        address: u32,
        expected: &ExpectedValue,
        timeout: Option<Duration>,
        watched: &Watched,
    ) -> Result<u32, WaiterError> {
        // A time-out beyond the clock's range is no time-out.
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let waiter = Arc::new(Waiter {
            notified: AtomicBool::new(false),
            thread: thread::current(),
        });
        {
            // A thread that changes the value notifies afterwards, and needs this lock to do so.
            let mut waiters = self.waiters();
            if !self.holds(address, expected) {
                return Ok(1);
            }
            waiters
                .entry(address)
                .or_default()
                .push_back(Arc::clone(&waiter));
        }
        let asleep = watched.sleep();
        loop {
            if waiter.notified.load(Ordering::Acquire) {
                return Ok(0);
            }
            let over = end.is_some_and(|end| Instant::now() >= end);
            if over || watched.kill().is_some() {
                break;
            }
            match end {
                Some(end) => thread::park_timeout(end.saturating_duration_since(Instant::now())),
                None => thread::park(),
            }
        }
        drop(asleep);
        self.leave(address, &waiter)
            .map_or(Ok(0), |()| match watched.kill() {
                Some(_) => Err(WaiterError::AtomicsDisabled),
                None => Ok(2),
            })
    }

    /// Takes a waiter out of its queue, or returns `None` if a notification was quicker.
    fn leave(&self, address: u32, waiter: &Arc<Waiter>) -> Option<()> {
        let mut waiters = self.waiters();
        let queue = waiters.get_mut(&address)?;
        let position = queue.iter().position(|other| Arc::ptr_eq(other, waiter))?;
        queue.remove(position);
        if queue.is_empty() {
            waiters.remove(&address);
        }
        Some(())
    }

    /// `memory.atomic.notify`: wakes waiters in the order in which they came, and returns how many.
    fn notify(&self, address: u32, count: u32) -> u32 {
        let mut waiters = self.waiters();
        let Some(queue) = waiters.get_mut(&address) else {
            return 0;
        };
        let woken = queue.len().min(count as usize);
        for waiter in queue.drain(..woken) {
            waiter.notified.store(true, Ordering::Release);
            waiter.thread.unpark();
        }
        if queue.is_empty() {
            waiters.remove(&address);
        }
        u32::try_from(woken).expect("no more than the count")
    }
}

struct Waiter {
    notified: AtomicBool,
    thread: Thread,
}

/// The object behind a [`SharedMemory`] of this engine.
pub(crate) struct Backing(pub(crate) Arc<SharedState>);

impl SharedMemoryBacking for Backing {
    fn size(&self) -> u64 {
        self.0.bytes()
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let _access = self.0.attachments.access();
        self.0.read(offset, buffer)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let _access = self.0.attachments.access();
        self.0.write(offset, bytes)
    }

    fn discard(&self) -> bool {
        let Some(_held) = self.0.attachments.hold(0) else {
            return false;
        };
        let bytes = usize::try_from(self.0.bytes());
        let Some(Ok(region)) = bytes.ok().map(|bytes| Region::new(self.0.base, bytes)) else {
            return false;
        };
        // SAFETY: `region` is the whole of a memory in a reservation of its own. No instance has
        // it, and while it is held none gets it and no handle accesses it.
        unsafe { memory_image::discard(region) };
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// One instance's handle to a shared memory.
pub(crate) struct AttachedMemory {
    memory: VMSharedMemory,
    state: Arc<SharedState>,
    watched: Arc<Watched>,
    _attachment: Attachment,
}

impl AttachedMemory {
    pub(crate) fn new(state: &Arc<SharedState>, watched: &Arc<Watched>) -> Self {
        Self {
            memory: state.memory.clone(),
            state: Arc::clone(state),
            watched: Arc::clone(watched),
            _attachment: state.attachments.attach(),
        }
    }
}

impl fmt::Debug for AttachedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memory.fmt(f)
    }
}

impl LinearMemory for AttachedMemory {
    fn ty(&self) -> wasmer_types::MemoryType {
        self.memory.ty()
    }

    fn size(&self) -> Pages {
        self.memory.size()
    }

    fn style(&self) -> MemoryStyle {
        self.memory.style()
    }

    fn grow(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        let grown = self.memory.grow(delta);
        let before = grown.inspect_err(|_| self.state.note_refused(delta.0.into()))?;
        let after = (u64::from(before.0) + u64::from(delta.0)) * PAGE_BYTES;
        // Another thread may have grown it further in the meantime.
        self.state.bytes.fetch_max(after, Ordering::AcqRel);
        Ok(before)
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.memory.vmmemory()
    }

    fn try_clone(&self) -> Result<Box<dyn LinearMemory + Send + Sync>, MemoryError> {
        Ok(Box::new(Self::new(&self.state, &self.watched)))
    }

    fn copy(&self) -> Result<Box<dyn LinearMemory + Send + Sync>, MemoryError> {
        LinearMemory::copy(&self.memory)
    }

    unsafe fn do_wait(
        &mut self,
        address: u32,
        expected: ExpectedValue,
        timeout: Option<Duration>,
    ) -> Result<u32, WaiterError> {
        // The guest's stack may be nearly used up.
        on_host_stack(|| self.state.wait(address, &expected, timeout, &self.watched))
    }

    fn do_notify(&mut self, address: u32, count: u32) -> u32 {
        on_host_stack(|| self.state.notify(address, count))
    }
}
