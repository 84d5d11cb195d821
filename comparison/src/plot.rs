//! Plots as SVG: [`bars`], [`ranges`], and [`panels`] of lines. `plotters` draws them without its
//! font features, because the reader's browser chooses the font of an SVG anyway.
//!
//! The same numbers give the same bytes, so a changed plot in the repository is a changed figure.
//! Names are hostile input: `plotters` escapes text, and [`printable`] replaces what XML cannot hold.

use std::io;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::quantity::{number, time};

/// Colours that people with every kind of colour vision tell apart (Okabe and Ito), on white.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
];
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const PALE: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
const LIMIT: RGBColor = RGBColor(0xb0, 0x00, 0x00);

const FONTS: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";

/// Pixels: the height of text, of a heading, and of a row; the width of a plot of rows.
const TEXT: f64 = 12.0;
const HEADING: f64 = 14.0;
const ROW: u32 = 24;
const ROWS_WIDTH: u32 = 860;

/// Pixels for the heading and the legend above a plot, and for the labels below it.
const ABOVE: u32 = 56;
const BELOW: u32 = 44;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// What one row of a plot of rows is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What stands to the left.
    pub name: String,
    /// Rows of one group stand together, below its name.
    pub group: String,
    /// Which of the seven colours.
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
    /// What stands behind the number.
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
    /// Its name in the legend; empty if another line of its colour is there already.
    pub name: String,
    /// Its points, in order.
    pub points: Vec<(f64, f64)>,
    /// Which of the seven colours.
    pub colour: usize,
    /// Whether each point has a dot.
    pub dots: bool,
}

/// A plot of lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// What stands above.
    pub heading: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis counts.
    pub y_label: String,
    /// Both axes.
    pub scale: Scale,
    /// A number that the vertical axis reaches, for plots that stand side by side.
    pub y_max: Option<f64>,
    /// The lines.
    pub lines: Vec<Line>,
    /// Moments, drawn as thin vertical lines, each with its colour.
    pub marks: Vec<(f64, usize)>,
    /// A level, drawn as a horizontal line, with its name.
    pub level: Option<(f64, String)>,
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

/// Times on a logarithmic axis: a dot for each, and a line between. `names` says what the dots of
/// every row are, from the first to the last; later ones are smaller.
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

struct Axis<'a, X> {
    range: X,
    label: &'a str,
    format: &'a dyn Fn(&f64) -> String,
}

/// What stands before a name in a legend.
#[derive(Clone, Copy)]
enum Swatch {
    /// A grey dot with its radius.
    Dot(u32),
    /// A line of one of the colours.
    Line(usize),
}

fn rows_size(rows: &[(&Row, String)]) -> (u32, u32) {
    let count = rows.len() + groups(rows);
    (ROWS_WIDTH, pixels(count) * ROW + ABOVE + BELOW)
}

fn groups(rows: &[(&Row, String)]) -> usize {
    rows.chunk_by(|a, b| a.0.group == b.0.group).count()
}

/// Draws rows below each other. `draw` draws one at a height, and says where it ends.
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
        .x_desc(axis.label)
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
            let left = text(INK, HPos::Left, VPos::Center);
            area.draw(&Text::new(printable(&row.group), (12, pixel), left))?;
            y += 1.0;
        }
        let (_, pixel) = chart.backend_coord(&(chart.x_range().start, y));
        let beside = text(INK, HPos::Right, VPos::Center);
        let name = printable(&row.name);
        area.draw(&Text::new(name, (signed(left) - 8, pixel), beside))?;
        let end = draw(&mut chart, at, y)?;
        let behind = text(INK, HPos::Left, VPos::Center);
        let said = EmptyElement::at((end, y)) + Text::new(printable(said), (10, 0), behind);
        chart.plotting_area().draw(&said)?;
    }
    Ok(())
}

