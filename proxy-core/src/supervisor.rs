//! The threads that watch, prepare and swap, and that free what was swapped out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Proxy;

/// Owns the threads that keep a proxy going. Dropping it ends them; the proxy goes on, but nothing
/// prepares its swaps.
///
/// One thread sleeps until a call has grown the memory past a threshold, or a generation has died
/// or drained, or `interval` has passed. The other frees the memory of old generations, a few MiB
/// at a time, so neither calls nor swaps wait for it.
///
/// ```
/// # #[path = "../tests/fake/proxied.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let proxy = fake::counter_proxy()?;
/// use std::time::Duration;
/// use proxy_core::{Supervisor, args};
///
/// let supervisor = Supervisor::start(&proxy, Duration::from_secs(5))?;
/// proxy.call("counter_new", args![])?;
/// drop(supervisor); // joins its threads; the proxy goes on
/// proxy.call("counter_new", args![])?;
/// # Ok(())
/// # }
/// ```
pub struct Supervisor {
    proxy: Proxy,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    reaper: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// Starts the threads. One looks at the proxy at least every `interval`; 5 s is fine, since
    /// calls that cross a threshold wake it.
    ///
    /// # Errors
    ///
    /// The operating system has no thread left.
    pub fn start(proxy: &Proxy, interval: Duration) -> std::io::Result<Self> {
        let reaper = thread::Builder::new()
            .name("wasm-proxy-reaper".to_owned())
            .spawn({
                let proxy = proxy.clone();
                proxy.upkeep().announce_reaper();
                move || proxy.upkeep().reap_forever()
            })
            .inspect_err(|_| proxy.upkeep().dismiss_reaper())?;
        let stop = Arc::new(AtomicBool::new(false));
        // Before its first look, which says from where on calls are held back.
        proxy.supervise(true);
        let thread = thread::Builder::new()
            .name("wasm-proxy".to_owned())
            .spawn({
                let (proxy, stop) = (proxy.clone(), Arc::clone(&stop));
                move || {
                    while !stop.load(Ordering::Acquire) && !proxy.is_shut_down() {
                        proxy.tick(Instant::now());
                        proxy.wait(interval);
                    }
                }
            })
            .inspect_err(|_| {
                proxy.supervise(false);
                proxy.upkeep().dismiss_reaper();
            })?;
        Ok(Self {
            proxy: proxy.clone(),
            stop,
            thread: Some(thread),
            reaper: Some(reaper),
        })
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.proxy.supervise(false);
        self.proxy.upkeep().dismiss_reaper();
        for thread in [self.thread.take(), self.reaper.take()]
            .into_iter()
            .flatten()
        {
            // A panic of the thread has been printed; there is nothing to add to it here.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}
