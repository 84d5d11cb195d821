//! The types in the comment above a function.

use std::collections::HashMap;

/// What the comment above a function says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Docs {
    params: HashMap<String, String>,
    pub(crate) returns: Option<String>,
}

impl Docs {
    /// Reads the comment that ends right before the line on which something begins.
    pub(crate) fn above(source: &str, at: usize) -> Self {
        let Some(before) = source.get(..at) else {
            return Self::default();
        };
        // `module.exports.f =`, `static` and the like stand between the comment and the function.
        let line = before.rfind('\n').map_or(0, |end| end + 1);
        let above = before[..line].trim_end();
        let Some(comment) = above.strip_suffix("*/") else {
            return Self::default();
        };
        let Some(start) = comment.rfind("/**") else {
            return Self::default();
        };
        Self::read(&comment[start..])
    }

    fn read(comment: &str) -> Self {
        let mut docs = Self::default();
        for line in comment.lines() {
            let line = line.trim_start_matches([' ', '\t', '*', '/']);
            if let Some(rest) = line.strip_prefix("@param") {
                if let Some((ty, rest)) = braced(rest) {
                    let name = rest.trim_start().trim_start_matches('[');
                    let name = name.split([' ', ']', '=', '\t']).next().unwrap_or_default();
                    docs.params.insert(name.to_owned(), ty.to_owned());
                }
            } else if let Some(rest) = line
                .strip_prefix("@returns")
                .or_else(|| line.strip_prefix("@return"))
                && let Some((ty, _)) = braced(rest)
            {
                docs.returns = Some(ty.to_owned());
            }
        }
        docs
    }

    /// The type of a parameter.
    pub(crate) fn param(&self, name: &str) -> Option<String> {
        self.params.get(name).cloned()
    }
}

/// What is in the braces that a text begins with, and the text after them.
fn braced(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start().strip_prefix('{')?;
    let mut open = 1_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((text[..at].trim(), &text[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_from_the_comment_above() {
        let source = "/**\n * Does it.\n * @param {Uint8Array} bytes\n * @param {{ a: number }} [options]\n \
                      * @returns {string | undefined}\n */\nmodule.exports.f = function(bytes, options) {};";
        let docs = Docs::above(source, source.find("function").unwrap());
        assert_eq!(docs.param("bytes").as_deref(), Some("Uint8Array"));
        assert_eq!(docs.param("options").as_deref(), Some("{ a: number }"));
        assert_eq!(docs.returns.as_deref(), Some("string | undefined"));
        assert_eq!(Docs::above("f();\nfunction g() {}", 5), Docs::default());
        assert_eq!(Docs::above("é", 1), Docs::default());
    }
}
