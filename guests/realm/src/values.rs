//! Plain values: numbers, text, bytes, lists and what may be absent.

use wasm_bindgen::prelude::*;

/// Adds, and wraps around.
#[wasm_bindgen]
pub fn add(left: u32, right: u32) -> u32 {
    left.wrapping_add(right)
}

/// Multiplies floating-point numbers.
#[wasm_bindgen]
pub fn scale(value: f64, by: f64) -> f64 {
    value * by
}

/// The smaller of the two floating-point widths.
#[wasm_bindgen]
pub fn halve(value: f32) -> f32 {
    value / 2.0
}

/// A signed number of 64 bits, which JavaScript only has as a `BigInt`.
#[wasm_bindgen]
pub fn negate(value: i64) -> i64 {
    value.wrapping_neg()
}

/// An unsigned number of 64 bits: the same wasm type, read differently.
#[wasm_bindgen]
pub fn double(value: u64) -> u64 {
    value.wrapping_mul(2)
}

/// A truth value, 0 or 1 at the boundary.
#[wasm_bindgen]
pub fn not(value: bool) -> bool {
    !value
}

/// A number below 32 bits, sign-extended at the boundary.
#[wasm_bindgen]
pub fn narrow(value: i8) -> i8 {
    value.wrapping_add(1)
}

/// One Unicode scalar value.
#[wasm_bindgen]
pub fn next_char(value: char) -> char {
    char::from_u32(u32::from(value) + 1).unwrap_or('\0')
}

/// Borrows text and gives text of its own.
#[wasm_bindgen]
pub fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

/// Takes ownership of text, which the module frees.
#[wasm_bindgen]
pub fn shout(text: String) -> String {
    text.to_uppercase()
}

/// Borrows bytes and gives bytes of its own.
#[wasm_bindgen]
pub fn reverse_bytes(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// Writes to a buffer of the host, which gets the bytes back when the call ends.
#[wasm_bindgen]
pub fn fill(buffer: &mut [u8], with: u8) {
    buffer.fill(with);
}

/// A list of numbers; lengths at the boundary count elements.
#[wasm_bindgen]
pub fn squares(values: Vec<u32>) -> Vec<u32> {
    values
        .iter()
        .map(|value| value.wrapping_mul(*value))
        .collect()
}

/// A list whose elements are 8 bytes.
#[wasm_bindgen]
pub fn running_total(values: Vec<f64>) -> Vec<f64> {
    let mut total = 0.0;
    values
        .iter()
        .map(|value| {
            total += value;
            total
        })
        .collect()
}

/// A list of texts: each element is an object of the host.
#[wasm_bindgen]
pub fn split(text: &str, separator: &str) -> Vec<String> {
    text.split(separator).map(str::to_owned).collect()
}

/// Takes a list of texts apart again.
#[wasm_bindgen]
pub fn join(words: Vec<String>, separator: &str) -> String {
    words.join(separator)
}

/// A number that may be absent, in and out.
#[wasm_bindgen]
pub fn maybe_increment(value: Option<u32>) -> Option<u32> {
    value.and_then(|value| value.checked_add(1))
}

/// Text that may be absent, in and out.
#[wasm_bindgen]
pub fn maybe_greet(name: Option<String>) -> Option<String> {
    name.filter(|name| !name.is_empty())
        .map(|name| greet(&name))
}

/// The other encodings of what may be absent: a flag beside the value, and a value out of range.
#[wasm_bindgen]
pub fn maybe_ratio(value: Option<f64>, invert: Option<bool>) -> Option<f64> {
    let value = value?;
    Some(if invert? { 1.0 / value } else { value })
}

/// An enumeration crosses as its number.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Number 0.
    North,
    /// Number 1.
    East,
    /// Number 2.
    South,
    /// Number 3.
    West,
}

/// Turns right.
#[wasm_bindgen]
pub fn turn(direction: Direction) -> Direction {
    match direction {
        Direction::North => Direction::East,
        Direction::East => Direction::South,
        Direction::South => Direction::West,
        Direction::West => Direction::North,
    }
}
