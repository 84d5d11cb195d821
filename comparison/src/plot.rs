//! Plots as SVG: [`bars`], [`ranges`], and [`panels`] of lines. `plotters` draws them without its
//! font features, because the reader's browser chooses the font of an SVG anyway.
//!
//! The same numbers give the same bytes, so a changed plot in the repository is a changed figure.
//! Names are hostile input: `plotters` escapes text, and `printable` replaces characters that XML
//! lacks.

mod canvas;
mod lines;
mod rows;

pub(crate) use canvas::printable;
pub use lines::{Line, Lines, Scale, panels};
pub use rows::{Bar, Row, Times, bars, ranges};

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
}
