//! Hooks around a swap, for callers that keep state of their own about a generation.

use async_trait::async_trait;

use crate::{Pinned, Reason};

/// The error of a hook.
pub type HookError = Box<dyn std::error::Error + Send + Sync>;

/// Which swap a hook is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapContext {
    /// The number of the new generation.
    pub to: u64,
    /// The number of the old generation.
    pub from: u64,
    /// Why it is swapped.
    pub reason: Reason,
}

/// Called around every swap, by the thread that swaps; emergencies included.
///
/// This is where host state that points into a generation is rebuilt: an interpreter bridged to the
/// module, addresses that were cached, workers that must hear of the new generation. The methods
/// are async for callers whose state lives behind async interfaces; the thread waits for them. A
/// hook that panics has failed. One that calls
/// [`Proxy::prepare_standby`](crate::Proxy::prepare_standby) or [`Proxy::swap`](crate::Proxy::swap)
/// gets [`Error::Reentrant`](crate::Error::Reentrant). In an emergency so does any call of the
/// proxy, which would wait for this very swap: use `standby`.
///
/// ```
/// # #[path = "../tests/fake/mod.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use proxy_core::{HookError, Pinned, Proxy, SwapContext, SwapHooks};
///
/// /// Host state that must know which generation serves.
/// #[derive(Default)]
/// struct Bridge(AtomicU64);
///
/// #[async_trait::async_trait]
/// impl SwapHooks for Bridge {
///     async fn before_swap(&self, _: &SwapContext, standby: &Pinned<'_>) -> Result<(), HookError> {
///         assert_eq!(standby.generation(), 2);
///         Ok(())
///     }
///
///     async fn after_swap(&self, context: &SwapContext) {
///         self.0.store(context.to, Ordering::Relaxed);
///     }
/// }
///
/// let bridge = Arc::new(Bridge::default());
/// let proxy = Proxy::builder(fake::FakeEngine::counter())
///     .module(fake::counter_wasm())
///     .hooks(bridge.clone())
///     .build()?;
/// proxy.prepare_standby()?;
/// proxy.swap()?;
/// assert_eq!(bridge.0.load(Ordering::Relaxed), 2);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait SwapHooks: Send + Sync {
    /// The standby is ready and verified, and serves no calls yet. `standby` calls its pure
    /// exports. Calls go on meanwhile, so this may take its time.
    ///
    /// # Errors
    ///
    /// An error discards the standby, and the active generation goes on. In an emergency there is
    /// none to go on with: the error is reported by an event, and the swap takes place.
    async fn before_swap(
        &self,
        context: &SwapContext,
        standby: &Pinned<'_>,
    ) -> Result<(), HookError> {
        let _ = (context, standby);
        Ok(())
    }

    /// The new generation serves; the old one may still be draining.
    async fn after_swap(&self, context: &SwapContext) {
        let _ = context;
    }
}
