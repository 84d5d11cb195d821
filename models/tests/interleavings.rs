//! The models under many schedules, and with faults planted in them. `MODEL_SCHEDULES=1000000` tries
//! more of them, `MODEL_SEED` others.

use std::thread;

use models::{Planted, Schedules, check};

/// How many schedules every run tries, of each model and by each way.
const EVERY_RUN: usize = 2_000;

/// How many it takes at most to find a planted fault.
const TO_FIND: usize = 20_000;

#[test]
fn nobody_waits_for_ever_for_a_lane() {
    check(Schedules::up_to(EVERY_RUN), models::a_lane);
}

#[test]
fn upkeep_is_not_overtaken_at_a_lane() {
    check(Schedules::up_to(EVERY_RUN), models::a_patient_entrance);
}

#[test]
fn a_supervisor_sleeps_through_no_wake_up() {
    check(Schedules::up_to(EVERY_RUN), models::a_supervisor);
}

#[test]
fn a_call_at_the_limit_sleeps_through_no_swap() {
    check(Schedules::up_to(EVERY_RUN), models::a_swap_that_is_near);
}

#[test]
fn a_swap_that_is_due_takes_place_between_turns() {
    check(Schedules::up_to(EVERY_RUN), models::turns_and_a_swap);
}

#[test]
fn a_swap_loses_no_call() {
    check(Schedules::up_to(EVERY_RUN), models::calls_and_a_swap);
}

#[test]
fn a_full_disk_loses_what_it_refused_and_nothing_else() {
    check(Schedules::up_to(EVERY_RUN), models::calls_and_a_full_disk);
}

#[test]
fn a_swap_and_a_full_disk_at_once_lose_nothing_that_was_acknowledged() {
    check(
        Schedules::up_to(EVERY_RUN),
        models::calls_and_swaps_and_a_full_disk,
    );
}

/// Each fault is found by a model, or the models would show nothing.
#[test]
fn every_planted_fault_is_found() {
    type Model = fn();
    let faults: [(Planted, Model); 12] = [
        (Planted::WakeOneLost, models::a_lane),
        (Planted::WakeAllLost, models::a_supervisor),
        (Planted::WakeAllLost, models::a_swap_that_is_near),
        (Planted::WakeAllLost, models::turns_and_a_swap),
        (Planted::TurnReleasedEarly, models::calls_and_a_swap),
        (Planted::TailLeftOut, models::calls_and_a_swap),
        (Planted::RetiredLate, models::calls_and_a_swap),
        (Planted::NoTurn, models::calls_and_a_swap),
        (Planted::AcknowledgedEarly, models::calls_and_a_full_disk),
        (Planted::PutLate, models::calls_and_a_swap),
        (Planted::UndoKeepsEntries, models::calls_and_a_full_disk),
        (Planted::UndoKeepsState, models::calls_and_a_full_disk),
    ];
    let schedules = Schedules {
        count: TO_FIND,
        seed: 1,
    };
    for (planted, model) in faults {
        // A model that fails leaves the scheduler of its thread behind.
        let checking = thread::spawn(move || planted.during(|| check(schedules, model)));
        assert!(checking.join().is_err(), "{planted:?} was not found");
    }
}
