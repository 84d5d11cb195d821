//! A draft as a file: one entry per group of exports that share everything, with the reason above
//! it.

use std::fmt::Write;

use proxy_core::Role;

use super::rules::UNKNOWN_NAME;
use super::{Draft, Drafted};

/// How long a line of names may get.
const WIDTH: usize = 96;

/// A name as a pattern that matches it alone. `escape` leaves backslashes as they are, but patterns
/// read them as escapes on some systems and as separators on others. So `?` stands for each.
pub(super) fn pattern_of(name: &str) -> String {
    globset::escape(name).replace('\\', "?")
}

/// Whether a name can stand in a list of names.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$' | '-' | ':'))
}

pub(super) fn to_toml(draft: &Draft, module: &str) -> String {
    let mut text = header(draft, module);
    let listed: Vec<&Drafted> = draft
        .exports
        .iter()
        .filter(|export| export.listed)
        .collect();
    let mut groups: Vec<Vec<&Drafted>> = Vec::new();
    for export in &listed {
        let same = groups
            .iter_mut()
            .find(|group| is_same_entry(group[0], export) && is_plain(&export.name));
        match same {
            Some(group) if is_plain(&group[0].name) => group.push(export),
            _ => groups.push(vec![export]),
        }
    }
    groups.sort_by_key(|group| match (group[0].role, group[0].reason) {
        (Role::Create, _) => 0,
        (Role::Mutate, reason) if reason != UNKNOWN_NAME => 1,
        (Role::Free, _) => 2,
        (Role::Pure, _) => 3,
        (Role::Mutate, _) => 4,
    });
    for group in groups {
        entry(&group, &mut text);
    }
    text
}

fn is_same_entry(a: &Drafted, b: &Drafted) -> bool {
    (a.role, &a.args, &a.results, a.changes_first, a.reason)
        == (b.role, &b.args, &b.results, b.changes_first, b.reason)
}

fn header(draft: &Draft, module: &str) -> String {
    let mut text = format!(
        "# Drafted by `wasm-proxy inspect --emit-policy` from the names and types in\n# {}\n\
         # Names promise nothing: read it through. What matters most:\n\
         #  * `pure` must have no effect that a later call could notice; in doubt, `mutate`;\n\
         #  * arguments and results that are objects must be `handle:TYPE`, buffers `bytes` or\n\
         #    `string` (two parameters each): a draft cannot see most of these;\n\
         #  * `strict = true` refuses exports that are not listed.\n\
         # `docs/policy.md` describes the format.\n\nstrict = false\n",
        module.replace(['\n', '\r'], " ")
    );
    for export in draft.exports.iter().filter(|export| !export.listed) {
        let _ = writeln!(text, "# {}: {}", quoted(&export.name), export.reason);
    }
    let module = &draft.module;
    if module.memory_usage_export.is_some() || module.critical_memory_export.is_some() {
        text.push_str("\n[module]\n");
    }
    for (key, name) in [
        ("memory_usage_export", &module.memory_usage_export),
        ("critical_memory_export", &module.critical_memory_export),
    ] {
        if let Some(name) = name {
            let _ = writeln!(text, "{key} = {}", quoted(name));
        }
    }
    text
}

fn entry(group: &[&Drafted], text: &mut String) {
    let first = group[0];
    let _ = writeln!(text, "\n# {}\n[[export]]", first.reason);
    let _ = writeln!(text, "match = {}", pattern(group));
    let _ = writeln!(text, "role = \"{}\"", first.role);
    if let Some(args) = &first.args {
        let _ = writeln!(text, "args = {}", list(args));
    }
    if let Some(results) = &first.results {
        let _ = writeln!(text, "results = {}", list(results));
    }
    if first.changes_first {
        text.push_str("mutates = [0]\n");
    }
}

fn pattern(group: &[&Drafted]) -> String {
    let names: Vec<&str> = group.iter().map(|export| export.name.as_str()).collect();
    if let [name] = names[..] {
        return quoted(&pattern_of(name));
    }
    let flat = format!("\"{{{}}}\"", names.join(","));
    if flat.len() + "match = ".len() <= WIDTH {
        return flat;
    }
    let mut text = String::from("\"\"\"{\\\n ");
    let mut column = 1;
    for (position, name) in names.iter().enumerate() {
        if column + name.len() > WIDTH && column > 1 {
            text.push_str("\\\n ");
            column = 1;
        }
        text.push_str(name);
        column += name.len() + 1;
        text.push(if position + 1 == names.len() {
            '}'
        } else {
            ','
        });
    }
    text.push_str("\"\"\"");
    text
}

fn list(kinds: &[impl ToString]) -> String {
    let kinds: Vec<String> = kinds.iter().map(|kind| quoted(&kind.to_string())).collect();
    format!("[{}]", kinds.join(", "))
}

/// A TOML basic string. JSON escapes the same, except for DEL.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use proxy_core::Policy;

    use super::*;

    fn draft(exports: &[(&str, &str)]) -> Draft {
        let mut functions = String::new();
        for (name, ty) in exports {
            let name = wat_string(name);
            let _ = write!(functions, "(func (export {name}) {ty} unreachable)");
        }
        let wasm = wat::parse_str(format!("(module {functions})")).unwrap();
        Draft::of(&module_bytes::parse(&wasm).unwrap())
    }

    fn wat_string(name: &str) -> String {
        let mut text = String::from("\"");
        for byte in name.bytes() {
            let _ = write!(text, "\\{byte:02x}");
        }
        text + "\""
    }

    fn read(toml: &str) -> Policy {
        toml.parse()
            .unwrap_or_else(|error| panic!("{error}\n{toml}"))
    }

    #[test]
    fn the_file_says_what_was_drafted() {
        let draft = draft(&[
            ("counter_new", "(result i32)"),
            ("counter_add", "(param i32 i32)"),
            ("counter_set", "(param i32 i32)"),
            ("counter_get", "(param i32) (result i32)"),
            ("__wbg_counter_free", "(param i32 i32)"),
            ("odd \"name\" {*}\\\u{7f}\n,", "(param i64)"),
            ("memory_usage_mb", "(result f64)"),
        ]);
        let toml = draft.to_toml("m.wasm\n");
        let policy = read(&toml);
        assert_eq!(
            policy.module.memory_usage_export.as_deref(),
            Some("memory_usage_mb")
        );
        for export in &draft.exports {
            let entry = policy
                .exports
                .iter()
                .find(|entry| {
                    globset::Glob::new(&entry.pattern)
                        .unwrap()
                        .compile_matcher()
                        .is_match(&export.name)
                })
                .unwrap_or_else(|| panic!("{export:?} in\n{toml}"));
            let wanted = export.entry();
            assert_eq!(
                (entry.role, &entry.args, &entry.results, &entry.mutates),
                (wanted.role, &wanted.args, &wanted.results, &wanted.mutates),
                "{export:?}"
            );
        }
        assert!(toml.contains("handle:counter"), "{toml}");
    }

    #[test]
    fn long_lists_of_names_are_wrapped() {
        let names: Vec<String> = (0..700).map(|n| format!("some_function_{n}")).collect();
        let exports: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        let toml = draft(&exports).to_toml("m.wasm");
        assert!(toml.lines().all(|line| line.len() <= WIDTH + 4));
        assert!(toml.lines().count() < 200);
        assert_eq!(read(&toml).exports.len(), 1);
    }
}
