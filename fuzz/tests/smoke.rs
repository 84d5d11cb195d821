//! Each target with a few thousand inputs: random ones, and good ones that were changed.
//! `FUZZ_INPUTS=1000000` tries more, `FUZZ_SEED` others.

use std::panic::catch_unwind;

/// A sequence of numbers that is the same on every machine (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).expect("it fits");
        usize::try_from(self.next() % bound).expect("it is below a usize")
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// Changes an input once, in one of the ways in which files are damaged.
    fn change(&mut self, input: &mut Vec<u8>) {
        let (at, len) = (self.below(input.len()), self.below(16) + 1);
        let end = input.len().min(at + len);
        match self.below(6) {
            _ if input.is_empty() => input.extend(self.bytes(len)),
            0 => input[at] ^= 1 << self.below(8),
            1 => input[at] = self.next().to_le_bytes()[0],
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            _ => {
                let other = self.bytes(end - at);
                input.splice(at..end, other);
            }
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn try_inputs(name: &str, inputs: u64, target: fn(&[u8])) {
    let inputs = variable("FUZZ_INPUTS").unwrap_or(inputs);
    let seeds = targets::seeds(name);
    for seed in &seeds {
        target(seed);
    }
    let first = variable("FUZZ_SEED").unwrap_or(0);
    for number in first..first + inputs {
        let mut numbers = Numbers(number);
        let mut input = if number % 4 == 0 {
            let len = numbers.below(300);
            numbers.bytes(len)
        } else {
            seeds[numbers.below(seeds.len())].clone()
        };
        for _ in 0..=numbers.below(3) {
            numbers.change(&mut input);
        }
        let outcome = catch_unwind(|| target(&input));
        assert!(
            outcome.is_ok(),
            "target {name}: FUZZ_SEED={number} FUZZ_INPUTS=1, {input:?}"
        );
    }
}

#[test]
fn records_with_any_bytes_are_taken_or_refused() {
    try_inputs("records", 1_000, targets::records);
}

#[test]
fn a_journal_with_any_bytes_is_whole_or_refused() {
    try_inputs("journal", 150, targets::journal);
}

#[test]
fn a_checkpoint_with_any_bytes_is_whole_or_passed_over() {
    try_inputs("checkpoint", 500, targets::checkpoint);
}

#[test]
fn a_policy_with_any_bytes_is_read_or_refused() {
    try_inputs("policy", 1_000, targets::policy);
}

#[test]
fn a_workload_with_any_bytes_is_read_or_refused() {
    try_inputs("workload", 1_000, targets::workload);
}

#[test]
fn any_life_of_a_module_ends_as_its_calls_say() {
    try_inputs("lifecycle", 500, targets::lifecycle);
}
