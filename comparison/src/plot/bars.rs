//! Horizontal bars: one number per name.

use super::axis::{Axis, Scale, number};
use super::svg::{Anchor, TEXT, line, rect, text, title, width_of};
use super::{COLOURS, Drawing};

/// A bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What it is of.
    pub name: String,
    /// Bars of one group stand together.
    pub group: String,
    /// How long it is.
    pub value: f64,
    /// From where to where its whisker goes.
    pub whisker: Option<(f64, f64)>,
    /// What is said behind the number.
    pub note: String,
    /// Which of the [`COLOURS`].
    pub colour: usize,
}

const ROW: f64 = 22.0;
const WIDTH: f64 = 860.0;

/// Bars with their numbers, in the order in which they are given; where the group changes, its name stands above.
#[must_use]
pub fn bars(heading: &str, unit: &str, all: &[Bar]) -> Drawing {
    let mut body = String::new();
    title(&mut body, 12.0, 22.0, heading);
    let names = all.iter().map(|bar| width_of(&bar.name));
    let left = 24.0 + names.fold(0.0, f64::max);
    let shown = |bar: &Bar| match bar.note.as_str() {
        "" => number(bar.value),
        note => format!("{}, {note}", number(bar.value)),
    };
    let room = all.iter().map(|bar| width_of(&shown(bar)));
    let right = (WIDTH - 16.0 - room.fold(0.0, f64::max)).max(left + 100.0);
    let longest = all
        .iter()
        .map(|bar| bar.whisker.map_or(bar.value, |(_, max)| max.max(bar.value)));
    let axis = Axis::new(Scale::Linear, longest, left, right);
    let mut y = 36.0;
    let mut group = "";
    for bar in all {
        if bar.group != group {
            group = &bar.group;
            y += 8.0;
            text(&mut body, (12.0, y + TEXT), Anchor::Start, "#222222", group);
            y += ROW;
        }
        let middle = y + ROW / 2.0;
        text(
            &mut body,
            (left - 8.0, middle + 4.0),
            Anchor::End,
            "#444444",
            &bar.name,
        );
        let end = axis.at(bar.value);
        let colour = COLOURS[bar.colour % COLOURS.len()];
        rect(&mut body, (left, y + 3.0), (end - left, ROW - 6.0), colour);
        let mut said_at = end;
        if let Some((min, max)) = bar.whisker.filter(|(min, max)| max > min) {
            let (from, to) = (axis.at(min), axis.at(max));
            line(&mut body, (from, middle), (to, middle), "#777777", 1.5);
            for x in [from, to] {
                line(
                    &mut body,
                    (x, middle - 4.0),
                    (x, middle + 4.0),
                    "#777777",
                    1.5,
                );
            }
            said_at = said_at.max(to);
        }
        text(
            &mut body,
            (said_at + 6.0, middle + 4.0),
            Anchor::Start,
            "#222222",
            &shown(bar),
        );
        y += ROW;
    }
    y += TEXT + 8.0;
    text(&mut body, (left, y), Anchor::Start, "#444444", unit);
    Drawing {
        width: WIDTH,
        height: y + 14.0,
        body,
    }
}
