//! Other names for imports and exports: a compiler that made them short can be undone.

use engine_api::Error;
use wasm_encoder::{Encode, SectionId};
use wasmparser::{BinaryReader, Parser, Payload, TypeRef};

use crate::format::{invalid, refuse_other_formats};

/// Gives imports and exports other names. The functions say the new name for each, or `None` to
/// keep it. Everything else is copied byte for byte.
///
/// # Errors
///
/// [`Error::InvalidModule`].
pub fn rename<'a>(
    wasm: &'a [u8],
    mut import: impl FnMut(&str, &str) -> Option<(&'a str, &'a str)>,
    mut export: impl FnMut(&str) -> Option<&'a str>,
) -> Result<Vec<u8>, Error> {
    refuse_other_formats(wasm)?;
    let mut renamed = Vec::with_capacity(wasm.len() + wasm.len() / 64);
    let mut copied = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| invalid(&error))?;
        let Some((id, range)) = payload.as_section() else {
            continue;
        };
        let body = &wasm[range.clone()];
        let content = match payload {
            Payload::ImportSection(_) => rename_imports(body, &mut import),
            Payload::ExportSection(_) => rename_exports(body, &mut export),
            _ => continue,
        };
        let content = content.map_err(|error| invalid(&error))?;
        // A section begins with its id and its length, which is written anew.
        let before = section_begin(wasm, copied, range.start, id);
        renamed.extend_from_slice(&wasm[copied..before]);
        let section = match id {
            2 => SectionId::Import,
            _ => SectionId::Export,
        };
        renamed.push(section as u8);
        content.encode(&mut renamed);
        copied = range.end;
    }
    renamed.extend_from_slice(&wasm[copied..]);
    Ok(renamed)
}

/// Where the section begins whose content begins at `content`: its id, then a length of up to five
/// bytes.
fn section_begin(wasm: &[u8], copied: usize, content: usize, id: u8) -> usize {
    let lengths = (content.saturating_sub(6).max(copied)..content.saturating_sub(1)).rev();
    let is_begin = |at: &usize| {
        let length = &wasm[at + 1..content];
        let (last, rest) = length.split_last().expect("a length has a byte");
        wasm[*at] == id && *last < 0x80 && rest.iter().all(|byte| *byte >= 0x80)
    };
    let mut begins = lengths.filter(is_begin);
    begins.next().expect("the parser has read a length there")
}

type Read<T> = Result<T, wasmparser::BinaryReaderError>;

fn rename_imports<'a>(
    body: &[u8],
    new_name: &mut impl FnMut(&str, &str) -> Option<(&'a str, &'a str)>,
) -> Read<Vec<u8>> {
    let mut reader = BinaryReader::new(body, 0);
    let count = reader.read_var_u32()?;
    let mut content = Vec::with_capacity(body.len());
    count.encode(&mut content);
    for _ in 0..count {
        let (module, name) = (reader.read_string()?, reader.read_string()?);
        let begin = reader.original_position();
        reader.read::<TypeRef>()?;
        let ty = &body[begin..reader.original_position()];
        let (module, name) = new_name(module, name).unwrap_or((module, name));
        module.encode(&mut content);
        name.encode(&mut content);
        content.extend_from_slice(ty);
    }
    Ok(content)
}

fn rename_exports<'a>(
    body: &[u8],
    new_name: &mut impl FnMut(&str) -> Option<&'a str>,
) -> Read<Vec<u8>> {
    let mut reader = BinaryReader::new(body, 0);
    let count = reader.read_var_u32()?;
    let mut content = Vec::with_capacity(body.len());
    count.encode(&mut content);
    for _ in 0..count {
        let name = reader.read_string()?;
        let begin = reader.original_position();
        reader.read_u8()?;
        reader.read_var_u32()?;
        let item = &body[begin..reader.original_position()];
        new_name(name).unwrap_or(name).encode(&mut content);
        content.extend_from_slice(item);
    }
    Ok(content)
}

/// How much memory and table a module that was built for dynamic linking needs for its own data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dylink {
    /// Bytes of memory.
    pub memory_bytes: u32,
    /// Elements of the table.
    pub table_elements: u32,
}

/// Reads the section `dylink.0` of the tool conventions, if the module has one.
#[must_use]
pub fn dylink(wasm: &[u8]) -> Option<Dylink> {
    let first = Parser::new(0).parse_all(wasm).nth(1)?.ok()?;
    let Payload::CustomSection(section) = first else {
        return None;
    };
    let wasmparser::KnownCustom::Dylink0(parts) = section.as_known() else {
        return None;
    };
    parts.into_iter().find_map(|part| match part {
        Ok(wasmparser::Dylink0Subsection::MemInfo(info)) => Some(Dylink {
            memory_bytes: info.memory_size,
            table_elements: info.table_size,
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_and_exports_get_their_names_back_and_the_rest_stays() {
        let short = wat::parse_str(
            r#"(module
                (import "a" "a" (func (param i32) (result i64)))
                (import "a" "b" (memory 1 2))
                (import "a" "c" (global (mut i32)))
                (func (export "d") (result i32) i32.const 7)
                (export "e" (memory 0)))"#,
        )
        .unwrap();
        let long = wat::parse_str(
            r#"(module
                (import "env" "a_long_name" (func (param i32) (result i64)))
                (import "env" "memory" (memory 1 2))
                (import "a" "c" (global (mut i32)))
                (func (export "seven") (result i32) i32.const 7)
                (export "e" (memory 0)))"#,
        )
        .unwrap();
        let renamed = rename(
            &short,
            |module, name| match (module, name) {
                ("a", "a") => Some(("env", "a_long_name")),
                ("a", "b") => Some(("env", "memory")),
                _ => None,
            },
            |name| (name == "d").then_some("seven"),
        );
        assert_eq!(renamed.unwrap(), long);
        assert_eq!(rename(&short, |_, _| None, |_| None).unwrap(), short);
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for bytes in [&b""[..], b"\0asm\x01\0\0\0\x02\x05\x01\x09a", b"(module)"] {
            assert!(rename(bytes, |_, _| None, |_| None).is_err());
        }
    }

    #[test]
    fn the_needs_of_a_module_for_dynamic_linking_are_read() {
        let wasm = wat::parse_str(
            r#"(module (@custom "dylink.0" (before first) "\01\05\d0\0f\04\1e\00"))"#,
        );
        let needed = Dylink {
            memory_bytes: 2000,
            table_elements: 30,
        };
        assert_eq!(dylink(&wasm.unwrap()), Some(needed));
        assert_eq!(dylink(&wat::parse_str("(module)").unwrap()), None);
    }
}
