//! Text of a guest, or of a file that anybody may have written, on a terminal.

use std::fmt::Write as _;

/// Characters that change how the text around them is shown: marks and overrides of direction,
/// separators of lines and paragraphs, the byte order mark.
fn is_deceptive(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The text without control characters and the like: they are written as `\u001b`, which means the
/// same in a JSON string. Line feeds stay.
pub(crate) fn lines(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if (char.is_control() && char != '\n') || is_deceptive(char) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(char));
        } else {
            escaped.push(char);
        }
    }
    escaped
}

/// The same in one line.
pub(crate) fn line(text: &str) -> String {
    lines(text).replace('\n', "\\u000a")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_as_a_command() {
        let hostile = "a\u{1b}[2J\u{9b}31m\u{7f}\r\u{202e}b\n";
        let escaped = "a\\u001b[2J\\u009b31m\\u007f\\u000d\\u202eb";
        assert_eq!(lines(hostile), format!("{escaped}\n"));
        assert_eq!(line(hostile), format!("{escaped}\\u000a"));
        assert_eq!(line("tëxt ✓"), "tëxt ✓");
    }
}
