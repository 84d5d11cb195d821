//! When to swap for another reason than the size of the memory: decisions as pure functions.

use std::time::{Duration, Instant};

use crate::Error;
use crate::memory::{Decision, Reason};

/// When the active generation is replaced, apart from the [thresholds](crate::Thresholds) of its
/// memory. A [supervisor](crate::Supervisor) has to run.
///
/// ```
/// use std::time::Duration;
/// use proxy_core::SwapTriggers;
///
/// let fragile = SwapTriggers {
///     calls_max: Some(10_000),
///     age_max: Some(Duration::from_hours(24)),
///     ..SwapTriggers::default()
/// };
/// assert_eq!(fragile.idle_after, SwapTriggers::default().idle_after);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapTriggers {
    /// After so many calls. A standby is prepared after three quarters of them; if it is not ready
    /// in time, calls wait for it, up to the bound of [`Builder::hold_back`](crate::Builder::hold_back).
    /// By default the number of calls does not matter.
    pub calls_max: Option<u64>,
    /// After so much time. By default time does not matter.
    pub age_max: Option<Duration>,
    /// When the memory has not grown for so long after a peak: a swap then gives back what the peak
    /// took. It has to be a sixteenth of the memory limit at least. If the memory grows again soon
    /// after the swap, or the swap would give nothing back, the next one waits twice as long, up to
    /// 64 times. The default is a minute.
    pub idle_after: Option<Duration>,
    /// When the guest's stack pointer is so many bytes lower between two calls than it was at first:
    /// functions leave without giving their part of the stack back, and the stack will grow into the
    /// data. A standby is prepared at half of it. The default is 16 KiB, a quarter of the smallest
    /// stack that linkers give.
    pub stack_drift_bytes_max: Option<u64>,
    /// When growth of the memory was refused to a call that went on and returned, if a clean
    /// generation has room for it. On by default.
    pub growth_refused: bool,
}

impl Default for SwapTriggers {
    fn default() -> Self {
        Self {
            calls_max: None,
            age_max: None,
            idle_after: Some(Duration::from_mins(1)),
            stack_drift_bytes_max: Some(16 << 10),
            growth_refused: true,
        }
    }
}

impl SwapTriggers {
    /// No swap but those of the memory's thresholds, and those that the policy names an export for.
    #[must_use]
    pub fn none() -> Self {
        Self {
            calls_max: None,
            age_max: None,
            idle_after: None,
            stack_drift_bytes_max: None,
            growth_refused: false,
        }
    }

