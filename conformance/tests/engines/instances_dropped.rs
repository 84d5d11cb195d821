//! Dropping an instance gives back its memory and handles. Each case measures a process of its own.

use conformance::prelude::*;

#[apply(every_engine)]
fn two_hundred_dropped_instances_of_64_mib_leave_nothing_behind(engine: &EngineUnderTest) {
    conformance::probe::run(crate::PROBE, &["release", engine.name()]);
}

#[apply(every_engine)]
fn instances_that_trapped_or_were_ended_leave_nothing_behind(engine: &EngineUnderTest) {
    conformance::probe::run(crate::PROBE, &["release-after-trap", engine.name()]);
}

#[apply(every_engine)]
fn instances_that_failed_to_start_leave_nothing_behind(engine: &EngineUnderTest) {
    conformance::probe::run(crate::PROBE, &["release-after-failed-start", engine.name()]);
}

#[apply(every_engine)]
fn dropped_shared_memories_leave_nothing_behind(engine: &EngineUnderTest) {
    conformance::probe::run(crate::PROBE, &["release-shared", engine.name()]);
}
