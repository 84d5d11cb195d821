//! Exports that leave memory behind with every call.

use std::time::{Duration, Instant};

use super::made::{Made, Repeated};
use super::{Case, Upkeep};
use crate::shared::PureCall;
use crate::{Error, Leak};

/// An export is called so often to see whether the memory grows for ever.
const CALLS_MAX: u64 = 4_096;
/// Or for so long, if that is shorter, but at least [`CALLS_MIN`] times.
const TIME_MAX: Duration = Duration::from_millis(500);
const CALLS_MIN: u64 = 4;
/// Or until the memory has grown by so much, in bytes.
const BYTES_MAX: u64 = 16 << 20;

impl Upkeep {
    /// Makes the calls of one export again and again on an instance of its own, one after the
    /// other. `None` if the memory stops growing, which it may do after some calls.
    pub(super) fn leak(
        &self,
        case: &Case,
        alone: &mut Made,
        calls: &[&PureCall],
    ) -> Result<Option<Leak>, Error> {
        let generation = self.instance(case, alone)?;
        let size = || generation.enter_standby().memory_bytes();
        // After 1, 2, 4 and so on calls.
        let (first, mut sizes, started) = (size(), Vec::new(), Instant::now());
        let mut made = 0_u64;
        for call in calls.iter().cycle() {
            match self.repeat_pure(&generation, call) {
                Repeated::Answered(_) => {}
                Repeated::Refused | Repeated::RanOut | Repeated::Ended => break,
            }
            made += 1;
            if made.is_power_of_two() {
                sizes.push((made, size()));
            }
            let is_enough = size().saturating_sub(first) >= BYTES_MAX;
            let is_long = is_enough || started.elapsed() >= TIME_MAX;
            if made >= CALLS_MAX || (is_long && made >= CALLS_MIN) {
                break;
            }
        }
        let half = sizes.iter().rev().find(|(at, _)| *at <= made / 2);
        Ok(half.and_then(|(at, before)| {
            let bytes = size().saturating_sub(*before);
            (bytes > 0).then(|| Leak {
                export: self.name(calls[0].func),
                calls: made - at,
                bytes,
            })
        }))
    }
}
