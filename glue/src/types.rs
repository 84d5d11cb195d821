//! The types that TypeScript declares for glue: `pkg.d.ts`.

use std::collections::HashMap;

use crate::model::{Glue, MemberKind};

/// The declared types of functions, methods and fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// By the class, if it is a class's, and the name.
    declared: HashMap<(Option<String>, String), Signature>,
}

/// The types of one function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Signature {
    params: Vec<(String, String)>,
    returns: Option<String>,
}

impl Types {
    /// Reads the declarations of a file. What is no declaration of a function or a class is left
    /// out.
    #[must_use]
    pub fn read(source: &str) -> Self {
        let text = without_comments(source);
        let mut types = Self::default();
        for item in items(&text) {
            let mut words = item.head.trim();
            for modifier in ["export", "default", "declare", "abstract", "async"] {
                words = words
                    .strip_prefix(modifier)
                    .filter(|rest| rest.starts_with(char::is_whitespace))
                    .map_or(words, str::trim_start);
            }
            if let Some(rest) = words.strip_prefix("class ") {
                let class = identifier(rest.trim_start()).to_owned();
                for member in items(item.body.unwrap_or_default()) {
                    types.member(Some(&class), member.head);
                }
            } else if let Some(rest) = words.strip_prefix("function ") {
                types.member(None, rest);
            }
        }
        types
    }

    fn member(&mut self, class: Option<&str>, declaration: &str) {
        let mut rest = declaration.trim();
        for modifier in ["private", "static", "readonly", "get", "set"] {
            rest = rest
                .strip_prefix(modifier)
                .filter(|rest| rest.starts_with(char::is_whitespace))
                .map_or(rest, str::trim_start);
        }
        let name = identifier(rest);
        if name.is_empty() {
            return;
        }
        let after = rest[name.len()..].trim_start().trim_start_matches('?');
        let signature = if let Some(open) = after.find('(').filter(|_| !after.starts_with(':')) {
            let Some(end) = closing(&after[open..]) else {
                return;
            };
            let params = &after[open + 1..open + end];
            let returns = after[open + end + 1..].trim_start().strip_prefix(':');
            Signature {
                params: split(params, ',').into_iter().filter_map(param).collect(),
                returns: returns.map(plain),
            }
        } else {
            Signature {
                params: Vec::new(),
                returns: after.strip_prefix(':').map(plain),
            }
        };
        let key = (class.map(ToOwned::to_owned), name.to_owned());
        self.declared.entry(key).or_insert(signature);
    }
}

impl Glue {
    /// Takes types from declarations where the glue's own comments have none. Returns how many members
    /// have a declaration there: none, if the declarations are another package's.
    pub fn add_types(&mut self, types: &Types) -> usize {
        let mut declared = 0;
        for member in &mut self.members {
            let key = (member.class.clone(), member.name.clone());
            let Some(signature) = types.declared.get(&key) else {
                continue;
            };
            declared += 1;
            for param in &mut member.params {
                let of = signature
                    .params
                    .iter()
                    .find(|(name, _)| *name == param.name);
                let field = (member.kind == MemberKind::Setter && param.name != "this")
                    .then_some(signature.returns.as_ref())
                    .flatten();
                let declared = of.map(|(_, ty)| ty).or(field);
                param.declared = param.declared.take().or_else(|| declared.cloned());
            }
            let gives = !matches!(
                member.kind,
                MemberKind::Setter | MemberKind::Constructor | MemberKind::Free
            );
            if gives {
                member.returns = member.returns.take().or_else(|| signature.returns.clone());
            }
        }
        declared
    }
}

/// A declaration: what comes before its braces or its semicolon, and what is in its braces.
struct Item<'a> {
    head: &'a str,
    body: Option<&'a str>,
}

