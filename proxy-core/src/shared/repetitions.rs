//! How often a call that failed is made again.

/// How often a call has been repeated. It is repeated once on a clean generation. A generation that
/// other callers filled before the repetition ran was not clean, but such repetitions are limited
/// too.
#[derive(Clone, Copy, Default)]
pub(crate) struct Repetitions(u32);

const REPETITIONS_MAX: u32 = 3;

impl Repetitions {
    /// Whether to repeat after this failure, and why; counts it.
    pub(crate) fn next(
        &mut self,
        reason: Option<&'static str>,
        clean: bool,
    ) -> Option<&'static str> {
        let reason = reason.filter(|_| self.allow(clean))?;
        self.0 += 1;
        Some(reason)
    }

    /// Whether an attempt may be followed by another, if its generation was `clean`.
    pub(crate) fn allow(self, clean: bool) -> bool {
        self.0 == 0 || (!clean && self.0 < REPETITIONS_MAX)
    }

    pub(crate) fn any(self) -> bool {
        self.0 > 0
    }
}
