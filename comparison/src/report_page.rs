//! The part of a report page that a program writes: between two markers, which are comments in
//! Markdown.

use anyhow::{Result, bail};

/// Puts `content` between `<!-- begin NAME -->` and `<!-- end NAME -->`, in place of the old text.
///
/// # Errors
///
/// The page does not have exactly one of each, in this order.
pub fn replace(page: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (
        format!("<!-- begin {name} -->\n"),
        format!("<!-- end {name} -->"),
    );
    let parts = page.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        bail!(
            "the page has no lines `{}` and `{end}` in this order; write them where the figures belong",
            begin.trim_end()
        );
    };
    if after.contains(&begin) || after.contains(&end) || before.contains(&end) {
        bail!("the page has the markers of `{name}` more than once; leave one pair");
    }
    Ok(format!(
        "{before}{begin}\n{}\n\n{end}{after}",
        content.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n";
        let new = replace(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n");
        assert_eq!(replace(&new, "x", "new").unwrap(), new);
        for wrong in ["", "<!-- end x -->\n<!-- begin x -->\n", &page.repeat(2)] {
            assert!(replace(wrong, "x", "new").is_err(), "{wrong}");
        }
    }
}