fn draw_lines(area: &Area<'_>, plot: &Lines) -> Drawn {
    let names = plot.lines.iter().filter(|line| !line.name.is_empty());
    let legend: Vec<_> = names
        .map(|line| (line.name.as_str(), Swatch::Line(line.colour)))
        .collect();
    head(area, 66, &plot.heading, &legend)?;
    let points = || plot.lines.iter().flat_map(|line| line.points.iter());
    let level = plot.level.iter().map(|(level, _)| *level);
    let (x, y) = (
        points().map(|point| point.0),
        points().map(|point| point.1).chain(plot.y_max).chain(level),
    );
    let mut builder = ChartBuilder::on(area);
    builder
        .margin_top(ABOVE)
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
        .x_desc(&plot.x_label)
        .y_desc(&plot.y_label)
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
    if let Some((level, name)) = &plot.level {
        let path = vec![(x.start, *level), (x.end, *level)];
        chart.draw_series([PathElement::new(path, LIMIT)])?;
        let above = text(LIMIT, HPos::Left, VPos::Bottom);
        let name = Text::new(printable(name), (6, -2), above);
        chart
            .plotting_area()
            .draw(&(EmptyElement::at((x.start, *level)) + name))?;
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

/// The heading, and below it the legend in one line.
fn head(area: &Area<'_>, left: u32, heading: &str, legend: &[(&str, Swatch)]) -> Drawn {
    let bold = font(HEADING, FontStyle::Bold).color(&INK);
    area.draw(&Text::new(printable(heading), (12, 10), bold))?;
    let (mut x, y) = (signed(left), 40);
    let centred = text(INK, HPos::Left, VPos::Center);
    for (name, swatch) in legend.iter().filter(|_| legend.len() > 1) {
        match swatch {
            Swatch::Dot(radius) => {
                let grey = RGBColor(0x66, 0x66, 0x66).filled();
                area.draw(&Circle::new((x + 9, y), *radius, grey))?;
            }
            Swatch::Line(of) => {
                let stroke = colour(*of).stroke_width(3);
                area.draw(&PathElement::new(vec![(x, y), (x + 18, y)], stroke))?;
            }
        }
        let name = printable(name);
        area.draw(&Text::new(name.clone(), (x + 23, y), centred.clone()))?;
        x += 23 + signed(width_of(&name)) + 16;
    }
    Ok(())
}

/// An SVG element. Its text is laid out by whoever shows it, so widths here are estimates.
fn document(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = area.fill(&WHITE).and_then(|()| draw(&area));
    drop(area);
    drawn.expect("drawing into a string cannot fail");
    svg
}

fn linear(values: impl Iterator<Item = f64>) -> Range<f64> {
    let highest = values.filter(|v| v.is_finite()).fold(0.0, f64::max);
    0.0..if highest > 0.0 { highest * 1.05 } else { 1.0 }
}

/// From a power of ten to another one, and a little more, because otherwise rounding could take the
/// first or the last from the axis.
fn logarithmic(values: impl Iterator<Item = f64>) -> Range<f64> {
    let usable = values.filter(|v| v.is_finite() && *v > 0.0);
    let powers = usable.map(f64::log10);
    let (low, high) = powers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v.floor()), high.max(v.ceil()))
    });
    let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
    10_f64.powf(low) * 0.999..10_f64.powf(high.max(low + 1.0)) * 1.001
}

fn colour(of: usize) -> RGBColor {
    COLOURS[of % COLOURS.len()]
}

fn text(colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    font(TEXT, FontStyle::Normal).color(&colour).pos(Pos::new(h, v))
}

/// `plotters` divides sizes by 1.24, for the height of a line instead of that of a letter.
fn font(pixels: f64, style: FontStyle) -> FontDesc<'static> {
    FontDesc::new(FontFamily::Name(FONTS), pixels * 1.24, style)
}

/// About how many pixels a text is wide.
fn width_of(text: &str) -> u32 {
    pixels(text.chars().count()) * 13 / 2
}

/// Text that XML can hold: control characters and what is no character become U+FFFD.
pub(crate) fn printable(text: &str) -> String {
    let bad = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.replace(bad, "\u{fffd}")
}

/// A count as pixels, of which nothing that can be looked at has more than four thousand millions.
fn pixels(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn signed(pixels: u32) -> i32 {
    i32::try_from(pixels).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</text><script>alert('x')</script>&\"\u{0}";

    fn row() -> Row {
        Row {
            name: HOSTILE.to_owned(),
            group: HOSTILE.to_owned(),
            colour: 9,
        }
    }

    fn lines(scale: Scale, points: &[(f64, f64)]) -> Lines {
        Lines {
            heading: HOSTILE.to_owned(),
            x_label: HOSTILE.to_owned(),
            y_label: HOSTILE.to_owned(),
            scale,
            y_max: None,
            lines: ["", HOSTILE, "other"]
                .map(|name| Line {
                    name: name.to_owned(),
                    points: points.to_vec(),
                    colour: 0,
                    dots: true,
                })
                .to_vec(),
            marks: vec![(1.0, 3)],
            level: Some((2.0, HOSTILE.to_owned())),
        }
    }

    #[test]
    fn hostile_text_stays_text() {
        let bar = Bar {
            row: row(),
            value: 1.0,
            whisker: (0.5, 2.0),
            note: HOSTILE.to_owned(),
        };
        let times = Times {
            row: row(),
            micros: vec![1.0, 20.0],
        };
        let names = [HOSTILE, HOSTILE];
        for svg in [
            bars(HOSTILE, HOSTILE, &[bar]),
            ranges(HOSTILE, &names, &[times]),
            panels(&[lines(Scale::Linear, &[(1.0, 2.0)])], 1, (430, 250)),
        ] {
            assert!(svg.contains("&lt;script&gt;"), "{svg}");
            assert!(!svg.contains("<script") && !svg.contains('\u{0}'), "{svg}");
        }
    }

    #[test]
    fn what_no_axis_can_show_is_left_out() {
        let points = [(0.0, -1.0), (f64::NAN, 1.0), (10.0, f64::INFINITY)];
        for scale in [Scale::Linear, Scale::Log] {
            for points in [&points[..], &[]] {
                let svg = panels(&[lines(scale, points)], 2, (430, 250));
                assert!(svg.ends_with("</svg>\n"), "{svg}");
            }
        }
        let times = Times {
            row: row(),
            micros: Vec::new(),
        };
        assert!(ranges("", &[], &[times]).contains("no turn succeeded"));
        assert!(bars("", "", &[]).ends_with("</svg>\n"));
    }

    #[test]
    fn a_logarithmic_axis_goes_from_a_power_of_ten_to_another() {
        let axis = logarithmic([0.0, 20.0, 3000.0].into_iter());
        assert!(axis.start < 10.0 && axis.start > 9.0);
        assert!(axis.end > 10_000.0 && axis.end < 11_000.0);
        let one = logarithmic([10.0].into_iter());
        assert!(one.end / one.start > 9.0);
    }
}
