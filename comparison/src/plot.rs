//! Plots as SVG: [`bars`], [`lines`] and [`ranges`], and several of them [side by side](panels).
//!
//! Written here, and not by a plot library: what is needed of one is axes, rectangles and text, and `plotters` without
//! its font features guesses the width of text just as this does, while it brings its own numbers of digits and colours
//! that some people cannot tell apart. What is written here is the same for the same numbers, byte by byte, so that a
//! changed plot in the repository is a changed figure.
//!
//! Every text is escaped: names are hostile input.

mod axis;
mod bars;
mod lines;
mod ranges;
mod svg;

pub use axis::Scale;
pub(crate) use axis::{number, time};
pub use bars::{Bar, bars};
pub use lines::{Line, Lines, lines};
pub use ranges::{Range, ranges};
pub(crate) use svg::escape;

/// Colours that people with every kind of colour vision tell apart (Okabe and Ito), on white.
pub const COLOURS: [&str; 7] = [
    "#000000", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00",
];

/// A drawing: an SVG element with a size.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Its width in pixels.
    pub width: f64,
    /// Its height in pixels.
    pub height: f64,
    body: String,
}

impl Drawing {
    /// The drawing as an `svg` element, for a page or, as it is, for a file.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::document(self.width, self.height, &self.body)
    }
}

/// Several drawings in rows of `columns` each.
#[must_use]
pub fn panels(drawings: &[Drawing], columns: usize) -> Drawing {
    let columns = columns.max(1);
    let mut body = String::new();
    let (mut width, mut y) = (0.0_f64, 0.0);
    for row in drawings.chunks(columns) {
        let mut x = 0.0;
        for drawing in row {
            svg::moved(&mut body, x, y, &drawing.body);
            x += drawing.width;
        }
        width = width.max(x);
        y += row.iter().map(|d| d.height).fold(0.0, f64::max);
    }
    Drawing {
        width,
        height: y,
        body,
    }
}
