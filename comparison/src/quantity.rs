//! Numbers and times as people read them.

/// A number with about three digits and no trailing zeros.
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
    fn numbers_have_three_digits_and_times_a_unit() {
        let shown = [0.0, 0.5, 1.25, 12.34, 123.4, 20.0].map(number);
        assert_eq!(shown, ["0", "0.5", "1.25", "12.3", "123", "20"]);
        assert_eq!(
            [0.25, 1.0, 1500.0, 2e6].map(time),
            ["250 ns", "1 µs", "1.5 ms", "2 s"]
        );
    }
}
