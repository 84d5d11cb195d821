//! Text of guests, for logs and terminals.

use std::fmt::{self, Write};

/// Text that a guest or a file chose, shown in one line: its control characters are escaped, which
/// could move a terminal's cursor or begin a line of a log, and those that reorder or hide text.
///
/// Errors name exports and imports as the module does. Where their messages go to a terminal or a
/// log, show them through this.
///
/// ```
/// use engine_api::Printable;
///
/// let name = "\u{1b}[2J\nerror: none";
/// assert_eq!(Printable(name).to_string(), r"\u{1b}[2J\nerror: none");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl Printable<'_> {
    /// Whether a character is shown as it is.
    #[must_use]
    pub fn is_plain(c: char) -> bool {
        let separates = matches!(c, '\u{2028}' | '\u{2029}');
        let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let hides = matches!(c, '\u{200b}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        !(c.is_control() || separates || reorders || hides)
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if Self::is_plain(c) {
                f.write_char(c)?;
            } else {
                write!(f, "{}", c.escape_default())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_all_scripts_stays_and_what_moves_it_is_escaped() {
        let plain = "Größe 日本 `x` <b> \"q\" \\ 🦀";
        assert_eq!(Printable(plain).to_string(), plain);
        let moved = "a\r\u{9b}2J\u{7f}\u{202e}b\u{2028}c\u{0}";
        assert_eq!(
            Printable(moved).to_string(),
            r"a\r\u{9b}2J\u{7f}\u{202e}b\u{2028}c\u{0}"
        );
    }
}
