//! Processor time.

use std::fs;

/// Ticks per second of the times in `/proc`. The number is part of Linux's interface, and does not
/// depend on the kernel's own clock.
const TICKS: f64 = 100.0;

/// Seconds of processor time of this process: of all its threads, and of its children that have
/// ended. `None` where the system does not say.
pub(crate) fn seconds() -> Option<f64> {
    parse(&fs::read_to_string("/proc/self/stat").ok()?)
}

fn parse(stat: &str) -> Option<f64> {
    // The program's name is in parentheses, and may contain some.
    let (_, rest) = stat.rsplit_once(") ")?;
    let times: Vec<u32> = rest
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|ticks| ticks.parse().ok())
        .collect::<Option<_>>()?;
    (times.len() == 4).then(|| times.into_iter().map(f64::from).sum::<f64>() / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_childrens_times_are_added() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 25 75 20 0 1 0 99";
        assert!((parse(stat).unwrap() - 3.0).abs() < 1e-9);
        assert_eq!(parse("7 (a) S 1 7"), None);
        assert_eq!(parse(""), None);
        assert!(seconds().unwrap() >= 0.0);
    }
}
