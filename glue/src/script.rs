//! A file of glue as the body of one function.
//!
//! Imports and exports of JavaScript modules say nothing about the ABI, and the parser does not
//! know all their forms. They are blanked, byte by byte, so that every position stays what it was.
//! What is left becomes the body of an async function, where `await` may stand at the top.

/// What comes before the body.
pub(crate) const HEAD: &str = "(async function(){";

/// The body's end.
const TAIL: &str = "\n})";

/// The text to parse. A position in it is that in the file and the length of [`HEAD`].
pub(crate) fn wrapped(source: &str) -> String {
    let mut text = String::with_capacity(HEAD.len() + source.len() + TAIL.len());
    text.push_str(HEAD);
    // A statement for a module begins a line. What looks like one inside a comment or a text is
    // blanked too, and nothing is read from there.
    let mut rest = source;
    while !rest.is_empty() {
        let line_len = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let blanked = module_syntax(rest);
        blank(&rest[..blanked], &mut text);
        let taken = line_len.max(blanked);
        text.push_str(&rest[blanked..taken]);
        rest = &rest[taken..];
    }
    text.push_str(TAIL);
    text
}

/// How many bytes from the start of a line are module syntax.
fn module_syntax(line: &str) -> usize {
    let begins = line.trim_start_matches([' ', '\t', '\u{feff}']);
    let indent = line.len() - begins.len();
    if let Some(after) = word(begins, "import") {
        // `import("x")` and `import.meta` are expressions, and a method may be named so.
        let is_statement = after.trim_start().starts_with(|c: char| {
            matches!(c, '{' | '*' | '"' | '\'' | '_' | '$') || c.is_alphabetic()
        });
        return if is_statement {
            indent + statement_len(begins)
        } else {
            0
        };
    }
    let Some(after) = word(begins, "export") else {
        return 0;
    };
    let what = after.trim_start();
    if what.starts_with(['{', '*']) {
        return indent + statement_len(begins);
    }
    // A class, a function or a variable stays, and an expression as a statement.
    if let Some(rest) = word(what, "default") {
        return indent + begins.len() - rest.len();
    }
    let declares = ["class", "const", "let", "var", "function", "async"];
    if declares.iter().any(|keyword| word(what, keyword).is_some()) {
        return indent + begins.len() - after.len();
    }
    0
}

/// The text after a word, if the text begins with it and it ends there.
fn word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(word)?;
    let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$'));
    ends.then_some(rest)
}

/// The length of an import or of a list of exports: to its semicolon, or to the end of the line on
/// which its braces are closed.
fn statement_len(text: &str) -> usize {
    let mut open = 0_usize;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '{') => open += 1,
            (None, '}') => open = open.saturating_sub(1),
            (None, ';') => return at + 1,
            (None, '\n') if open == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// Spaces in the place of a text, byte for byte, with its line breaks.
fn blank(text: &str, into: &mut String) {
    into.extend(
        text.bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(source: &str) -> String {
        let text = wrapped(source);
        let body = text.strip_prefix(HEAD).unwrap().strip_suffix(TAIL).unwrap();
        assert_eq!(body.len(), source.len(), "positions stay");
        body.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn imports_and_lists_of_exports_are_left_out() {
        assert_eq!(
            body("import * as wasm from './a_bg.wasm';\nlet a;"),
            "let a;"
        );
        assert_eq!(
            body("import {\n  a,\n  b,\n} from \"./x;y.js\"\nlet c;"),
            "let c;"
        );
        assert_eq!(
            body("export { initSync, __wbg_init as default };\nf();"),
            "f();"
        );
        assert_eq!(body("export * from './a_bg.js';"), "");
        assert_eq!(body("import x"), "");
    }

    #[test]
    fn what_is_exported_stays() {
        assert_eq!(body("export class A {}"), "class A {}");
        assert_eq!(
            body("  export async function f() {}"),
            "async function f() {}"
        );
        assert_eq!(body("export default function f() {}"), "function f() {}");
        assert_eq!(body("export default init;"), "init;");
        assert_eq!(body("exports.a = 1;"), "exports.a = 1;");
        let methods = "class A { import(a) {} export(b) {} }".replace("{ ", "{\n ");
        assert_eq!(body(&methods), "class A { import(a) {} export(b) {} }");
        assert_eq!(
            body("import('x');\nimport.meta.url;"),
            "import('x'); import.meta.url;"
        );
    }
}
