//! Which file it is that a path leads to. A file that was renamed or deleted leaves its path to
//! others, which a new process must not take for it.

/// The size of what `fd_filestat_get` gives.
pub(crate) const STAT_BYTES: usize = 64;

/// What tells one file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    /// When the file was made, in nanoseconds since 1970; 0 where the file system does not say.
    made: u64,
}

impl Identity {
    /// That of a file with this status. `wasi-common` gives the time at which a file was made in the
    /// place of its last change.
    pub(crate) fn of(stat: &[u8; STAT_BYTES]) -> Self {
        Self {
            device: number(stat, 0),
            inode: number(stat, 8),
            made: number(stat, 56),
        }
    }

    /// As the journal keeps it.
    pub(crate) fn note(self) -> Vec<u8> {
        let numbers = [self.device, self.inode, self.made];
        numbers.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// From the journal. Older ones have none.
    pub(crate) fn noted(note: &[u8]) -> Option<Self> {
        (note.len() == 24).then(|| Self {
            device: number(note, 0),
            inode: number(note, 8),
            made: number(note, 16),
        })
    }

    /// Whether both are one file. The number of a device may be another after the machine was started
    /// anew, so it counts only where nothing else tells a file from one that got its inode.
    pub(crate) fn is(self, other: Self) -> bool {
        let knows_when = self.made != 0 && other.made != 0;
        self.inode == other.inode
            && if knows_when {
                self.made == other.made
            } else {
                self.device == other.device
            }
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(device: u64, inode: u64, made: u64) -> Identity {
        Identity {
            device,
            inode,
            made,
        }
    }

    #[test]
    fn a_file_is_known_by_its_inode_and_when_it_was_made() {
        assert!(file(1, 2, 3).is(file(1, 2, 3)));
        assert!(file(1, 2, 3).is(file(9, 2, 3)), "the machine was started");
        assert!(!file(1, 2, 3).is(file(1, 4, 3)));
        assert!(!file(1, 2, 3).is(file(1, 2, 4)), "the inode was used again");
    }

    #[test]
    fn without_that_time_the_device_counts() {
        assert!(file(1, 2, 0).is(file(1, 2, 5)));
        assert!(!file(1, 2, 0).is(file(9, 2, 0)));
    }

    #[test]
    fn a_note_of_another_size_is_none() {
        let noted = Identity::noted(&file(1, 2, 3).note());
        assert_eq!(noted, Some(file(1, 2, 3)));
        assert_eq!(Identity::noted(&[]), None);
        assert_eq!(Identity::noted(&[0; 25]), None);
    }
}
