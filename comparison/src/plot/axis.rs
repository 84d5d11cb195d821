//! From numbers to pixels.

/// How numbers are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0, equal steps for equal differences.
    Linear,
    /// Equal steps for equal ratios; what is not above 0 is left out.
    Log,
}

/// An axis: its numbers and its pixels.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    min: f64,
    max: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that shows all values. `from` and `to` are the pixels of its ends.
    pub(super) fn new(
        scale: Scale,
        values: impl IntoIterator<Item = f64>,
        from: f64,
        to: f64,
    ) -> Self {
        let usable = values
            .into_iter()
            .filter(|v| v.is_finite() && (scale == Scale::Linear || *v > 0.0));
        let (low, high) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        let (min, max) = match scale {
            Scale::Linear => (0.0, if high > 0.0 { high * 1.05 } else { 1.0 }),
            Scale::Log if low > high => (1.0, 10.0),
            Scale::Log => {
                let (low, high) = (low.log10().floor(), high.log10().ceil());
                (10_f64.powf(low), 10_f64.powf(high.max(low + 1.0)))
            }
        };
        Self {
            scale,
            min,
            max,
            from,
            to,
        }
    }

    /// The pixel of a number; what is outside is at the end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.min) / (self.max - self.min),
            Scale::Log => {
                (value.max(self.min).log10() - self.min.log10())
                    / (self.max.log10() - self.min.log10())
            }
        };
        let share = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        };
        self.from + share * (self.to - self.from)
    }

    /// Whether a number can be shown.
    pub(super) fn shows(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == Scale::Linear || value > 0.0)
    }

    /// The numbers that are written beside it.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = nice_step(self.max / 5.0);
                steps(|n| n * step, self.max)
            }
            Scale::Log => steps(|n| self.min * 10_f64.powf(n), self.max * 1.001),
        }
    }
}

fn steps(value: impl Fn(f64) -> f64, max: f64) -> Vec<f64> {
    (0..100)
        .map(|n| value(f64::from(n)))
        .take_while(|v| *v <= max)
        .collect()
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn nice_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let nice = [1.0, 2.0, 5.0, 10.0];
    let fits = nice.into_iter().find(|n| n * power >= step * 0.999);
    fits.unwrap_or(10.0) * power
}

/// A number with about three digits, and nothing that is not needed.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if !(1e-12..100.0).contains(&v) => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Microseconds in the unit that suits them.
pub(crate) fn time(micros: f64) -> String {
    match micros {
        v if v < 1.0 => format!("{} ns", number(v * 1e3)),
        v if v < 1e3 => format!("{} µs", number(v)),
        v if v < 1e6 => format!("{} ms", number(v / 1e3)),
        v => format!("{} s", number(v / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_begins_at_zero_and_has_round_ticks() {
        let axis = Axis::new(Scale::Linear, [3.0, 42.0], 0.0, 100.0);
        assert!(axis.at(0.0).abs() < 1e-9 && axis.at(42.0) > 90.0);
        assert_eq!(axis.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0]);
        let empty = Axis::new(Scale::Linear, [], 0.0, 100.0);
        assert!(empty.at(0.0).is_finite());
    }

    #[test]
    fn a_logarithmic_axis_ends_at_powers_of_ten_and_leaves_out_zero() {
        let axis = Axis::new(Scale::Log, [0.0, 20.0, 3000.0], 0.0, 300.0);
        assert_eq!(axis.ticks().len(), 4);
        assert!((axis.at(100.0) - 100.0).abs() < 1e-6);
        assert!(!axis.shows(0.0) && axis.shows(1.0));
    }

    #[test]
    fn numbers_have_three_digits_and_times_a_unit() {
        let shown = [0.0, 0.5, 1.25, 12.34, 123.4, 20.0].map(number);
        assert_eq!(shown, ["0", "0.5", "1.25", "12.3", "123", "20"]);
        assert_eq!(
            [0.25, 1.0, 1500.0, 2e6].map(time),
            ["250 ns", "1 µs", "1.5 ms", "2 s"]
        );
    }
}
