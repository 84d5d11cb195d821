//! Rows below each other, each with a name, a bar or several times, and a note.

use std::io;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{
    ABOVE, Area, BELOW, Chart, Drawn, INK, PALE, Swatch, TEXT, colour, document, font, head,
    linear, logarithmic, pixels, printable, signed, text, width_of,
};
use crate::quantity::{number, time};

/// Pixels: the height of a row, and the width of a plot of rows.
const ROW: u32 = 24;
const ROWS_WIDTH: u32 = 860;

/// The name and the colour of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The text to the left.
    pub name: String,
    /// Rows of one group stand together, below its name.
    pub group: String,
    /// Its colour, one of seven.
    pub colour: usize,
}

/// A row with one number.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Name and colour.
    pub row: Row,
    /// How long the bar is.
    pub value: f64,
    /// The least and the most of several rounds.
    pub whisker: (f64, f64),
    /// The text behind the number.
    pub note: String,
}

/// A row with several times.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// Name and colour.
    pub row: Row,
    /// Microseconds in rising order.
    pub micros: Vec<f64>,
}

/// Horizontal bars with their numbers. `unit` stands below the axis.
#[must_use]
pub fn bars(heading: &str, unit: &str, all: &[Bar]) -> String {
    let said = |bar: &Bar| match bar.note.as_str() {
        "" => number(bar.value),
        note => format!("{}, {note}", number(bar.value)),
    };
    let rows: Vec<_> = all.iter().map(|bar| (&bar.row, said(bar))).collect();
    let axis = linear(all.iter().map(|bar| bar.value.max(bar.whisker.1)));
    let axis = Axis {
        range: axis,
        label: unit,
        format: &|value| number(*value),
    };
    document(rows_size(&rows), |area| {
        draw_rows(area, (heading, &[]), &rows, axis, |chart, at, y| {
            let (bar, colour) = (&all[at], colour(rows[at].0.colour));
            let corners = [(0.0, y - 0.34), (bar.value, y + 0.34)];
            chart.draw_series([Rectangle::new(corners, colour.filled())])?;
            let (min, max) = bar.whisker;
            if max > min {
                let grey = RGBColor(0x77, 0x77, 0x77);
                let ends = [min, max].map(|x| vec![(x, y - 0.17), (x, y + 0.17)]);
                let paths = ends.into_iter().chain([vec![(min, y), (max, y)]]);
                chart.draw_series(paths.map(|path| PathElement::new(path, grey)))?;
            }
            Ok(max.max(bar.value))
        })
    })
}

/// Times on a logarithmic axis: a dot for each, and a line between. `names` are those of the dots
/// in every row, from the first to the last; later ones are smaller.
#[must_use]
pub fn ranges(heading: &str, names: &[&str], all: &[Times]) -> String {
    let said = |times: &Times| match (times.micros.first(), times.micros.last()) {
        (Some(first), Some(last)) => format!("{} … {}", time(*first), time(*last)),
        _ => "no turn succeeded".to_owned(),
    };
    let size = |at: usize| 6 - pixels(at).min(4);
    let legend: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (*name, Swatch::Dot(size(at))))
        .collect();
    let rows: Vec<_> = all.iter().map(|times| (&times.row, said(times))).collect();
    let range = logarithmic(all.iter().flat_map(|times| times.micros.iter().copied()));
    let start = range.start;
    let axis = Axis {
        range: range.log_scale(),
        label: "",
        format: &|micros| time(*micros),
    };
    document(rows_size(&rows), |area| {
        draw_rows(area, (heading, &legend), &rows, axis, |chart, at, y| {
            let (micros, colour) = (&all[at].micros, colour(rows[at].0.colour));
            let shown = micros.iter().map(|x| (x.max(start), y));
            chart.draw_series(LineSeries::new(shown.clone(), colour.stroke_width(2)))?;
            for (at, point) in shown.enumerate() {
                chart.draw_series([
                    Circle::new(point, size(at) + 1, WHITE.filled()),
                    Circle::new(point, size(at), colour.filled()),
                ])?;
            }
            Ok(micros.last().map_or(start, |last| last.max(start)))
        })
    })
}

struct Axis<'a, X> {
    range: X,
    label: &'a str,
    format: &'a dyn Fn(&f64) -> String,
}

fn rows_size(rows: &[(&Row, String)]) -> (u32, u32) {
    let count = rows.len() + groups(rows);
    (ROWS_WIDTH, pixels(count) * ROW + ABOVE + BELOW)
}

fn groups(rows: &[(&Row, String)]) -> usize {
    rows.chunk_by(|a, b| a.0.group == b.0.group).count()
}

/// Draws rows below each other. `draw` draws one at a height, and returns its end.
fn draw_rows<'b, X>(
    area: &Area<'b>,
    (heading, legend): (&str, &[(&str, Swatch)]),
    rows: &[(&Row, String)],
    axis: Axis<'_, X>,
    draw: impl Fn(
        &mut Chart<'_, 'b, X::CoordDescType, RangedCoordf64>,
        usize,
        f64,
    ) -> Result<f64, DrawingAreaErrorKind<io::Error>>,
) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let widest = |texts: &mut dyn Iterator<Item = &str>| texts.map(width_of).max().unwrap_or(0);
    let left = 24 + widest(&mut rows.iter().map(|(row, _)| row.name.as_str()));
    let right = 24 + widest(&mut rows.iter().map(|(_, said)| said.as_str()));
    head(area, left, heading, legend)?;
    let count = pixels(rows.len() + groups(rows));
    let mut chart = ChartBuilder::on(area)
        .margin_top(ABOVE)
        .margin_right(right.min(ROWS_WIDTH / 2))
        .x_label_area_size(BELOW)
        .y_label_area_size(left)
        .build_cartesian_2d(axis.range, f64::from(count)..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .y_labels(0)
        .x_labels(8)
        .x_desc(printable(axis.label))
        .x_label_formatter(axis.format)
        .bold_line_style(PALE)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(font(TEXT, FontStyle::Normal).color(&INK))
        .draw()?;
    let mut y = -0.5;
    for (at, (row, said)) in rows.iter().enumerate() {
        y += 1.0;
        if at == 0 || rows[at - 1].0.group != row.group {
            let (_, pixel) = chart.backend_coord(&(chart.x_range().start, y));
            let left = text(HPos::Left);
            area.draw(&Text::new(printable(&row.group), (12, pixel), left))?;
            y += 1.0;
        }
        let (_, pixel) = chart.backend_coord(&(chart.x_range().start, y));
        let beside = text(HPos::Right);
        let name = printable(&row.name);
        area.draw(&Text::new(name, (signed(left) - 8, pixel), beside))?;
        let end = draw(&mut chart, at, y)?;
        let behind = text(HPos::Left);
        let said = EmptyElement::at((end, y)) + Text::new(printable(said), (10, 0), behind);
        chart.plotting_area().draw(&said)?;
    }
    Ok(())
}