    /// # Errors
    ///
    /// [`Error::Setting`] for a bound of zero.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let zero = match self {
            Self {
                calls_max: Some(0), ..
            } => "SwapTriggers::calls_max",
            Self {
                stack_drift_bytes_max: Some(0),
                ..
            } => "SwapTriggers::stack_drift_bytes_max",
            Self {
                age_max: Some(Duration::ZERO),
                ..
            } => "SwapTriggers::age_max",
            Self {
                idle_after: Some(Duration::ZERO),
                ..
            } => "SwapTriggers::idle_after",
            _ => return Ok(()),
        };
        Err(Error::Setting {
            reason: format!("`{zero}` is 0: every call would swap; give a larger one, or `None`"),
        })
    }

    /// The number of calls at which a standby is prepared.
    fn calls_near(&self) -> Option<u64> {
        self.calls_max.map(|calls| calls - calls / 4)
    }

    /// The next number of calls, above `calls`, at which to look.
    pub(crate) fn next_look(&self, calls: u64) -> u64 {
        let marks = self.calls_near().into_iter().chain(self.calls_max);
        marks.filter(|mark| *mark > calls).min().unwrap_or(u64::MAX)
    }

    /// How soon time alone may ask for a standby, or for a swap if a standby waits.
    pub(crate) fn next_in(
        &self,
        signs: &Signs,
        idle: &IdleWatch,
        standby_ready: bool,
    ) -> Option<Duration> {
        let age = self.age_max.map(|age| {
            let lead = if standby_ready {
                Duration::ZERO
            } else {
                signs.lead(age)
            };
            age.saturating_sub(signs.age + lead)
        });
        let idle = self
            .idle_after
            .filter(|_| signs.is_worth_it())
            .map(|after| idle.wait_for(after, signs).saturating_sub(signs.quiet));
        age.into_iter().chain(idle).min()
    }

    /// What the signs ask for.
    pub(crate) fn decide(
        &self,
        signs: &Signs,
        idle: &IdleWatch,
        stack: &StackWatch,
        standby_ready: bool,
    ) -> Decision {
        let near = self.near(signs, stack);
        match (self.due(signs, idle, stack), near, standby_ready) {
            (Some(reason), _, true) => Decision::Swap(reason),
            (Some(reason), _, false) | (None, Some(reason), false) => Decision::Prepare(reason),
            _ => Decision::Nothing,
        }
    }

    /// Why a swap is due, if one is.
    pub(crate) fn due(
        &self,
        signs: &Signs,
        idle: &IdleWatch,
        stack: &StackWatch,
    ) -> Option<Reason> {
        if signs.asked {
            return Some(Reason::Asked);
        }
        if stack
            .bytes_max(self)
            .is_some_and(|max| signs.stack_drift >= max)
        {
            return Some(Reason::Stack);
        }
        if self.growth_refused && signs.has_room_for_refused() {
            return Some(Reason::GrowthRefused);
        }
        if self.calls_max.is_some_and(|max| signs.calls >= max) {
            return Some(Reason::Calls);
        }
        if self.age_max.is_some_and(|max| signs.age >= max) {
            return Some(Reason::Age);
        }
        let is_idle = self
            .idle_after
            .is_some_and(|after| signs.is_worth_it() && idle.is_over(after, signs));
        is_idle.then_some(Reason::Idle)
    }

    /// Why a swap will soon be due.
    fn near(&self, signs: &Signs, stack: &StackWatch) -> Option<Reason> {
        let drift = stack.bytes_max(self).map(|max| max / 2);
        if drift.is_some_and(|near| signs.stack_drift > 0 && signs.stack_drift >= near) {
            return Some(Reason::Stack);
        }
        if self.calls_near().is_some_and(|near| signs.calls >= near) {
            return Some(Reason::Calls);
        }
        let is_near = |age: Duration| signs.age + signs.lead(age) >= age;
        self.age_max.is_some_and(is_near).then_some(Reason::Age)
    }
}

/// What is known of the active generation, apart from its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// The calls that it has served.
    pub(crate) calls: u64,
    /// How long it has served.
    pub(crate) age: Duration,
    /// How far the stack pointer has come down, in bytes.
    pub(crate) stack_drift: u64,
    /// The smallest size that its memories were refused in a call that went on, in bytes; 0 for
    /// none.
    pub(crate) refused: u64,
    /// Whether the export that the policy names for this asks for a swap.
    pub(crate) asked: bool,
    /// What a swap may give back, in bytes.
    pub(crate) reclaimable: u64,
    /// How long the memory has not grown.
    pub(crate) quiet: Duration,
    pub(crate) limit: u64,
    /// How long a preparation is expected to take.
    pub(crate) prepare_time: Duration,
}

/// The part of the memory limit that a swap has to give back to be worth it.
const WORTH: u64 = 16;

impl Signs {
    /// How long before its time a standby is begun: twice as long as it takes, and never more than
    /// a quarter of the time.
    fn lead(&self, of: Duration) -> Duration {
        (self.prepare_time * 2).min(of / 4)
    }

    /// Whether a swap may give back enough.
    fn is_worth_it(&self) -> bool {
        is_worth_a_swap(self.reclaimable, self.limit)
    }

