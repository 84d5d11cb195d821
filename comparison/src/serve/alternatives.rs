//! Strategies with bare instances in this process.

use std::sync::Arc;

use anyhow::Result;
use proxy_core::BareInstance;

use super::Server;
use crate::gauge::{Gauge, MarkKind};
use crate::setup::{Artifacts, Ended, Live, Setup};
use crate::strategy::ROTATION;

/// One instance, which is made anew when it is dead, or not.
pub(super) struct Single<'a> {
    setup: &'a Setup,
    gauge: Arc<Gauge>,
    live: Live<BareInstance>,
    restarts: bool,
}

impl<'a> Single<'a> {
    pub(super) fn start(setup: &'a Setup, gauge: Arc<Gauge>, restarts: bool) -> Result<Self> {
        Ok(Self {
            live: setup.instance()?,
            setup,
            gauge,
            restarts,
        })
    }
}

impl Server for Single<'_> {
    fn turn(&mut self, index: u64, results: &mut Vec<u8>) -> Result<Option<u64>, Ended> {
        if self.restarts && self.live.site.died().is_some() {
            self.live = self.setup.instance()?;
            self.gauge.mark(MarkKind::Restart);
        }
        let outcome = self.setup.turn(&mut self.live, index, results);
        self.gauge.note_memory(self.live.site.memory_bytes());
        if !self.restarts && self.is_dead() {
            self.gauge.mark(MarkKind::Death);
        }
        outcome.map(|()| None)
    }

    fn is_dead(&self) -> bool {
        !self.restarts && self.live.site.died().is_some()
    }
}

/// A fresh instance for every turn.
pub(super) struct Fresh<'a> {
    setup: &'a Setup,
    gauge: Arc<Gauge>,
    artifacts: Artifacts,
}

impl<'a> Fresh<'a> {
    pub(super) fn start(setup: &'a Setup, gauge: Arc<Gauge>) -> Result<Self> {
        Ok(Self {
            artifacts: setup.artifacts()?,
            setup,
            gauge,
        })
    }
}

impl Server for Fresh<'_> {
    fn turn(&mut self, index: u64, results: &mut Vec<u8>) -> Result<Option<u64>, Ended> {
        let mut live = self.setup.instance_from(&self.artifacts)?;
        let outcome = self.setup.turn(&mut live, index, results);
        self.gauge.note_memory(live.site.memory_bytes());
        outcome.map(|()| None)
    }
}

/// Several instances in turn.
pub(super) struct Rotation<'a> {
    setup: &'a Setup,
    gauge: Arc<Gauge>,
    lives: Vec<Live<BareInstance>>,
    next: usize,
    full_bytes: u64,
}

impl<'a> Rotation<'a> {
    pub(super) fn start(setup: &'a Setup, gauge: Arc<Gauge>) -> Result<Self> {
        let lives = (0..ROTATION)
            .map(|_| setup.instance())
            .collect::<Result<_>>()?;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a size"
        )]
        let full_bytes =
            (setup.bare.memory_limit_bytes() as f64 * setup.job.thresholds.critical()) as u64;
        Ok(Self {
            setup,
            gauge,
            lives,
            next: 0,
            full_bytes,
        })
    }
}

impl Server for Rotation<'_> {
    fn turn(&mut self, index: u64, results: &mut Vec<u8>) -> Result<Option<u64>, Ended> {
        let at = self.next;
        self.next = (at + 1) % self.lives.len();
        let live = &mut self.lives[at];
        if live.site.died().is_some() || live.site.memory_bytes() >= self.full_bytes {
            *live = self.setup.instance()?;
            self.gauge.mark(MarkKind::Restart);
        }
        let outcome = self.setup.turn(live, index, results);
        let bytes = self.lives.iter().map(|live| live.site.memory_bytes()).sum();
        self.gauge.note_memory(bytes);
        outcome.map(|()| None)
    }
}
