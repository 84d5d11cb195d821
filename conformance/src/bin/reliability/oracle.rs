//! What a hash chain must have given to several callers, whatever order their calls ran in.

/// What the chain has after a call: of what it had, an id and an argument.
pub(crate) type Link = fn(u64, u64, u64) -> u64;

/// Follows a chain whose callers each make their calls one after the other.
#[derive(Debug)]
pub(crate) struct Oracle {
    link: Link,
    /// What the chain has.
    hash: u64,
    /// The number of each caller's next call.
    next: Vec<u64>,
}

/// The id of a caller's call.
pub(crate) fn id(caller: usize, number: u64) -> u64 {
    ((caller as u64) << 40) | number
}

/// Its argument.
pub(crate) fn arg(caller: usize, number: u64) -> u64 {
    id(caller, number).wrapping_mul(0x9e37_79b9)
}

/// What a chain was found to have beside what was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Followed {
    /// Calls that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Calls that were not, and are there as a whole.
    pub(crate) unacknowledged: u64,
}

/// Where a search is.
#[derive(Clone, Debug)]
struct At {
    hash: u64,
    seen: Vec<usize>,
    /// Whose last call, which was not acknowledged, is there.
    beyond: Vec<bool>,
}

impl Oracle {
    pub(crate) fn new(link: Link, callers: usize) -> Self {
        Self {
            link,
            hash: 0,
            next: vec![0; callers],
        }
    }

    pub(crate) fn next(&self) -> &[u64] {
        &self.next
    }

    /// Goes on to what the chain has now. `acknowledged` has the results of each caller's calls, in
    /// order. Each caller may have made one more call, which nobody acknowledged.
    ///
    /// # Errors
    ///
    /// In words: no order of the calls gives these results and this value.
    pub(crate) fn follow(
        &mut self,
        acknowledged: &[Vec<u64>],
        value: u64,
    ) -> Result<Followed, String> {
        let from = At {
            hash: self.hash,
            seen: vec![0; self.next.len()],
            beyond: vec![false; self.next.len()],
        };
        let total: usize = acknowledged.iter().map(Vec::len).sum();
        let mut furthest = 0;
        let Some(at) = self.search(from, acknowledged, value, &mut furthest) else {
            return Err(format!(
                "{furthest} of {total} acknowledged calls are in one chain, which must end at {value:x}"
            ));
        };
        let mut unacknowledged = 0;
        for (caller, next) in self.next.iter_mut().enumerate() {
            *next += acknowledged[caller].len() as u64 + u64::from(at.beyond[caller]);
            unacknowledged += u64::from(at.beyond[caller]);
        }
        self.hash = at.hash;
        Ok(Followed {
            acknowledged: total as u64,
            unacknowledged,
        })
    }

    fn search(
        &self,
        mut at: At,
        acknowledged: &[Vec<u64>],
        value: u64,
        furthest: &mut usize,
    ) -> Option<At> {
        // Results are hashes, so the call that fits is the one that ran.
        while let Some(caller) = self.fitting(&at, acknowledged) {
            at.hash = acknowledged[caller][at.seen[caller]];
            at.seen[caller] += 1;
        }
        *furthest = (*furthest).max(at.seen.iter().sum());
        let is_all = |caller: usize| at.seen[caller] == acknowledged[caller].len();
        if at.hash == value && (0..at.seen.len()).all(is_all) {
            return Some(at);
        }
        (0..at.seen.len())
            .filter(|caller| is_all(*caller) && !at.beyond[*caller])
            .find_map(|caller| {
                let mut beyond = at.clone();
                beyond.hash = self.after(at.hash, caller, at.seen[caller]);
                beyond.beyond[caller] = true;
                self.search(beyond, acknowledged, value, furthest)
            })
    }

    fn fitting(&self, at: &At, acknowledged: &[Vec<u64>]) -> Option<usize> {
        (0..at.seen.len()).find(|caller| {
            let result = acknowledged[*caller].get(at.seen[*caller]);
            result.is_some_and(|result| *result == self.after(at.hash, *caller, at.seen[*caller]))
        })
    }

    fn after(&self, hash: u64, caller: usize, seen: usize) -> u64 {
        let number = self.next[caller] + seen as u64;
        (self.link)(hash, id(caller, number), arg(caller, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conformance::durable::link;

    fn chain(calls: &[(usize, u64)]) -> Vec<u64> {
        let mut hash = 0;
        let of = |(caller, number): &(usize, u64)| {
            hash = link(hash, id(*caller, *number), arg(*caller, *number));
            hash
        };
        calls.iter().map(of).collect()
    }

    #[test]
    fn every_order_is_followed_and_unacknowledged_calls_are_found() {
        let made = chain(&[(0, 0), (1, 0), (1, 1), (0, 1), (2, 0)]);
        let acknowledged = [vec![made[0]], vec![made[1], made[2]], vec![made[4]]];
        let mut oracle = Oracle::new(link, 3);
        let followed = oracle
            .follow(&acknowledged, made[4])
            .expect("it is a chain");
        assert_eq!((followed.acknowledged, followed.unacknowledged), (4, 1));
        assert_eq!(oracle.next(), [2, 2, 1]);
    }

    #[test]
    fn a_lost_a_doubled_and_a_wrong_call_are_found() {
        let made = chain(&[(0, 0), (1, 0), (0, 1)]);
        let all = [vec![made[0], made[2]], vec![made[1]]];
        for value in [made[1], 7] {
            assert!(Oracle::new(link, 2).follow(&all, value).is_err());
        }
        let doubled = chain(&[(0, 0), (0, 0), (1, 0), (0, 1)]);
        let all = [vec![doubled[0], doubled[3]], vec![doubled[2]]];
        assert!(Oracle::new(link, 2).follow(&all, doubled[3]).is_err());
    }
}