    /// Whether what was refused would have fitted without what has come since.
    fn has_room_for_refused(&self) -> bool {
        let needed = self.refused.saturating_sub(self.reclaimable);
        self.refused > 0 && self.is_worth_it() && needed <= self.limit
    }
}

/// Whether a swap that gives back so many bytes is worth it.
pub(crate) fn is_worth_a_swap(bytes: u64, limit: u64) -> bool {
    bytes > 0 && bytes >= limit / WORTH
}

/// How patient the proxy is with idle memory.
#[derive(Debug)]
pub(crate) struct IdleWatch {
    factor: u32,
    /// When the last swap for idle memory was due.
    last: Option<Instant>,
}

const IDLE_FACTOR_MAX: u32 = 64;

impl Default for IdleWatch {
    fn default() -> Self {
        Self {
            factor: 1,
            last: None,
        }
    }
}

impl IdleWatch {
    /// How long the memory must not have grown.
    pub(crate) fn wait(&self, after: Duration) -> Duration {
        after.saturating_mul(self.factor)
    }

    /// How long the memory must not have grown, if a preparation takes long: twice as long at least.
    fn wait_for(&self, after: Duration, signs: &Signs) -> Duration {
        self.wait(after).max(signs.prepare_time.saturating_mul(2))
    }

    /// Whether the peak is over.
    fn is_over(&self, after: Duration, signs: &Signs) -> bool {
        signs.quiet >= self.wait_for(after, signs)
    }

    /// A swap for idle memory took place, after it had been quiet for so long. If the peak had come
    /// back within the wait after the swap before, the memory is no peak but in use.
    pub(crate) fn swapped(&mut self, now: Instant, after: Duration, quiet: Duration) {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        let returned = since.map(|since| since.saturating_sub(quiet));
        if returned.is_some_and(|returned| returned < self.wait(after)) {
            self.wait_longer();
        } else {
            self.factor = 1;
        }
        self.last = Some(now);
    }

    /// The swap would have given nothing back.
    pub(crate) fn wait_longer(&mut self) {
        self.factor = (self.factor * 2).min(IDLE_FACTOR_MAX);
    }
}

/// How far the stack pointer may come down.
#[derive(Debug, Default)]
pub(crate) struct StackWatch {
    /// How often the bound was doubled.
    doublings: u32,
}

/// A generation that reaches the bound within so few calls was not drifting: each takes a large part
/// of the stack once, and keeps it.
const CALLS_OF_A_DRIFT: u64 = 8;

const DOUBLINGS_MAX: u32 = 6;

impl StackWatch {
    /// The bound.
    pub(crate) fn bytes_max(&self, triggers: &SwapTriggers) -> Option<u64> {
        let bytes = triggers.stack_drift_bytes_max?;
        Some(bytes.saturating_mul(1 << self.doublings))
    }

    /// A generation was replaced because of its stack, after so many calls.
    pub(crate) fn swapped(&mut self, calls: u64) {
        if calls < CALLS_OF_A_DRIFT {
            self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
        }
    }
}

/// How soon an export may ask for a swap again.
#[derive(Debug)]
pub(crate) struct AskWatch {
    pause: Duration,
    last: Option<Instant>,
}

const ASK_PAUSE: Duration = Duration::from_millis(100);
const ASK_PAUSE_MAX: Duration = Duration::from_mins(1);

impl Default for AskWatch {
    fn default() -> Self {
        Self {
            pause: Duration::ZERO,
            last: None,
        }
    }
}

