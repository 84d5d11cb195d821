//! The elements that plots are made of.

use std::fmt::Write;

/// The size of small text in pixels, and about how wide a character of it is.
pub(super) const TEXT: f64 = 12.0;
const CHARACTER: f64 = 6.6;

/// About how wide a text is.
pub(super) fn width_of(text: &str) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "texts are short")]
    let characters = text.chars().count() as f64;
    characters * CHARACTER
}

/// Where a text has the given position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Text that cannot end an element or an attribute. Control characters, which XML cannot hold at all, are shown as
/// such.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn document(width: f64, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif\" \
         font-size=\"{TEXT}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

pub(super) fn moved(out: &mut String, x: f64, y: f64, body: &str) {
    let _ = write!(
        out,
        "<g transform=\"translate({x:.0} {y:.0})\">\n{body}</g>\n"
    );
}

pub(super) fn rect(out: &mut String, (x, y): (f64, f64), (w, h): (f64, f64), fill: &str) {
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\"/>",
        w.max(0.0),
        h.max(0.0)
    );
}

pub(super) fn line(
    out: &mut String,
    (x1, y1): (f64, f64),
    (x2, y2): (f64, f64),
    stroke: &str,
    width: f64,
) {
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\" \
         stroke-width=\"{width}\"/>"
    );
}

pub(super) fn polyline(out: &mut String, points: &[(f64, f64)], stroke: &str, width: f64) {
    let _ = write!(
        out,
        "<polyline fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\" points=\""
    );
    for (x, y) in points {
        let _ = write!(out, "{x:.1},{y:.1} ");
    }
    let _ = writeln!(out, "\"/>");
}

pub(super) fn circle(out: &mut String, (x, y): (f64, f64), radius: f64, fill: &str, stroke: &str) {
    let _ = writeln!(
        out,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" stroke=\"{stroke}\"/>"
    );
}

pub(super) fn text(out: &mut String, (x, y): (f64, f64), anchor: Anchor, fill: &str, text: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{}\" fill=\"{fill}\">{}</text>",
        anchor.name(),
        escape(text)
    );
}

pub(super) fn title(out: &mut String, x: f64, y: f64, text: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"14\" font-weight=\"bold\" fill=\"#222222\">{}</text>",
        escape(text)
    );
}

/// Text along a vertical axis, upwards.
pub(super) fn upwards(out: &mut String, (x, y): (f64, f64), text: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" fill=\"#444444\" \
         transform=\"rotate(-90 {x:.1} {y:.1})\">{}</text>",
        escape(text)
    );
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(
            escape("<script>alert('x')</script>&\"\u{0}\n"),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;\u{fffd}\u{fffd}"
        );
    }
}
