//! Threads that come to do one kind of work, and go.

/// A thread that works on nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attendant(u64);

/// The attendants that are there. There are several while one supervisor takes the place of
/// another, and each goes when it is told to.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    present: Vec<Attendant>,
    /// How many have ever come.
    came: u64,
}

impl Attendance {
    pub(super) fn attend(&mut self) -> Attendant {
        self.came += 1;
        let attendant = Attendant(self.came);
        self.present.push(attendant);
        attendant
    }

    pub(super) fn leave(&mut self, attendant: Attendant) {
        self.present.retain(|other| *other != attendant);
    }

    /// Whether this one was not told to go.
    pub(super) fn has(&self, attendant: Attendant) -> bool {
        self.present.contains(&attendant)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.present.is_empty()
    }
}
