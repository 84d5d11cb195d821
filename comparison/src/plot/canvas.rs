//! The parts that all plots share: the drawing, its colours and text, its axes, the heading and the
//! legend.

use std::io;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

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
pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(super) const PALE: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
pub(super) const LIMIT: RGBColor = RGBColor(0xb0, 0x00, 0x00);

const FONTS: &str = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";

/// Pixels: the height of text, and of a heading.
pub(super) const TEXT: f64 = 12.0;
const HEADING: f64 = 14.0;

/// Pixels for the heading and the legend above a plot, and for the labels below it.
pub(super) const ABOVE: u32 = 56;
pub(super) const BELOW: u32 = 44;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;
pub(super) type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// The sign before a name in a legend.
#[derive(Clone, Copy)]
pub(super) enum Swatch {
    /// A grey dot with its radius.
    Dot(u32),
    Line(RGBColor),
}

/// The heading, and below it the legend in one line.
pub(super) fn head(area: &Area<'_>, left: u32, heading: &str, legend: &[(&str, Swatch)]) -> Drawn {
    let bold = font(HEADING, FontStyle::Bold).color(&INK);
    area.draw(&Text::new(printable(heading), (12, 10), bold))?;
    let (mut x, y) = (signed(left), 40);
    let centred = text(HPos::Left);
    for (name, swatch) in legend.iter().filter(|_| legend.len() > 1) {
        match swatch {
            Swatch::Dot(radius) => {
                let grey = RGBColor(0x66, 0x66, 0x66).filled();
                area.draw(&Circle::new((x + 9, y), *radius, grey))?;
            }
            Swatch::Line(of) => {
                let stroke = of.stroke_width(3);
                area.draw(&PathElement::new(vec![(x, y), (x + 18, y)], stroke))?;
            }
        }
        let name = printable(name);
        area.draw(&Text::new(name.clone(), (x + 23, y), centred.clone()))?;
        x += 23 + signed(width_of(&name)) + 16;
    }
    Ok(())
}

/// An SVG element. The browser lays out its text, so widths of text here are estimates.
pub(super) fn document(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = area.fill(&WHITE).and_then(|()| draw(&area));
    drop(area);
    drawn.expect("drawing into a string cannot fail");
    svg
}

pub(super) fn linear(values: impl Iterator<Item = f64>) -> Range<f64> {
    let highest = values.filter(|v| v.is_finite()).fold(0.0, f64::max);
    0.0..if highest > 0.0 { highest * 1.05 } else { 1.0 }
}

/// From a power of ten to another one, and a little more, because otherwise rounding could drop the
/// first or the last one from the axis.
pub(super) fn logarithmic(values: impl Iterator<Item = f64>) -> Range<f64> {
    let usable = values.filter(|v| v.is_finite() && *v > 0.0);
    let powers = usable.map(f64::log10);
    let (low, high) = powers.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v.floor()), high.max(v.ceil()))
    });
    let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
    10_f64.powf(low) * 0.999..10_f64.powf(high.max(low + 1.0)) * 1.001
}

pub(super) fn colour(of: usize) -> RGBColor {
    COLOURS[of % COLOURS.len()]
}

pub(super) fn text(h: HPos) -> TextStyle<'static> {
    let ink = font(TEXT, FontStyle::Normal).color(&INK);
    ink.pos(Pos::new(h, VPos::Center))
}

/// `plotters` divides sizes by 1.24, for the height of a line instead of that of a letter.
pub(super) fn font(pixels: f64, style: FontStyle) -> FontDesc<'static> {
    FontDesc::new(FontFamily::Name(FONTS), pixels * 1.24, style)
}

/// About how many pixels a text is wide.
pub(super) fn width_of(text: &str) -> u32 {
    pixels(text.chars().count()) * 7
}

/// Text that XML can hold: U+FFFD stands for control characters and noncharacters.
pub(crate) fn printable(text: &str) -> String {
    let bad = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.replace(bad, "\u{fffd}")
}

/// Counts and sizes here are small; a larger one would only make a drawing too large to look at.
pub(super) fn pixels(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn signed(pixels: u32) -> i32 {
    i32::try_from(pixels).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::logarithmic;

    #[test]
    fn a_logarithmic_axis_goes_from_a_power_of_ten_to_another() {
        let axis = logarithmic([0.0, 20.0, 3000.0].into_iter());
        assert!(axis.start < 10.0 && axis.start > 9.0);
        assert!(axis.end > 10_000.0 && axis.end < 11_000.0);
        let one = logarithmic([10.0].into_iter());
        assert!(one.end / one.start > 9.0);
    }
}
