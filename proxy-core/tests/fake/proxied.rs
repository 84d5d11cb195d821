//! A proxy on the scripted engine, for the examples of the documentation.

#[path = "mod.rs"]
mod engine;

pub(crate) use engine::*;

/// A proxy of [`counter_wasm`].
pub(crate) fn counter_proxy() -> Result<proxy_core::Proxy, proxy_core::Error> {
    let policy: proxy_core::Policy = COUNTER_POLICY.parse()?;
    proxy_core::Proxy::builder(FakeEngine::counter())
        .module(counter_wasm())
        .policy(policy)
        .build()
}
