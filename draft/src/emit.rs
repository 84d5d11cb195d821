//! A draft as a file: a line per entry, grouped by classes, and above each how sure the draft is.

use std::collections::BTreeMap;
use std::fmt::Write;

use guest_calls::{ClosureArgument, ReturnPlacePolicy, Role};

use super::{Certainty, Draft, Drafted};

/// How long a line of names or of a comment may get.
const WIDTH: usize = 96;

/// How many members one comment shows. Those of a class with many alike are readable by their names.
const SIGNATURES_MAX: usize = 1;

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
    casts(draft, &mut text);
    text.push_str("\nexport = [\n");
    for (class, exports) in by_class(draft) {
        let of = class.map_or("the module", |class| class);
        let _ = writeln!(text, "\n# {of}: {}", counted(exports.len()));
        let services: Vec<String> = exports
            .iter()
            .filter(|export| export.is_service)
            .map(|export| format!("`{}`", shortened(&export.name)))
            .collect();
        if !services.is_empty() {
            let text_of = format!("Only the host and the proxy call {}", services.join(", "));
            comment(&text_of, &mut text);
        }
        let left_out = |export: &&&Drafted| !export.listed && !export.is_service;
        for export in exports.iter().filter(left_out) {
            comment(
                &format!("`{}` is left out. {}", line(&export.name), export.reason),
                &mut text,
            );
        }
        for group in groups(&exports) {
            entry(&group, &mut text);
        }
    }
    text.push_str("]\n");
    module_table(draft, &mut text);
    text
}

fn counted(count: usize) -> String {
    if count == 1 {
        "1 export".to_owned()
    } else {
        format!("{count} exports")
    }
}

/// The exports of no class, then those of each class.
fn by_class(draft: &Draft) -> BTreeMap<Option<&str>, Vec<&Drafted>> {
    let mut classes: BTreeMap<Option<&str>, Vec<&Drafted>> = BTreeMap::new();
    for export in &draft.exports {
        classes
            .entry(export.class.as_deref())
            .or_default()
            .push(export);
    }
    classes
}

/// The exports that share everything but their names, the creating ones first.
fn groups<'a>(exports: &[&'a Drafted]) -> Vec<Vec<&'a Drafted>> {
    let mut groups: Vec<Vec<&Drafted>> = Vec::new();
    for export in exports.iter().filter(|export| export.listed) {
        let same = groups
            .iter_mut()
            .find(|group| is_same_entry(group[0], export) && is_plain(&export.name));
        match same {
            Some(group) if is_plain(&group[0].name) => group.push(export),
            _ => groups.push(vec![export]),
        }
    }
    groups.sort_by_key(|group| match (group[0].role, group[0].certainty) {
        (Role::Create, _) => 0,
        (Role::Mutate, Certainty::Safe) => 4,
        (Role::Mutate, _) => 1,
        (Role::Free, _) => 2,
        (Role::Pure, _) => 3,
    });
    groups
}

fn is_same_entry(a: &Drafted, b: &Drafted) -> bool {
    let of = |export: &Drafted| {
        let effects = (export.mutates.clone(), export.consumes.clone());
        (
            export.role,
            effects,
            export.reason.clone(),
            export.certainty,
        )
    };
    of(a) == of(b) && a.args == b.args && a.results == b.results
}

fn header(draft: &Draft, module: &str) -> String {
    let from = if draft.has_glue {
        "its glue, and the names and types"
    } else {
        "the names and types"
    };
    let mut counts = BTreeMap::new();
    for export in draft.exports.iter().filter(|export| export.listed) {
        *counts.entry(export.certainty).or_insert(0_usize) += 1;
    }
    let count = |certainty| counts.get(&certainty).copied().unwrap_or(0);
    let left_out = |export: &&Drafted| !export.listed && !export.is_service;
    let left_out = draft.exports.iter().filter(left_out).count();
    let own = draft
        .exports
        .iter()
        .filter(|export| !export.is_service)
        .count();
    let mut text = format!(
        "# Drafted by `wasm-proxy inspect --emit-policy` from {from} in\n# {}\n\
         # Above each entry stands how sure it is, for {} exports:\n",
        line(module),
        own
    );
    let meanings = [
        (Certainty::Sure, "the glue says it"),
        (
            Certainty::Likely,
            "the glue says what is passed, a name what the call does",
        ),
        (
            Certainty::Guess,
            "a name and a type say it: read it through",
        ),
        (
            Certainty::Safe,
            "nothing says what the call does: every call is kept. `pure`, or `mutates`, keeps fewer",
        ),
    ];
    for (certainty, meaning) in meanings {
        if count(certainty) > 0 {
            let _ = writeln!(text, "#   {certainty:6} {:5}  {meaning}", count(certainty));
        }
    }
    if left_out > 0 {
        let _ = writeln!(
            text,
            "#   left out {left_out:3}  no entry can describe it; see the comments below"
        );
    }
    text.push_str(
        "# `pure` must have no effect that a later call could notice. `wasm-proxy inspect MODULE\n\
         # --check-policy --policy FILE --workload F.jsonl` compares the roles with what calls do.\n\
         # `docs/policy.md` describes the format.\n\n\
         # `true` refuses exports that are not listed; otherwise every call of theirs is kept.\n\
         strict = false\n",
    );
    text
}