impl AskWatch {
    /// Whether it is listened to.
    pub(crate) fn permits(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.pause)
    }

    /// A generation was replaced because it asked for that, after so many calls. One that asks for it
    /// from the start would be replaced in circles: what it complains of is in its state.
    pub(crate) fn swapped(&mut self, now: Instant, calls: u64) {
        self.pause = if calls < CALLS_OF_A_DRIFT {
            (self.pause * 2).clamp(ASK_PAUSE, ASK_PAUSE_MAX)
        } else {
            Duration::ZERO
        };
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SECOND: Duration = Duration::from_secs(1);

    fn signs() -> Signs {
        Signs {
            limit: 64 * MIB,
            prepare_time: Duration::from_millis(100),
            ..Signs::default()
        }
    }

    fn decide(triggers: SwapTriggers, signs: Signs, standby_ready: bool) -> Decision {
        let (idle, stack) = (IdleWatch::default(), StackWatch::default());
        triggers.decide(&signs, &idle, &stack, standby_ready)
    }

    /// What is decided without a standby, and with one.
    fn both(triggers: SwapTriggers, signs: Signs) -> [Decision; 2] {
        [false, true].map(|ready| decide(triggers, signs, ready))
    }

    const NOTHING: [Decision; 2] = [Decision::Nothing; 2];

    fn prepared(reason: Reason) -> [Decision; 2] {
        [Decision::Prepare(reason), Decision::Nothing]
    }

    fn due(reason: Reason) -> [Decision; 2] {
        [Decision::Prepare(reason), Decision::Swap(reason)]
    }

    #[test]
    fn a_number_of_calls_prepares_at_three_quarters_and_swaps_at_its_end() {
        let triggers = SwapTriggers {
            calls_max: Some(1_000),
            ..SwapTriggers::none()
        };
        let served = |calls| both(triggers, Signs { calls, ..signs() });
        assert_eq!(served(749), NOTHING);
        assert_eq!(served(750), prepared(Reason::Calls));
        assert_eq!(served(1_000), due(Reason::Calls));
        let looks = [0, 749, 750, 999, 1_000].map(|calls| triggers.next_look(calls));
        assert_eq!(looks, [750, 750, 1_000, 1_000, u64::MAX]);
        let each = SwapTriggers {
            calls_max: Some(1),
            ..triggers
        };
        assert_eq!(each.next_look(0), 1);
    }

    #[test]
    fn an_age_is_prepared_for_and_never_earlier_than_in_its_last_quarter() {
        let triggers = SwapTriggers {
            age_max: Some(60 * SECOND),
            ..SwapTriggers::none()
        };
        let old = |age: Duration, prepare_time: Duration| {
            let signs = Signs {
                age,
                prepare_time,
                ..signs()
            };
            both(triggers, signs)
        };
        assert_eq!(old(57 * SECOND, SECOND), NOTHING);
        assert_eq!(old(58 * SECOND, SECOND), prepared(Reason::Age));
        assert_eq!(old(60 * SECOND, SECOND), due(Reason::Age));
        assert_eq!(old(44 * SECOND, 3600 * SECOND), NOTHING);
        assert_eq!(old(45 * SECOND, 3600 * SECOND), prepared(Reason::Age));
        let left = Signs {
            age: 18 * SECOND,
            prepare_time: SECOND,
            ..signs()
        };
        let next = |ready| triggers.next_in(&left, &IdleWatch::default(), ready);
        assert_eq!(next(false), Some(40 * SECOND));
        assert_eq!(next(true), Some(42 * SECOND));
    }

    #[test]
    fn a_peak_is_given_back_once_it_is_over() {
        let triggers = SwapTriggers {
            idle_after: Some(60 * SECOND),
            ..SwapTriggers::none()
        };
        let idle = |mib: u64, quiet: u32| {
            let signs = Signs {
                reclaimable: mib * MIB,
                quiet: quiet * SECOND,
                ..signs()
            };
            both(triggers, signs)
        };
        assert_eq!(idle(40, 59), NOTHING);
        assert_eq!(idle(40, 60), due(Reason::Idle));
        assert_eq!(idle(3, 3_600), NOTHING, "that is too little");
        let slow = Signs {
            reclaimable: 40 * MIB,
            quiet: 60 * SECOND,
            prepare_time: 40 * SECOND,
            ..signs()
        };
        assert_eq!(both(triggers, slow), NOTHING, "it would cost too much");
    }

    #[test]
    fn memory_that_is_taken_again_at_once_is_waited_for_longer_each_time() {
        let (mut idle, start, after) = (IdleWatch::default(), Instant::now(), 60 * SECOND);
        let mut waits = Vec::new();
        let mut now = start;
        for _ in 0..9 {
            waits.push(idle.wait(after).as_secs() / 60);
            now += idle.wait(after) + SECOND;
            idle.swapped(now, after, idle.wait(after));
        }
        assert_eq!(waits, [1, 1, 2, 4, 8, 16, 32, 64, 64]);
        // It stays small for longer than the wait.
        now += Duration::from_hours(3);
        idle.swapped(now, after, after);
        assert_eq!(idle.wait(after), after);
    }

    #[test]
    fn a_stack_that_drifts_is_replaced_before_it_meets_the_data() {
        let triggers = SwapTriggers {
            stack_drift_bytes_max: Some(1_024),
            ..SwapTriggers::none()
        };
        let drifted = |stack_drift| {
            both(
                triggers,
                Signs {
                    stack_drift,
                    ..signs()
                },
            )
        };
        assert_eq!(drifted(0), NOTHING);
        assert_eq!(drifted(511), NOTHING);
        assert_eq!(drifted(512), prepared(Reason::Stack));
        assert_eq!(drifted(1_024), due(Reason::Stack));
    }

    #[test]
    fn a_part_of_the_stack_that_each_generation_keeps_is_no_drift() {
        let (mut stack, triggers) = (StackWatch::default(), SwapTriggers::default());
        stack.swapped(1_000);
        assert_eq!(stack.bytes_max(&triggers), Some(16 << 10));
        for _ in 0..3 {
            stack.swapped(1);
        }
        assert_eq!(stack.bytes_max(&triggers), Some(128 << 10));
        for _ in 0..30 {
            stack.swapped(1);
        }
        assert_eq!(stack.bytes_max(&triggers), Some(1 << 20));
    }

    #[test]
    fn refused_growth_swaps_where_a_clean_generation_has_room() {
        let refused = |refused: u64, reclaimable: u64| {
            let signs = Signs {
                refused: refused * MIB,
                reclaimable: reclaimable * MIB,
                ..signs()
            };
            both(SwapTriggers::default(), signs)
        };
        assert_eq!(refused(0, 60), NOTHING);
        assert_eq!(refused(65, 60), due(Reason::GrowthRefused));
        assert_eq!(refused(65, 0), NOTHING, "nothing has leaked");
        assert_eq!(refused(130, 60), NOTHING, "it never fits");
        let signs = Signs {
            refused: 65 * MIB,
            reclaimable: 60 * MIB,
            ..signs()
        };
        assert_eq!(both(SwapTriggers::none(), signs), NOTHING);
    }

    #[test]
    fn an_export_that_always_asks_is_not_obeyed_in_circles() {
        let asked = Signs {
            asked: true,
            ..signs()
        };
        assert_eq!(both(SwapTriggers::none(), asked), due(Reason::Asked));
        let (mut ask, now) = (AskWatch::default(), Instant::now());
        assert!(ask.permits(now));
        ask.swapped(now, 1_000);
        assert!(ask.permits(now));
        ask.swapped(now, 1);
        assert!(!ask.permits(now));
        assert!(ask.permits(now + ASK_PAUSE));
        for _ in 0..20 {
            ask.swapped(now, 0);
        }
        assert!(!ask.permits(now + 59 * SECOND));
        assert!(ask.permits(now + 60 * SECOND));
    }

    #[test]
    fn a_bound_of_zero_is_refused_by_name() {
        let zero = SwapTriggers {
            calls_max: Some(0),
            ..SwapTriggers::default()
        };
        let error = zero.check().unwrap_err().to_string();
        assert!(error.contains("calls_max"), "{error}");
        assert!(SwapTriggers::default().check().is_ok());
    }
}
