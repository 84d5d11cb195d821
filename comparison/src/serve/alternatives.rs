//! Strategies with bare instances in this process.

use std::sync::Arc;

use anyhow::Result;

use super::Server;
use crate::gauge::{Gauge, MarkKind};
use crate::setup::Setup;
use crate::strategy::ROTATION;

/// One instance, until it dies.
pub(super) fn bare(setup: &Setup, gauge: Arc<Gauge>) -> Result<Server<'_>> {
    let mut live = setup.instance()?;
    Ok(Box::new(move |index, results| {
        let outcome = setup.turn(&mut live, index, results);
        gauge.note_memory(live.site.memory_bytes());
        if live.site.died().is_some() {
            gauge.mark(MarkKind::Death);
        }
        outcome.map(|()| None)
    }))
}

/// A fresh instance for every turn.
pub(super) fn fresh(setup: &Setup, gauge: Arc<Gauge>) -> Result<Server<'_>> {
    let artifacts = setup.artifacts()?;
    Ok(Box::new(move |index, results| {
        let mut live = setup.instance_from(&artifacts)?;
        let outcome = setup.turn(&mut live, index, results);
        gauge.note_memory(live.site.memory_bytes());
        outcome.map(|()| None)
    }))
}

/// One instance, which is replaced when it is dead.
pub(super) fn restart(setup: &Setup, gauge: Arc<Gauge>) -> Result<Server<'_>> {
    in_turn(setup, gauge, 1, u64::MAX)
}

/// Several instances in turn. One that is full or dead is replaced before its next turn.
pub(super) fn rotation(setup: &Setup, gauge: Arc<Gauge>) -> Result<Server<'_>> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a size"
    )]
    let full_bytes =
        (setup.bare.memory_limit_bytes() as f64 * setup.job.thresholds.critical()) as u64;
    in_turn(setup, gauge, ROTATION, full_bytes)
}

fn in_turn(setup: &Setup, gauge: Arc<Gauge>, count: usize, full_bytes: u64) -> Result<Server<'_>> {
    let mut lives = (0..count)
        .map(|_| setup.instance())
        .collect::<Result<Vec<_>>>()?;
    let mut next = (0..count).cycle();
    Ok(Box::new(move |index, results| {
        let live = &mut lives[next.next().unwrap_or(0)];
        if live.site.died().is_some() || live.site.memory_bytes() >= full_bytes {
            *live = setup.instance()?;
            gauge.mark(MarkKind::Restart);
        }
        let outcome = setup.turn(live, index, results);
        let bytes = lives.iter().map(|live| live.site.memory_bytes()).sum();
        gauge.note_memory(bytes);
        outcome.map(|()| None)
    }))
}
