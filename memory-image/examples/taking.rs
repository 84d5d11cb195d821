//! Measures the ways to take an image, in milliseconds for 512 MiB. `docs/checkpoints.md` explains
//! the choice between them.
//!
//! ```sh
//! cargo run --release -p wasm-proxy-memory-image --example taking
//! ```

#![expect(unsafe_code, reason = "makes memories as an engine does")]

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("images are copied on this system; there is nothing to compare");
}

#[cfg(target_os = "linux")]
fn main() {
    linux::main();
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ptr::{NonNull, null_mut};
    use std::time::Instant;

    use memory_image::{MemoryImage, Region, discard};
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

    const BYTES: usize = 512 << 20;
    const ROUNDS: usize = 5;

    struct Memory(NonNull<u8>);

    impl Memory {
        fn anonymous() -> Self {
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            // SAFETY: a fresh mapping at an address of the system's choice.
            let base = unsafe { mmap_anonymous(null_mut(), BYTES, access(), flags) };
            Self(NonNull::new(base.expect("memory").cast()).expect("not null"))
        }

        fn shared(huge: bool) -> Self {
            let file = memfd_create("taking", MemfdFlags::CLOEXEC).expect("a memfd");
            ftruncate(&file, BYTES as u64).expect("its size");
            // SAFETY: as above; nobody else has the file.
            let base = unsafe { mmap(null_mut(), BYTES, access(), MapFlags::SHARED, &file, 0) };
            let base = base.expect("memory");
            if huge {
                // SAFETY: advice about our own mapping. Where the system refuses it, there are
                // small pages.
                let _ = unsafe { madvise(base, BYTES, Advice::LinuxHugepage) };
            }
            Self(NonNull::new(base.cast()).expect("not null"))
        }

        fn region(&self) -> Region {
            Region::new(self.0, BYTES).expect("whole pages")
        }

        fn fill(&mut self, byte: u8) {
            // SAFETY: the mapping is ours and can be written.
            unsafe { self.0.as_ptr().write_bytes(byte, BYTES) };
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours, and nobody uses it any more.
            unsafe { munmap(self.0.as_ptr().cast(), BYTES) }.expect("it was mapped");
        }
    }

    fn access() -> ProtFlags {
        ProtFlags::READ | ProtFlags::WRITE
    }

    fn millis(run: impl FnOnce()) -> f64 {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e3
    }

    /// The median of the rounds, after a first one that only warms up.
    fn report(what: &str, mut round: impl FnMut() -> f64) {
        round();
        let mut times: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
        times.sort_by(f64::total_cmp);
        println!("{what:<58} {:>9.3} ms", times[ROUNDS / 2]);
    }

    pub(crate) fn main() {
        report("write fresh anonymous pages, as replay does", || {
            let mut memory = Memory::anonymous();
            millis(|| memory.fill(7))
        });
        report("write fresh pages of a shared memfd", || {
            let mut memory = Memory::shared(false);
            millis(|| memory.fill(7))
        });
        report("the same, huge pages advised", || {
            let mut memory = Memory::shared(true);
            millis(|| memory.fill(7))
        });
        report("move a memory into an image", || {
            let mut memory = Memory::anonymous();
            memory.fill(7);
            // SAFETY: the memory is ours alone, and nothing refers into it.
            millis(|| {
                drop(unsafe { MemoryImage::capture(memory.region(), None) }.expect("an image"));
            })
        });
        let mut memory = Memory::anonymous();
        memory.fill(7);
        // SAFETY: as above.
        let image = unsafe { MemoryImage::capture(memory.region(), None) }.expect("an image");
        report("an image of what changed: 1,000 pages in 50 places", || {
            for place in 0..50 {
                // SAFETY: the bytes are in the memory.
                unsafe {
                    memory
                        .0
                        .as_ptr()
                        .add(place * (10 << 20))
                        .write_bytes(9, 20 * 4096);
                };
            }
            // SAFETY: as above; the image is what the memory was last moved to or restored from.
            let taken = millis(|| {
                drop(
                    unsafe { MemoryImage::capture(memory.region(), Some(&image)) }
                        .expect("an image"),
                );
            });
            // SAFETY: as above.
            unsafe { image.restore(memory.region()) }.expect("it fits");
            taken
        });
        report("restore", || {
            let memory = Memory::anonymous();
            // SAFETY: as above.
            millis(|| unsafe { image.restore(memory.region()) }.expect("it fits"))
        });
        report("write to every page of a restored memory", || {
            let mut memory = Memory::anonymous();
            // SAFETY: as above.
            unsafe { image.restore(memory.region()) }.expect("it fits");
            millis(|| memory.fill(8))
        });
        report("give back, in slices", || {
            let mut memory = Memory::anonymous();
            memory.fill(7);
            // SAFETY: as above.
            millis(|| unsafe { discard(memory.region()) })
        });
    }
}
