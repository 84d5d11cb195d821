//! The threads that watch, prepare and swap, and that free what was swapped out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Proxy;
use crate::upkeep::Attendant;

/// Owns the threads that keep a proxy going. Dropping it ends them; the proxy goes on, but nothing
/// prepares its swaps.
///
/// One thread sleeps until a call has grown the memory past a threshold, or a generation has died
/// or drained, or `interval` has passed. Another one frees the memory of old generations, a few MiB
/// at a time, and a third compares checkpoints with replays and makes new ones, so neither calls
/// nor swaps wait for either. Another supervisor may take its place before it is dropped.
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
    /// The threads that free and that work aside, as upkeep knows them.
    attendants: (Attendant, Attendant),
    threads: Vec<JoinHandle<()>>,
}

impl Supervisor {
    /// Starts the threads. One looks at the proxy at least every `interval`; 5 s is fine, since
    /// calls that cross a threshold wake it.
    ///
    /// # Errors
    ///
    /// The operating system has no thread left.
    pub fn start(proxy: &Proxy, interval: Duration) -> std::io::Result<Self> {
        let upkeep = proxy.upkeep();
        let (reaper, worker) = (upkeep.announce_reaper(), upkeep.announce_worker());
        // Before its first look, which says from where on calls are held back.
        proxy.supervise(true);
        // Dropped if the system gives no thread, it ends those that there are.
        let mut supervisor = Self {
            proxy: proxy.clone(),
            stop: Arc::default(),
            attendants: (reaper, worker),
            threads: Vec::new(),
        };
        supervisor.spawn("wasm-proxy-reaper", move |proxy| {
            proxy.upkeep().reap_forever(reaper);
        })?;
        supervisor.spawn("wasm-proxy-aside", move |proxy| {
            proxy.upkeep().work_aside_forever(worker);
        })?;
        let stop = Arc::clone(&supervisor.stop);
        supervisor.spawn("wasm-proxy", move |proxy| {
            let has_to_go = || stop.load(Ordering::Acquire) || proxy.is_shut_down();
            while !has_to_go() {
                proxy.tick(Instant::now());
                proxy.wait(interval, has_to_go);
            }
        })?;
        Ok(supervisor)
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce(Proxy) + Send + 'static,
    ) -> std::io::Result<()> {
        let proxy = self.proxy.clone();
        let thread = thread::Builder::new().name(name.to_owned());
        self.threads.push(thread.spawn(move || work(proxy))?);
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.proxy.supervise(false);
        let (reaper, worker) = self.attendants;
        self.proxy.upkeep().dismiss_worker(worker);
        self.proxy.upkeep().dismiss_reaper(reaper);
        for thread in self.threads.drain(..) {
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
