//! The memory and the handles of this process, as Linux counts them.

use std::fs;
use std::io;
use std::time::Duration;

/// Memory, file descriptors, threads and mappings of this process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory in KiB, without the pages of files: those of the executable come in as its
    /// code first runs, and belong to the system's cache.
    pub rss_kib: u64,
    /// The same, with pages that other processes share counted by their share. What an executable's
    /// pages count for would depend on how many processes run it.
    pub pss_kib: u64,
    /// Open file descriptors.
    pub fds: usize,
    /// Threads.
    pub threads: usize,
    /// Mappings of the address space.
    pub mappings: usize,
}

impl Footprint {
    /// Measures this process.
    ///
    /// # Errors
    ///
    /// An error of the operating system, in particular where there is no `/proc`.
    pub fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
        Ok(Self {
            rss_kib: kib(&status, "RssAnon:")? + kib(&status, "RssShmem:")?,
            pss_kib: kib(&rollup, "Pss_Anon:")? + kib(&rollup, "Pss_Shmem:")?,
            // The descriptor of the directory itself is in every count.
            fds: fs::read_dir("/proc/self/fd")?.count(),
            threads: fs::read_dir("/proc/self/task")?.count(),
            mappings: fs::read_to_string("/proc/self/maps")?.lines().count(),
        })
    }
}

/// The processor time that this process has had, the kernel's for it included.
///
/// # Errors
///
/// An error of the operating system, in particular where there is no `/proc`.
pub fn processor_time() -> io::Result<Duration> {
    // Linux counts in hundredths of a second here, whatever its own tick is.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The program's name, in parentheses, may have spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok(TICK * user.saturating_add(system)),
        _ => Err(io::Error::other("`/proc/self/stat` has no times")),
    }
}

fn kib(text: &str, field: &str) -> io::Result<u64> {
    text.lines()
        .find_map(|line| {
            line.strip_prefix(field)?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .ok_or_else(|| io::Error::other(format!("`/proc/self` has no `{field}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touched_allocation_and_an_open_file_are_seen() {
        let before = Footprint::now().expect("Linux");
        let allocation = vec![1_u8; 32 << 20];
        let file = fs::File::open("/proc/self/maps").expect("Linux");
        let during = Footprint::now().expect("Linux");
        assert!(
            during.rss_kib >= before.rss_kib + 30 * 1024,
            "{before:?} {during:?}"
        );
        assert!(
            during.pss_kib >= before.pss_kib + 30 * 1024,
            "{before:?} {during:?}"
        );
        assert_eq!(during.fds, before.fds + 1);
        drop((allocation, file));
    }
}
