//! Lines over a horizontal axis, with marks at moments.

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::canvas::{
    ABOVE, Area, BELOW, Chart, Drawn, INK, LIMIT, PALE, Swatch, TEXT, colour, document, font, head,
    linear, logarithmic, pixels, printable,
};
use crate::quantity::number;

/// How numbers are laid out along both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0, equal steps for equal differences.
    Linear,
    /// Equal steps for equal ratios; numbers that are not above 0 are left out.
    Log,
}

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name in the legend; empty if the legend has a line of this colour already.
    pub name: String,
    /// Its points as pairs of x and y, in order.
    pub points: Vec<(f64, f64)>,
    /// Its colour, one of seven.
    pub colour: usize,
    /// Whether each point has a dot.
    pub dots: bool,
}

/// A plot of lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// The text above the plot.
    pub heading: String,
    /// The unit of the horizontal axis.
    pub x_label: String,
    /// The unit of the vertical axis.
    pub y_label: String,
    /// The scale of both axes.
    pub scale: Scale,
    /// A number that the vertical axis reaches, for plots that stand side by side.
    pub y_max: Option<f64>,
    /// The lines, in the order of the legend.
    pub lines: Vec<Line>,
    /// Moments, drawn as thin vertical lines, each with its colour.
    pub marks: Vec<(f64, usize)>,
    /// A level, drawn as a horizontal line, with its name in the legend.
    pub level: Option<(f64, String)>,
}

/// Plots of lines in rows of `columns`, each of `size` pixels.
#[must_use]
pub fn panels(all: &[Lines], columns: usize, size: (u32, u32)) -> String {
    let lines = all.len().div_ceil(columns);
    let whole = (size.0 * pixels(columns), size.1 * pixels(lines));
    document(whole, |area| {
        let parts = area.split_evenly((lines, columns));
        for (plot, part) in all.iter().zip(&parts) {
            draw_lines(part, plot)?;
        }
        Ok(())
    })
}

fn draw_lines(area: &Area<'_>, plot: &Lines) -> Drawn {
    let names = plot.lines.iter().filter(|line| !line.name.is_empty());
    let level = plot.level.iter();
    let legend: Vec<_> = names
        .map(|line| (line.name.as_str(), Swatch::Line(colour(line.colour))))
        .chain(level.map(|(_, name)| (name.as_str(), Swatch::Line(LIMIT))))
        .collect();
    head(area, 78, &plot.heading, &legend)?;
    let points = || plot.lines.iter().flat_map(|line| line.points.iter());
    let level = plot.level.iter().map(|(level, _)| *level);
    let (x, y) = (
        points().map(|point| point.0),
        points().map(|point| point.1).chain(plot.y_max).chain(level),
    );
    let mut builder = ChartBuilder::on(area);
    builder
        .margin_top(ABOVE)
        .margin_left(12)
        .margin_right(30)
        .x_label_area_size(BELOW)
        .y_label_area_size(66);
    match plot.scale {
        Scale::Linear => fill(builder.build_cartesian_2d(linear(x), linear(y))?, plot),
        Scale::Log => {
            let (x, y) = (logarithmic(x).log_scale(), logarithmic(y).log_scale());
            fill(builder.build_cartesian_2d(x, y)?, plot)
        }
    }
}

fn fill<X, Y>(mut chart: Chart<'_, '_, X, Y>, plot: &Lines) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(8)
        .y_labels(8)
        .x_desc(printable(&plot.x_label))
        .y_desc(printable(&plot.y_label))
        .x_label_formatter(&|value| number(*value))
        .y_label_formatter(&|value| number(*value))
        .bold_line_style(PALE)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(font(TEXT, FontStyle::Normal).color(&INK))
        .draw()?;
    let (x, y) = (chart.x_range(), chart.y_range());
    let marks = plot.marks.iter().map(|(at, of)| {
        let path = vec![(*at, y.start), (*at, y.end)];
        PathElement::new(path, colour(*of))
    });
    chart.draw_series(marks)?;
    if let Some((level, _)) = &plot.level {
        let path = vec![(x.start, *level), (x.end, *level)];
        chart.draw_series([PathElement::new(path, LIMIT)])?;
    }
    for line in &plot.lines {
        let colour = colour(line.colour);
        let shown = line.points.iter().copied().filter(|(x, y)| {
            let usable = |v: &f64| v.is_finite() && (plot.scale == Scale::Linear || *v > 0.0);
            usable(x) && usable(y)
        });
        chart.draw_series(LineSeries::new(shown.clone(), colour.stroke_width(2)))?;
        if line.dots {
            chart.draw_series(shown.map(|point| Circle::new(point, 3, colour.filled())))?;
        }
    }
    Ok(())
}
