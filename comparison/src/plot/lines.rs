//! Lines over a horizontal axis, with marks at moments.

use super::axis::{Axis, Scale, number};
use super::svg::{Anchor, circle, line, polyline, text, title, upwards, width_of};
use super::{COLOURS, Drawing};

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What it is of; empty if the legend has its colour already.
    pub name: String,
    /// Its points, in order.
    pub points: Vec<(f64, f64)>,
    /// Which of the [`COLOURS`].
    pub colour: usize,
    /// Whether each point is shown.
    pub dots: bool,
}

/// A plot of lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// What stands above.
    pub heading: String,
    /// What the horizontal axis counts, with its unit.
    pub x_label: String,
    /// What the vertical axis counts, with its unit.
    pub y_label: String,
    /// The horizontal axis.
    pub x_scale: Scale,
    /// The vertical axis.
    pub y_scale: Scale,
    /// The smallest value at which the vertical axis ends, for plots that are compared.
    pub y_max: Option<f64>,
    /// The same of the horizontal axis.
    pub x_max: Option<f64>,
    /// The lines.
    pub lines: Vec<Line>,
    /// Moments, shown as thin vertical lines, and which of the [`COLOURS`] they have.
    pub marks: Vec<(f64, usize)>,
    /// A level, shown as a dashed line, and what it is called.
    pub level: Option<(f64, String)>,
    /// The size in pixels.
    pub size: (f64, f64),
}

/// Lines over a horizontal axis.
#[must_use]
pub fn lines(plot: &Lines) -> Drawing {
    let (width, height) = plot.size;
    let mut body = String::new();
    title(&mut body, 12.0, 22.0, &plot.heading);
    let (left, right, top, bottom) = (66.0, width - 30.0, 58.0, height - 46.0);
    let points = || plot.lines.iter().flat_map(|line| line.points.iter());
    let x = Axis::new(
        plot.x_scale,
        points().map(|p| p.0).chain(plot.x_max),
        left,
        right,
    );
    let level = plot.level.as_ref().map(|(value, _)| *value);
    let y_values = points().map(|p| p.1).chain(plot.y_max).chain(level);
    let y = Axis::new(plot.y_scale, y_values, bottom, top);
    grid(&mut body, plot, (&x, &y), (left, right, top, bottom));
    for (at, colour) in &plot.marks {
        let at = x.at(*at);
        let colour = COLOURS[colour % COLOURS.len()];
        line(&mut body, (at, top), (at, bottom), colour, 0.8);
    }
    if let Some((value, name)) = &plot.level {
        let at = y.at(*value);
        line(&mut body, (left, at), (right, at), "#b00000", 1.0);
        text(
            &mut body,
            (left + 6.0, at - 4.0),
            Anchor::Start,
            "#b00000",
            name,
        );
    }
    for series in &plot.lines {
        let colour = COLOURS[series.colour % COLOURS.len()];
        let shown = series
            .points
            .iter()
            .filter(|p| x.shows(p.0) && y.shows(p.1));
        let pixels: Vec<_> = shown.map(|p| (x.at(p.0), y.at(p.1))).collect();
        polyline(&mut body, &pixels, colour, 1.6);
        if series.dots {
            for pixel in &pixels {
                circle(&mut body, *pixel, 3.0, colour, "#ffffff");
            }
        }
    }
    legend(&mut body, plot, left);
    Drawing {
        width,
        height,
        body,
    }
}

fn grid(
    body: &mut String,
    plot: &Lines,
    (x, y): (&Axis, &Axis),
    (left, right, top, bottom): (f64, f64, f64, f64),
) {
    for tick in y.ticks() {
        let at = y.at(tick);
        line(body, (left, at), (right, at), "#e6e6e6", 1.0);
        text(
            body,
            (left - 6.0, at + 4.0),
            Anchor::End,
            "#444444",
            &number(tick),
        );
    }
    for tick in x.ticks() {
        let at = x.at(tick);
        line(body, (at, bottom), (at, bottom + 4.0), "#444444", 1.0);
        text(
            body,
            (at, bottom + 17.0),
            Anchor::Middle,
            "#444444",
            &number(tick),
        );
    }
    line(body, (left, bottom), (right, bottom), "#444444", 1.0);
    line(body, (left, top), (left, bottom), "#444444", 1.0);
    let middle = f64::midpoint(left, right);
    text(
        body,
        (middle, bottom + 34.0),
        Anchor::Middle,
        "#444444",
        &plot.x_label,
    );
    upwards(body, (18.0, f64::midpoint(top, bottom)), &plot.y_label);
}

/// Above the plot, in one row, where there is more than one line.
fn legend(body: &mut String, plot: &Lines, left: f64) {
    if plot.lines.len() < 2 {
        return;
    }
    let mut at = left;
    for series in plot.lines.iter().filter(|line| !line.name.is_empty()) {
        let colour = COLOURS[series.colour % COLOURS.len()];
        line(body, (at, 40.0), (at + 18.0, 40.0), colour, 3.0);
        text(
            body,
            (at + 23.0, 44.0),
            Anchor::Start,
            "#222222",
            &series.name,
        );
        at += 23.0 + width_of(&series.name) + 16.0;
    }
}
