//! Where the records of entries are in the store.

use crate::SequenceNumber;
use crate::journal_store::Position;

/// The records of the entries since the oldest one in the store. Entries in a row are one run, so a
/// long journal takes little.
#[derive(Clone, Debug, Default)]
pub(crate) struct Positions(Vec<Run>);

#[derive(Clone, Copy, Debug)]
struct Run {
    first: SequenceNumber,
    at: Position,
    len: u64,
}

impl Positions {
    /// The next entry's record is here.
    pub(crate) fn note(&mut self, sequence: SequenceNumber, at: Position) {
        if let Some(run) = self.0.last_mut()
            && run.first.0 + run.len == sequence.0
            && run.at.0 + run.len == at.0
        {
            run.len += 1;
            return;
        }
        self.0.push(Run {
            first: sequence,
            at,
            len: 1,
        });
    }

    /// The record of the newest entry up to this one, if that is known.
    pub(crate) fn of(&self, sequence: SequenceNumber) -> Option<Position> {
        let after = self.0.partition_point(|run| run.first <= sequence);
        let run = self.0[..after].last()?;
        let within = (sequence.0 - run.first.0).min(run.len - 1);
        Some(Position(run.at.0 + within))
    }

    /// Forgets what lies before this record.
    pub(crate) fn forget_before(&mut self, at: Position) {
        self.0.retain(|run| run.at.0 + run.len > at.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_across_other_records_and_gaps() {
        let mut positions = Positions::default();
        assert_eq!(positions.of(SequenceNumber(1)), None);
        // The genesis is at 1, an answer at 4; the entries 4 and 5 were undone.
        for (sequence, at) in [(1, 2), (2, 3), (3, 5), (6, 6), (7, 7)] {
            positions.note(SequenceNumber(sequence), Position(at));
        }
        let at = |sequence| positions.of(SequenceNumber(sequence)).map(|at| at.0);
        assert_eq!(
            [at(0), at(1), at(2), at(3)],
            [None, Some(2), Some(3), Some(5)]
        );
        assert_eq!(
            [at(4), at(5), at(6), at(7), at(9)],
            [Some(5), Some(5), Some(6), Some(7), Some(7)]
        );
        assert_eq!(positions.0.len(), 3);
        positions.forget_before(Position(5));
        assert_eq!(positions.of(SequenceNumber(2)), None);
        assert_eq!(positions.of(SequenceNumber(3)), Some(Position(5)));
    }
}
