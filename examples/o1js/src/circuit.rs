//! Circuits of generic gates, read from a file, with a witness that satisfies them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The columns of a witness.
pub(crate) const COLUMNS: usize = 15;

/// A circuit, as in its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Circuit {
    /// The number of points of the reference string: a power of two, larger than that of the rows.
    pub(crate) srs_size: u32,
    /// The gates, one row each.
    pub(crate) gates: Vec<Gates>,
}

/// Equal gates in a row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gates {
    /// The number of these rows.
    pub(crate) times: u32,
    /// Of the double generic gate: `l*w0 + r*w1 + o*w2 + m*w0*w1 + c = 0`, and the same over w3,
    /// w4, w5.
    pub(crate) coefficients: [i64; 10],
    /// The values of the columns w0 to w5.
    pub(crate) witness: [i64; 6],
}

impl Circuit {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the circuit `{}`", path.display()))?;
        let circuit: Self = serde_json::from_str(&text)
            .with_context(|| format!("`{}` is not a circuit", path.display()))?;
        ensure!(
            circuit.srs_size.is_power_of_two(),
            "`{}`: srs_size is {}, and must be a power of two",
            path.display(),
            circuit.srs_size
        );
        ensure!(
            circuit.rows() > 0 && circuit.rows() < u64::from(circuit.srs_size),
            "`{}`: {} rows, and must have 1 to {}, fewer than srs_size",
            path.display(),
            circuit.rows(),
            circuit.srs_size - 1
        );
        Ok(circuit)
    }

    pub(crate) fn rows(&self) -> u64 {
        self.gates.iter().map(|gates| u64::from(gates.times)).sum()
    }

    /// The coefficients of each row, as the module takes them.
    pub(crate) fn coefficients(&self) -> impl Iterator<Item = Vec<u8>> {
        self.gates.iter().flat_map(|gates| {
            let bytes: Vec<u8> = gates.coefficients.iter().flat_map(|c| field(*c)).collect();
            std::iter::repeat_n(bytes, gates.times as usize)
        })
    }

    /// The witness, column by column, as the module takes it.
    pub(crate) fn witness(&self) -> Vec<Vec<u8>> {
        let column = |column: usize| {
            let values = self.gates.iter().flat_map(move |gates| {
                let value = gates.witness.get(column).copied().unwrap_or(0);
                std::iter::repeat_n(field(value), gates.times as usize)
            });
            values.flatten().collect()
        };
        (0..COLUMNS).map(column).collect()
    }
}

/// The order of the field Fp of the Pasta curves, little endian.
const P: [u8; 32] = [
    1, 0, 0, 0, 0xed, 0x30, 0x2d, 0x99, 0x1b, 0xf9, 0x4c, 0x09, 0xfc, 0x98, 0x46, 0x22, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40,
];

/// A small number as an element of the field: 32 bytes, little endian.
fn field(value: i64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&value.unsigned_abs().to_le_bytes());
    if value >= 0 {
        return bytes;
    }
    let mut borrow = false;
    let mut negated = [0; 32];
    for (out, (p, byte)) in negated.iter_mut().zip(P.iter().zip(bytes)) {
        let (difference, under) = p.overflowing_sub(byte);
        let (difference, again) = difference.overflowing_sub(u8::from(borrow));
        *out = difference;
        borrow = under || again;
    }
    negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_one_is_the_order_less_one() {
        let mut expected = P;
        expected[0] = 0;
        assert_eq!(field(-1), expected);
        // With a borrow through several bytes.
        assert_eq!(field(-2)[..5], [0xff, 0xff, 0xff, 0xff, 0xec]);
        assert_eq!(field(258)[..3], [2, 1, 0]);
    }
}
