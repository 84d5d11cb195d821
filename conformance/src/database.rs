//! Statements for a database that is written to all the time and stays small, for the guest and for
//! a native library alike.

/// How many rows a table has after that many were inserted, because each insertion deletes one.
pub const ROWS_KEPT: u64 = 500;

/// Makes the table, which is empty, and an index of it.
pub const SCHEMA: &str = "CREATE TABLE log (id INTEGER PRIMARY KEY, day INTEGER, text TEXT);
    CREATE INDEX log_by_day ON log (day, text)";

/// Queries whose results together show all of the database, its index included.
pub const QUERIES: [&str; 3] = [
    "SELECT id, day, text FROM log ORDER BY id",
    "SELECT day, count(*), min(text), max(id) FROM log GROUP BY day ORDER BY day",
    "PRAGMA integrity_check",
];

/// Inserts a row, of up to 600 bytes, and deletes the oldest one above [`ROWS_KEPT`].
#[must_use]
pub fn insertion(row: u64) -> String {
    let bits = scattered(row);
    let (day, oldest) = (bits % 365, row.saturating_sub(ROWS_KEPT));
    let mut text = format!("{bits:x}").repeat(40);
    text.truncate(usize::try_from(bits >> 32).unwrap_or(0) % 600);
    format!(
        "INSERT INTO log (id, day, text) VALUES ({row}, {day}, '{text}');
         DELETE FROM log WHERE id <= {oldest}"
    )
}

/// One row of a result as the guest writes it.
pub fn row_text<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> String {
    let values: Vec<&str> = values.into_iter().map(Option::unwrap_or_default).collect();
    values.join("|") + "\n"
}

/// The finalizer of `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, 2014).
fn scattered(row: u64) -> u64 {
    let bits = row.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insertion_deletes_what_is_older_than_the_rows_kept() {
        assert!(insertion(ROWS_KEPT).ends_with("WHERE id <= 0"));
        assert!(insertion(ROWS_KEPT + 7).ends_with("WHERE id <= 7"));
    }

    #[test]
    fn a_row_is_written_with_bars_and_a_line_end() {
        assert_eq!(row_text([Some("1"), None, Some("x")]), "1||x\n");
    }
}
