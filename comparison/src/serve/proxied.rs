//! The proxy, as `wasm-proxy run` runs it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use proxy_core::{CheckpointPolicy, Event, Proxy, Supervisor};

use super::Server;
use crate::gauge::{Gauge, MarkKind};
use crate::setup::{Live, Setup};

/// The supervisor's interval; a call that crosses a threshold wakes it at once.
const SUPERVISOR_INTERVAL: Duration = Duration::from_secs(1);

/// How often the sizes of the generations are noted.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A proxy with its supervisor.
struct Proxied {
    live: Live<Proxy>,
    supervisor: Option<Supervisor>,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

/// Starts a proxy with its supervisor and a thread that watches its memory.
pub(super) fn proxied<'a>(
    setup: &'a Setup,
    gauge: &Arc<Gauge>,
    checkpoints: CheckpointPolicy,
) -> Result<Server<'a>> {
    let marks = Arc::clone(gauge);
    let job = &setup.job;
    let proxy = Proxy::builder(Arc::clone(&setup.engine))
        .module(job.wasm.clone())
        .compiled(Arc::clone(&setup.module))
        .policy(job.policy.clone())
        .imports(job.imports.clone())
        .limits(job.limits.clone())
        .thresholds(job.thresholds)
        .drain_timeout(job.drain_timeout)
        .checkpoints(checkpoints)
        .on_event(move |event| {
            if let Event::SwapComplete(_) = event {
                marks.mark(MarkKind::Swap);
            }
        })
        .build()?;
    let supervisor = Supervisor::start(&proxy, SUPERVISOR_INTERVAL)
        .context("cannot start the supervisor's threads")?;
    let live = setup.with_state(proxy)?;
    let stop = Arc::new(AtomicBool::new(false));
    // On a thread of its own, or turns would pay for it.
    let watcher = thread::Builder::new().name("watcher".to_owned()).spawn({
        let (proxy, stop, gauge) = (live.site.clone(), Arc::clone(&stop), Arc::clone(gauge));
        move || {
            while !stop.load(Ordering::Acquire) {
                let info = proxy.debug_info();
                gauge.note_memory(info.memory + info.standby_memory.unwrap_or(0));
                thread::park_timeout(LOOK_INTERVAL);
            }
        }
    })?;
    let mut proxied = Proxied {
        live,
        supervisor: Some(supervisor),
        stop,
        watcher: Some(watcher),
    };
    Ok(Box::new(move |index, results| {
        setup.turn(&mut proxied.live, index, results)?;
        Ok(None)
    }))
}

impl Drop for Proxied {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(watcher) = self.watcher.take() {
            watcher.thread().unpark();
            let _ = watcher.join();
        }
        drop(self.supervisor.take());
        // This process ends, so memory that a host function keeps does not matter.
        let _ = self.live.site.shutdown();
    }
}
