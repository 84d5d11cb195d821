//! Models of the places where threads wait.

use std::sync::Arc;
use std::time::Duration;

use crate::holding::Holding;
use crate::lane::Lane;
use crate::open_turns::OpenTurns;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::thread;
use crate::wakeup::Wakeup;

const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// Three threads enter a lane, twice each. A fourth waits with them, and leaves once it is closed.
pub fn a_lane() {
    let lane = Arc::new(Lane::new(0));
    let closed = Arc::new(AtomicBool::new(false));
    let inside = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (lane, inside) = (Arc::clone(&lane), Arc::clone(&inside));
            thread::spawn(move || {
                for _ in 0..2 {
                    let mut entered = lane.enter(|| false).expect("it does not leave");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
                    *entered += 1;
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let leaver = thread::spawn({
        let (lane, closed) = (Arc::clone(&lane), Arc::clone(&closed));
        move || drop(lane.enter(|| closed.load(Ordering::SeqCst)))
    });
    closed.store(true, Ordering::SeqCst);
    lane.wake_all();
    leaver.join().expect("the leaver has left");
    for caller in callers {
        caller.join().expect("a caller has entered");
    }
    assert_eq!(*lane.try_enter().expect("nobody is inside"), 6);
}

/// A thread waits for the lane without being overtaken for ever, among two callers.
pub fn a_patient_entrance() {
    let lane = Arc::new(Lane::new(0));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let lane = Arc::clone(&lane);
            thread::spawn(move || {
                for _ in 0..2 {
                    *lane.enter(|| false).expect("it does not leave") += 1;
                }
            })
        })
        .collect();
    for _ in 0..2 {
        *lane
            .enter_within(FOR_EVER, || false)
            .expect("it has patience") += 1;
    }
    for caller in callers {
        caller.join().expect("a caller has entered");
    }
    assert_eq!(*lane.try_enter().expect("nobody is inside"), 6);
}

/// Two threads have something for the supervisor, which sleeps until it is woken.
pub fn a_supervisor() {
    let wakeup = Arc::new(Wakeup::default());
    let work = Arc::new(AtomicUsize::new(0));
    wakeup.supervise(true);
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (wakeup, work) = (Arc::clone(&wakeup), Arc::clone(&work));
            thread::spawn(move || {
                work.fetch_add(1, Ordering::SeqCst);
                wakeup.wake();
            })
        })
        .collect();
    let mut done = 0;
    while done < 2 {
        wakeup.wait(FOR_EVER, || false);
        done += work.swap(0, Ordering::SeqCst);
    }
    for caller in callers {
        caller.join().expect("a caller never waits");
    }
}

/// Two calls at the limit wait for the swap, which may come before they do.
pub fn a_swap_that_is_near() {
    let holding = Arc::new(Holding::new(FOR_EVER));
    let generation = Arc::new(AtomicUsize::new(1));
    holding.hold_from(100, Duration::ZERO);
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (holding, generation) = (Arc::clone(&holding), Arc::clone(&generation));
            thread::spawn(move || {
                let full = generation.load(Ordering::SeqCst);
                if full == 1 && holding.is_reached(100) {
                    let seen = holding.releases();
                    if generation.load(Ordering::SeqCst) == full {
                        assert!(holding.wait(seen, FOR_EVER));
                    }
                    assert!(
                        generation.load(Ordering::SeqCst) > full,
                        "it went too early"
                    );
                }
            })
        })
        .collect();
    generation.store(2, Ordering::SeqCst);
    holding.look_again();
    // The next swap is near at once.
    holding.hold_from(100, Duration::ZERO);
    for caller in callers {
        caller.join().expect("a caller goes on");
    }
}

/// Two threads have turns, twice each and never at rest. A swap is due, takes place between turns, and
/// is not put off until they have finished.
pub fn turns_and_a_swap() {
    let turns = Arc::new(OpenTurns::default());
    let wakeup = Arc::new(Wakeup::default());
    let generation = Arc::new(AtomicUsize::new(1));
    wakeup.supervise(true);
    let callers: Vec<_> = (0..2)
        .map(|opener| {
            let (turns, wakeup) = (Arc::clone(&turns), Arc::clone(&wakeup));
            let generation = Arc::clone(&generation);
            thread::spawn(move || {
                for _ in 0..2 {
                    turns.begin(opener, FOR_EVER);
                    let before = generation.load(Ordering::SeqCst);
                    let after = generation.load(Ordering::SeqCst);
                    assert_eq!(before, after, "a swap took place inside a turn");
                    if turns.end(opener) {
                        wakeup.wake();
                    }
                }
            })
        })
        .collect();
    loop {
        if let Some(_between) = turns.close(true) {
            generation.fetch_add(1, Ordering::SeqCst);
            break;
        }
        let open = turns.count();
        wakeup.wait(FOR_EVER, || false);
        assert!(
            turns.count() <= open,
            "a turn has begun while the swap was due"
        );
    }
    for caller in callers {
        caller.join().expect("a caller goes on");
    }
    assert_eq!(generation.load(Ordering::SeqCst), 2);
}
