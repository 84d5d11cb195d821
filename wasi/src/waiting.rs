//! Sleeping and polling. `wasi-common` would block the thread for as long as the guest says. Here a
//! wait is done in slices, and between two of them the call can be ended by its deadline.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll as Progress, Waker};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::{Caller, Error as EngineError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wasi_common::sched::{Poll, RwEventFlags, Subscription, WasiSched};
use wasi_common::{Error, ErrorExt};

/// How long a call may go without asking whether it may go on.
const SLICE: Duration = Duration::from_millis(5);

/// Runs a function of `wasi-common` to its end, on this thread. Between the slices of a wait it
/// asks whether the call may go on.
pub(crate) fn drive<T>(
    future: impl Future<Output = T>,
    caller: &dyn Caller,
) -> Result<T, EngineError> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match future.as_mut().poll(&mut context) {
            Progress::Ready(value) => return Ok(value),
            Progress::Pending => caller.may_go_on()?,
        }
    }
}

/// Tries again and again, for as long as the call may go on.
pub(crate) fn wait_for<T>(
    caller: &dyn Caller,
    mut attempt: impl FnMut() -> Option<T>,
) -> Result<T, EngineError> {
    loop {
        if let Some(got) = attempt() {
            return Ok(got);
        }
        thread::sleep(SLICE);
        caller.may_go_on()?;
    }
}

/// Gives [`drive`] the occasion to ask.
async fn pause() {
    let mut paused = false;
    poll_fn(|_| {
        if std::mem::replace(&mut paused, true) {
            Progress::Ready(())
        } else {
            Progress::Pending
        }
    })
    .await;
}

/// The scheduler of all calls.
pub(crate) struct Slices;

#[wiggle::async_trait]
impl WasiSched for Slices {
    async fn poll_oneoff<'a>(&self, poll: &mut Poll<'a>) -> Result<(), Error> {
        if poll.is_empty() {
            return Ok(());
        }
        loop {
            let left = poll
                .earliest_clock_deadline()
                .map(|clock| clock.duration_until().unwrap_or_default());
            if look(poll, left.map_or(SLICE, |left| left.min(SLICE)))? {
                return Ok(());
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(());
            }
            pause().await;
        }
    }

    async fn sched_yield(&self) -> Result<(), Error> {
        thread::yield_now();
        Ok(())
    }

    async fn sleep(&self, duration: Duration) -> Result<(), Error> {
        let begun = Instant::now();
        while let Some(left) = duration.checked_sub(begun.elapsed()) {
            thread::sleep(left.min(SLICE));
            pause().await;
        }
        Ok(())
    }
}

/// Waits for at most `patience`. Whether a file was ready.
fn look(polled: &mut Poll<'_>, patience: Duration) -> Result<bool, Error> {
    let mut waits = Vec::new();
    let mut ready = false;
    for subscription in polled.rw_subscriptions() {
        let (one, flags) = match subscription {
            Subscription::Read(one) => (one, PollFlags::IN),
            Subscription::Write(one) => (one, PollFlags::OUT),
            Subscription::MonotonicClock(_) => continue,
        };
        if let Some(file) = one.file.pollable() {
            waits.push(PollFd::from_borrowed_fd(file, flags));
        } else {
            // A stream of this host, which never lets anybody wait.
            one.complete(1, RwEventFlags::empty());
            ready = true;
        }
    }
    if ready {
        return Ok(true);
    }
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: patience.subsec_nanos().into(),
    };
    match poll(&mut waits, Some(&timeout)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
        Ok(_) => {}
        Err(error) => return Err(std::io::Error::from(error).into()),
    }
    for (subscription, wait) in polled.rw_subscriptions().zip(&waits) {
        let (one, size) = match subscription {
            Subscription::Read(one) => {
                // Devices such as `/dev/null` are ready and cannot say how much they have.
                let size = one.file.num_ready_bytes().unwrap_or_default().max(1);
                (one, size)
            }
            Subscription::Write(one) => (one, 0),
            Subscription::MonotonicClock(_) => continue,
        };
        let came = wait.revents();
        if came.contains(PollFlags::NVAL) {
            one.error(Error::badf());
        } else if came.contains(PollFlags::ERR) {
            one.error(Error::io());
        } else if came.contains(PollFlags::HUP) {
            one.complete(size, RwEventFlags::HANGUP);
        } else if !came.is_empty() {
            one.complete(size, RwEventFlags::empty());
        }
    }
    Ok(true)
}
