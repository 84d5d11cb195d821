//! The release of wasm-bindgen that made a module, from its `producers` section.

use wasmparser::{KnownCustom, Parser, Payload};

/// The number of the release, 0.2.N. `None` if the module does not say, or names another series.
pub(crate) fn release(wasm: &[u8]) -> Option<u32> {
    for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
        let Payload::CustomSection(section) = payload else {
            continue;
        };
        let KnownCustom::Producers(fields) = section.as_known() else {
            continue;
        };
        let fields = fields.into_iter().map_while(Result::ok);
        let values = fields
            .filter(|field| field.name == "processed-by")
            .flat_map(|field| field.values.into_iter().map_while(Result::ok));
        let mut makers = values.filter(|value| value.name == "wasm-bindgen");
        if let Some(maker) = makers.next() {
            // Such as `0.2.92 (2a4a49362)`.
            let number = maker.version.strip_prefix("0.2.")?;
            let end = number.find(|c: char| !c.is_ascii_digit());
            return number[..end.unwrap_or(number.len())].parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(version: &str) -> Vec<u8> {
        let text = format!(
            r#"(module (@producers (processed-by "walrus" "0.20.3")
                (processed-by "wasm-bindgen" "{version}")))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn the_release_is_read_with_and_without_a_commit() {
        assert_eq!(release(&module("0.2.92 (2a4a49362)")), Some(92));
        assert_eq!(release(&module("0.2.130")), Some(130));
        assert_eq!(release(&module("0.3.1")), None);
        assert_eq!(release(&module("")), None);
        assert_eq!(release(&wat::parse_str("(module)").unwrap()), None);
        assert_eq!(release(b"no module"), None);
    }
}
