//! The live display of a run, on a terminal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::ProgressBar;
use proxy_core::{DebugInfo, Proxy, Thresholds};

use crate::console::{Console, mib};
use crate::observed::Observed;

/// How often the display is drawn and the process sampled.
const INTERVAL: Duration = Duration::from_millis(100);

/// The width of a gauge in characters.
const GAUGE_WIDTH: usize = 40;

/// Draws the live display and samples the process, on a thread of its own, until it is dropped.
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(crate) fn start(
        console: Console,
        proxy: Proxy,
        observed: Arc<Observed>,
        thresholds: Thresholds,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("display".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Acquire) {
                    observed.sample_process();
                    if let Console::Live(bar) = &console {
                        draw(bar, &proxy, &observed, thresholds);
                    }
                    thread::park_timeout(INTERVAL);
                }
                if let Console::Live(bar) = &console {
                    bar.finish_and_clear();
                }
            }
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn draw(bar: &ProgressBar, proxy: &Proxy, observed: &Observed, thresholds: Thresholds) {
    let (calls, failed) = observed.calls();
    bar.set_position(calls);
    bar.set_message(state(
        &proxy.debug_info(),
        observed.swap_count(),
        failed,
        thresholds,
    ));
}

/// The memory of active and standby against the thresholds, and the counts so far.
fn state(info: &DebugInfo, swaps: u64, failed: u64, thresholds: Thresholds) -> String {
    let gauge = |bytes| gauge(bytes, info.memory_limit, thresholds);
    let standby = match (info.standby_memory, info.enabled) {
        (_, false) => "switched off: a bare instance".to_owned(),
        (Some(bytes), true) => format!("{} {:6.1} MiB {}", gauge(bytes), mib(bytes), info.state),
        (None, true) => format!("{} {:>10} {}", gauge(0), "", info.state),
    };
    format!(
        "active  {} {:6.1} of {:.1} MiB, generation {}\nstandby {standby}\n\
         swaps {swaps} ({} emergencies), retries {}, failed calls {failed}",
        gauge(info.memory),
        mib(info.memory),
        mib(info.memory_limit),
        info.generation,
        info.emergencies,
        info.retries,
    )
}

/// A bar with a mark at each threshold.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a few dozen characters"
)]
fn gauge(bytes: u64, limit: u64, thresholds: Thresholds) -> String {
    let at = |share: f64| ((share * GAUGE_WIDTH as f64) as usize).min(GAUGE_WIDTH - 1);
    let filled = (bytes as f64 / limit.max(1) as f64 * GAUGE_WIDTH as f64).round() as usize;
    (0..GAUGE_WIDTH)
        .map(|column| {
            if column == at(thresholds.warn()) || column == at(thresholds.critical()) {
                '│'
            } else if column < filled {
                '█'
            } else {
                '░'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gauge_fills_up_and_keeps_its_marks() {
        let count = |bytes, of| {
            gauge(bytes, 100, Thresholds::default())
                .chars()
                .filter(|c| *c == of)
                .count()
        };
        assert_eq!((count(0, '█'), count(0, '│')), (0, 2));
        assert_eq!(count(50, '█'), 20);
        assert_eq!((count(1000, '█'), count(1000, '│')), (GAUGE_WIDTH - 2, 2));
        assert_eq!(
            gauge(1, 0, Thresholds::default()).chars().count(),
            GAUGE_WIDTH
        );
    }
}
