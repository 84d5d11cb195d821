//! Memory that every generation takes again is no reason for a swap.

use std::time::Instant;

use engine_api::{Caller, Error as EngineError, MemoryIndex, Trap};
use proxy_core::{Proxy, Reason, args};

use super::world::{World, leak_pages};

/// `sort()`: pure, takes 26 pages in the first call on an instance, and uses them again.
fn sorting() -> World {
    World::new()
        .leaking()
        .pages(48)
        .func("sort", "", "role = \"pure\"", |guest, _| {
            if guest.count("sorts") == 0 {
                let grown = guest.memory_grow(MemoryIndex(0), 26);
                grown.map_err(|_| EngineError::Trap(Trap::Unreachable))?;
            }
            Ok(vec![])
        })
}

/// Sorts, and lets upkeep look after every call.
fn sort(proxy: &Proxy, times: usize, mut each: impl FnMut()) {
    for _ in 0..times {
        proxy.call("sort", args![]).unwrap();
        proxy.tick(Instant::now());
        each();
    }
}

#[test]
fn a_buffer_that_is_used_again_brings_no_swaps_in_circles() {
    let (proxy, _) = sorting().build();
    sort(&proxy, 300, || {});
    let info = proxy.debug_info();
    assert!(info.swaps <= 8, "{info}");
    assert_eq!((info.emergencies, info.working_set), (0, 26 << 16));
    let swaps = info.swaps;
    sort(&proxy, 300, || {});
    assert_eq!(proxy.debug_info().swaps, swaps);
}

#[test]
fn a_leak_on_top_of_a_working_set_is_swapped_out_at_the_threshold() {
    let (proxy, _) = sorting().build();
    sort(&proxy, 50, || {});
    let swaps = proxy.debug_info().swaps;
    sort(&proxy, 100, || leak_pages(&proxy, 1));
    let info = proxy.debug_info();
    // 17 pages are left between 27 and the threshold at 43.2.
    assert!((5..=7).contains(&(info.swaps - swaps)), "{info}");
    assert_eq!(info.emergencies, 0);
    assert_eq!(
        info.last_swap.map(|swap| swap.reason),
        Some(Reason::Threshold)
    );
}
