//! Samples the memory of the process, from a thread of its own.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gauge::Gauge;

/// The time between two samples. The kernel walks all page tables for each.
const INTERVAL: Duration = Duration::from_millis(10);

/// How many samples are kept: more than a plot has pixels.
const SAMPLES_MAX: usize = 400;

/// Sizes at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) at_s: f64,
    /// The size of all linear memories.
    pub(crate) memory_bytes: u64,
    /// The proportional set size of the process, and of the child that serves for it.
    pub(crate) pss_bytes: u64,
}

/// The proportional set size of a process in bytes; a page that processes share counts in parts.
pub(crate) fn pss_bytes(process: Option<u32>) -> Option<u64> {
    let path = match process {
        None => "/proc/self/smaps_rollup".to_owned(),
        Some(id) => format!("/proc/{id}/smaps_rollup"),
    };
    parse(&fs::read_to_string(path).ok()?)
}

fn parse(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// A thread that takes samples until it is stopped.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    pub(crate) fn start(gauge: Arc<Gauge>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("sampler".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut samples = vec![look(&gauge)];
                while !stop.load(Ordering::Acquire) {
                    thread::park_timeout(INTERVAL);
                    samples.push(look(&gauge));
                }
                samples
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Stops the thread, and returns the samples.
    pub(crate) fn end(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

fn look(gauge: &Gauge) -> Sample {
    let own = pss_bytes(None).unwrap_or(0);
    // A process that has just ended has no memory any more.
    let other = gauge.process().and_then(|id| pss_bytes(Some(id)));
    Sample {
        at_s: gauge.now(),
        memory_bytes: gauge.memory(),
        pss_bytes: own + other.unwrap_or(0),
    }
}

/// Fewer samples with the same peaks: the largest of either size in each stretch of time.
pub(crate) fn thinned(samples: &[Sample]) -> Vec<Sample> {
    let width = samples.len().div_ceil(SAMPLES_MAX).max(1);
    samples
        .chunks(width)
        .map(|chunk| Sample {
            at_s: chunk[0].at_s,
            memory_bytes: chunk.iter().map(|s| s.memory_bytes).max().unwrap_or(0),
            pss_bytes: chunk.iter().map(|s| s.pss_bytes).max().unwrap_or(0),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proportional_set_size_is_read_in_kib() {
        let rollup = "00400000-7ffd [rollup]\nRss:  10 kB\nPss:   7 kB\nPss_Anon:  3 kB\n";
        assert_eq!(parse(rollup), Some(7 * 1024));
        assert_eq!(parse("Rss: 1 kB"), None);
        assert!(pss_bytes(None).unwrap() > 0);
    }

    #[test]
    fn fewer_samples_keep_the_peaks() {
        let sample = |at: u32| Sample {
            at_s: f64::from(at),
            memory_bytes: u64::from(at % 1000),
            pss_bytes: u64::from(5000 - at),
        };
        let all: Vec<_> = (0..5000).map(sample).collect();
        let thin = thinned(&all);
        assert!(thin.len() <= SAMPLES_MAX);
        assert_eq!(thin.iter().map(|s| s.memory_bytes).max(), Some(999));
        assert_eq!(thin[0].pss_bytes, 5000);
        assert!(thinned(&[]).is_empty());
    }
}
