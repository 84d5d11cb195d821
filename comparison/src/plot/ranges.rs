//! Ranges on a logarithmic axis of time: for each name several points, and what lies between.

use super::axis::{Axis, Scale, time};
use super::svg::{Anchor, TEXT, circle, line, text, title, width_of};
use super::{COLOURS, Drawing};

/// A range.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// What it is of.
    pub name: String,
    /// Ranges of one group stand together.
    pub group: String,
    /// Microseconds at the points, in rising order.
    pub points_us: Vec<f64>,
    /// Which of the [`COLOURS`].
    pub colour: usize,
}

const ROW: f64 = 26.0;
const WIDTH: f64 = 860.0;

/// How the points are filled, from the first to the last: more is rarer.
const SIZES: [f64; 4] = [6.0, 5.0, 4.0, 3.0];

/// Ranges of times, in microseconds, on a logarithmic axis. `points` says what the points of each are.
#[must_use]
pub fn ranges(heading: &str, points: &[&str], all: &[Range]) -> Drawing {
    let mut body = String::new();
    title(&mut body, 12.0, 22.0, heading);
    let names = all.iter().map(|range| width_of(&range.name));
    let left = 24.0 + names.fold(0.0, f64::max);
    let right = WIDTH - 190.0;
    let values = all.iter().flat_map(|range| range.points_us.iter().copied());
    let axis = Axis::new(Scale::Log, values, left, right);
    legend(&mut body, points, left);
    let groups = all
        .windows(2)
        .filter(|pair| pair[0].group != pair[1].group)
        .count();
    #[expect(clippy::cast_precision_loss, reason = "a plot has few rows")]
    let bottom = 56.0 + all.len() as f64 * ROW + (groups + 1) as f64 * (ROW + 4.0);
    for tick in axis.ticks() {
        let at = axis.at(tick);
        line(&mut body, (at, 56.0), (at, bottom), "#e0e0e0", 1.0);
        text(
            &mut body,
            (at, bottom + 16.0),
            Anchor::Middle,
            "#444444",
            &time(tick),
        );
    }
    let mut y = 56.0;
    let mut group = None;
    for range in all {
        if group != Some(&range.group) {
            group = Some(&range.group);
            y += 4.0;
            text(
                &mut body,
                (12.0, y + TEXT + 4.0),
                Anchor::Start,
                "#222222",
                &range.group,
            );
            y += ROW;
        }
        let middle = y + ROW / 2.0;
        text(
            &mut body,
            (left - 8.0, middle + 4.0),
            Anchor::End,
            "#444444",
            &range.name,
        );
        let colour = COLOURS[range.colour % COLOURS.len()];
        let pixels: Vec<f64> = range.points_us.iter().map(|p| axis.at(*p)).collect();
        if let (Some(first), Some(last)) = (pixels.first(), pixels.last()) {
            line(&mut body, (*first, middle), (*last, middle), colour, 2.0);
        }
        for (pixel, size) in pixels.iter().zip(SIZES) {
            circle(&mut body, (*pixel, middle), size, colour, "#ffffff");
        }
        let said = match (range.points_us.first(), range.points_us.last()) {
            (Some(first), Some(last)) => format!("{} … {}", time(*first), time(*last)),
            _ => "no turn succeeded".to_owned(),
        };
        text(
            &mut body,
            (right + 14.0, middle + 4.0),
            Anchor::Start,
            "#222222",
            &said,
        );
        y += ROW;
    }
    Drawing {
        width: WIDTH,
        height: bottom + 30.0,
        body,
    }
}

fn legend(body: &mut String, points: &[&str], left: f64) {
    let mut at = left;
    for (point, size) in points.iter().zip(SIZES) {
        circle(body, (at + 6.0, 40.0), size, "#666666", "#ffffff");
        text(body, (at + 17.0, 44.0), Anchor::Start, "#222222", point);
        at += 17.0 + width_of(point) + 18.0;
    }
}
