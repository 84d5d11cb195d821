//! The life of a module: what a host does to it, in any order.

use std::sync::Arc;
use std::time::Instant;

use proxy_core::{Fault, Handle, JournalStore, MemoryJournal, Proxy, args};

use crate::fake::FakeEngine;
use crate::{builder, identity};

struct Life {
    engine: FakeEngine,
    store: MemoryJournal,
    proxy: Proxy,
    /// The objects that are alive, with their values.
    alive: Vec<(Handle, i32)>,
    dead: Vec<Handle>,
}

/// Each two bytes are something to do and what to do it to: calls, swaps, a full disk, a loss of
/// power. A call that failed has changed nothing, and one that was acknowledged is there for good.
pub fn lifecycle(bytes: &[u8]) {
    let store = MemoryJournal::new(identity());
    let engine = FakeEngine::counter();
    let mut life = Life {
        proxy: open(&engine, &store),
        engine,
        store,
        alive: Vec::new(),
        dead: Vec::new(),
    };
    for step in bytes.chunks_exact(2).take(200) {
        life.step(step[0], step[1]);
    }
    life.store.mend();
    life.check();
    life.lose_power();
    life.check();
}

fn open(engine: &FakeEngine, store: &MemoryJournal) -> Proxy {
    let shared: Arc<dyn JournalStore> = Arc::new(store.clone());
    let proxy = builder(engine, shared).build();
    proxy.expect("what was written can be opened")
}

impl Life {
    fn step(&mut self, what: u8, at: u8) {
        let proxy = self.proxy.clone();
        let n = i32::from(at);
        let picked = (!self.alive.is_empty()).then(|| usize::from(at) % self.alive.len().max(1));
        match (what % 14, picked) {
            (0..=2, _) => {
                if let Ok(made) = proxy.call("counter_new", args![]) {
                    let made = made.handle().expect("it is an object");
                    self.alive.push((made, 0));
                }
            }
            (3..=5, Some(picked)) => {
                let (handle, value) = &mut self.alive[picked];
                if proxy.call("counter_add", args![*handle, n]).is_ok() {
                    *value += n;
                }
            }
            (6, Some(picked)) => {
                let handle = self.alive[picked].0;
                if proxy.call("counter_free", args![handle]).is_ok() {
                    self.alive.swap_remove(picked);
                    self.dead.push(handle);
                }
            }
            (7, _) => drop(proxy.prepare_standby()),
            (8, _) => drop(proxy.swap()),
            (9, _) => proxy.tick(Instant::now()),
            (10, _) => drop(proxy.compact()),
            (11, _) => self.store.inject(Fault::Full),
            (12, _) => self.store.mend(),
            (13, _) => self.lose_power(),
            _ => {}
        }
    }

    fn lose_power(&mut self) {
        let store = self.store.lose_power();
        let opened = open(&self.engine, &store);
        self.store = store;
        self.proxy = opened;
        let again = |handle: &Handle| {
            let found = self.proxy.object(handle.sequence(), handle.result());
            found.expect("it was acknowledged")
        };
        for (handle, _) in &mut self.alive {
            *handle = again(handle);
        }
        for handle in self.dead.drain(..) {
            let found = self.proxy.object(handle.sequence(), handle.result());
            assert!(found.is_none(), "{handle} was freed");
        }
    }

    fn check(&self) {
        for (handle, expected) in &self.alive {
            let value = self.proxy.call("counter_value", args![*handle]);
            let value = value.expect("it is alive").i32().expect("it is a number");
            assert_eq!(value, *expected, "{handle}");
        }
        for handle in &self.dead {
            let value = self.proxy.call("counter_value", args![*handle]);
            assert!(value.is_err(), "{handle} was freed");
        }
        let info = self.proxy.debug_info();
        assert_eq!((info.objects, info.divergences), (self.alive.len(), 0));
    }
}
