//! What can be wrong with glue.

/// Why a file is not glue that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is larger than any glue.
    #[error(
        "the file has {bytes} bytes, and glue has at most {max}; is it the file that wasm-bindgen emitted?"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that is read.
        max: usize,
    },
    /// The brackets of the file are nested deeper than any glue's.
    #[error("line {line}: brackets are nested deeper than {max}; this is not wasm-bindgen's glue")]
    TooDeep {
        /// Where that is, from 1.
        line: usize,
        /// The deepest that is read.
        max: usize,
    },
    /// The file is not JavaScript.
    #[error(
        "line {line}: {what}; take the `.js` or `.cjs` that wasm-bindgen emitted, not a bundle of it"
    )]
    Syntax {
        /// Where the parser stopped, from 1.
        line: usize,
        /// What it found.
        what: String,
    },
    /// Nothing in the file calls an export of a module.
    #[error(
        "nothing in it calls an export through `wasm`; a small file that only imports another has none of \
         the glue: take that other one (`*_bg.js`)"
    )]
    NoGlue,
}