/// The declarations one after the other. Braces inside of parentheses or types belong to them.
fn items(text: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            ';' => {
                items.push(Item {
                    head: &text[start..at],
                    body: None,
                });
                start = at + 1;
            }
            // Also the braces of a type: `field: { a: number };` has the text before them as its head.
            '{' | '(' | '[' => {
                let Some(end) = closing(&text[at..]) else {
                    break;
                };
                if c == '{' && !text[start..at].contains(':') {
                    items.push(Item {
                        head: &text[start..at],
                        body: Some(&text[at + 1..at + end]),
                    });
                    start = at + end + 1;
                }
                at += end;
            }
            _ => {}
        }
        at += text[at..].chars().next().map_or(1, char::len_utf8);
    }
    items
}

/// The position of the bracket that closes the one that a text begins with.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => open += 1,
            ')' | ']' | '}' => {
                open = open.checked_sub(1)?;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The parts between separators that are in no brackets.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut open, mut start, mut before) = (0_i32, 0, ' ');
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' | '<' => open += 1,
            ')' | ']' | '}' => open -= 1,
            // The arrow of a function's type is no bracket.
            '>' if before != '=' => open -= 1,
            c if c == separator && open == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    parts.push(&text[start..]);
    parts
}

/// `name?: type`
fn param(text: &str) -> Option<(String, String)> {
    let (name, ty) = text.split_once(':')?;
    let name = name.trim().trim_end_matches('?').trim_start_matches("...");
    Some((name.to_owned(), plain(ty)))
}

/// A type in one line.
fn plain(ty: &str) -> String {
    ty.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn identifier(text: &str) -> &str {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '#');
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    &text[..end]
}

fn without_comments(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('/') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else {
            text.push('/');
            1
        };
        rest = &rest[end..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &str = "
        /* tslint:disable */
        export function hash(data: Uint8Array, how?: (a: number, b: string) => void): string;
        /** A { in a comment. */
        export class Store {
          free(): void;
          constructor(options: { a: number; b: string });
          static load(data: Uint8Array): Promise<Store>;
          query(text: string, options: Map<string, number>): any;
          readonly size: number;
          limit?: { min: number };
        }
        export type Other = { class: number };
        ";

    #[test]
    fn functions_methods_and_fields_are_read() {
        let types = Types::read(DECLARED);
        let of = |class: Option<&str>, name: &str| {
            let key = (class.map(ToOwned::to_owned), name.to_owned());
            types.declared.get(&key).cloned().unwrap_or_default()
        };
        let hash = of(None, "hash");
        assert_eq!(hash.returns.as_deref(), Some("string"));
        assert_eq!(hash.params[1].0, "how");
        assert_eq!(hash.params[1].1, "(a: number, b: string) => void");
        let new = of(Some("Store"), "constructor");
        assert_eq!(new.params[0].1, "{ a: number; b: string }");
        assert_eq!(
            of(Some("Store"), "load").returns.as_deref(),
            Some("Promise<Store>")
        );
        assert_eq!(
            of(Some("Store"), "query").params[1].1,
            "Map<string, number>"
        );
        assert_eq!(of(Some("Store"), "size").returns.as_deref(), Some("number"));
        assert_eq!(
            of(Some("Store"), "limit").returns.as_deref(),
            Some("{ min: number }")
        );
    }

    #[test]
    fn a_file_that_ends_early_is_read_as_far_as_it_goes() {
        for end in 0..DECLARED.len() {
            let _ = Types::read(&DECLARED[..end]);
        }
        assert_eq!(Types::read(")}]"), Types::default());
    }

    #[test]
    fn types_fill_what_comments_leave_out() {
        let source = "class Store { query(text, options) { const ret = wasm.store_query(this.__wbg_ptr, text, options); return ret; }
            set limit(a) { wasm.store_set_limit(this.__wbg_ptr, a); } }";
        let mut glue = Glue::read(source).unwrap();
        glue.add_types(&Types::read(DECLARED));
        let query = &glue.members[0];
        assert_eq!(query.returns.as_deref(), Some("any"));
        assert_eq!(query.params[1].declared.as_deref(), Some("string"));
        assert_eq!(
            glue.members[1].params[1].declared.as_deref(),
            Some("{ min: number }")
        );
    }
}