/// What imports convert.
fn casts(draft: &Draft, text: &mut String) {
    if draft.casts.is_empty() {
        return;
    }
    text.push_str(
        "\n# What imports convert. The module does not say it, and its glue does.\ncast = [\n",
    );
    for cast in &draft.casts {
        let mut fields = vec![
            format!("import = {}", quoted(&cast.import)),
            format!("from = {}", quoted(&cast.from)),
        ];
        if let Some(invoke) = &cast.invoke {
            fields.push(format!("invoke = {}", quoted(invoke)));
        }
        if let Some(takes) = &cast.takes {
            let takes = takes.iter().map(|taken| match taken {
                ClosureArgument::Object => quoted("object"),
                ClosureArgument::Borrowed => quoted("borrowed"),
                ClosureArgument::Number => quoted("number"),
            });
            let takes: Vec<String> = takes.collect();
            fields.push(format!("takes = [{}]", takes.join(", ")));
        }
        let _ = writeln!(text, "{{ {} }},", fields.join(", "));
    }
    text.push_str("]\n");
}

fn module_table(draft: &Draft, text: &mut String) {
    let module = &draft.module;
    let mut lines = String::new();
    if let Some(allocator) = &module.allocator {
        let _ = writeln!(
            lines,
            "allocator = {{ alloc = {}, free = {} }}",
            quoted(&allocator.alloc),
            quoted(&allocator.free)
        );
    }
    match &module.return_place {
        Some(ReturnPlacePolicy::Address(at)) => {
            let _ = writeln!(lines, "return_place = {at}");
        }
        Some(ReturnPlacePolicy::Global(name)) => {
            let _ = writeln!(lines, "return_place = {}", quoted(name));
        }
        None => {}
    }
    for (key, name) in [
        ("stack_pointer_export", &module.stack_pointer_export),
        ("memory_usage_export", &module.memory_usage_export),
        ("critical_memory_export", &module.critical_memory_export),
    ] {
        if let Some(name) = name {
            let _ = writeln!(lines, "{key} = {}", quoted(name));
        }
    }
    if !lines.is_empty() {
        let _ = write!(text, "\n[module]\n{lines}");
    }
}

fn entry(group: &[&Drafted], text: &mut String) {
    let first = group[0];
    let mut about = format!("{}: {}", first.certainty, first.reason);
    let signatures: Vec<&str> = group
        .iter()
        .filter_map(|export| export.signature.as_deref())
        .collect();
    if (1..=SIGNATURES_MAX).contains(&signatures.len()) {
        let _ = write!(about, ". {}", signatures.join(", "));
    }
    comment(&about, text);
    let mut fields = vec![
        format!("match = {}", pattern(group)),
        format!("role = \"{}\"", first.role),
    ];
    if let Some(args) = &first.args {
        fields.push(format!("args = {}", list(args)));
    }
    if let Some(results) = &first.results {
        fields.push(format!("results = {}", list(results)));
    }
    if !first.consumes.is_empty() {
        fields.push(format!("consumes = {:?}", first.consumes));
    }
    if let Some(mutates) = &first.mutates {
        fields.push(format!("mutates = {mutates:?}"));
    }
    let _ = writeln!(text, "{{ {} }},", fields.join(", "));
}

/// A comment, broken at spaces.
fn comment(about: &str, text: &mut String) {
    let mut column = 0;
    for word in line(about).split(' ') {
        let len = word.chars().count();
        if column == 0 || column + 1 + len > WIDTH {
            text.push_str(if column == 0 { "# " } else { "\n#   " });
            column = if column == 0 { 2 } else { 4 };
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += len;
    }
    text.push('\n');
}

/// A name that fits a line of comments.
fn shortened(name: &str) -> String {
    const MAX: usize = 48;
    if name.chars().count() <= MAX {
        return line(name);
    }
    let start: String = name.chars().take(MAX).collect();
    format!("{}..", line(&start))
}

/// A text in one line, without what a comment may not have in it.
fn line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
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
    use guest_calls::Policy;

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
        assert!(toml.lines().all(|line| line.len() <= WIDTH + 24), "{toml}");
        assert!(toml.lines().count() < 200);
        assert_eq!(read(&toml).exports.len(), 1);
    }
}
