//! The statement that is proved: "I know an `x` that the rounds turn into the public output".
//!
//! One row of the circuit is one round, `x' = x² + c` with a constant `c` of its own. The last round is in
//! row 0, where the public output is: a gate compares the two, and no permutation argument is needed. That
//! and the low degree make proofs as quick as this system can; nothing here is meant to be hard to invert.

use halo2_proofs::{
    circuit::{Layouter, Region, SimpleFloorPlanner, Value},
    pasta::{Fp, group::ff::Field},
    plonk::{Advice, Circuit, Column, ConstraintSystem, Error, Fixed, Instance, Selector},
    poly::Rotation,
};

/// Rounds by circuit number. Each fills the rows of the parameters it is made for: `k` of at least 4, 5,
/// 6, 7 and 10.
const ROUNDS: [u32; 5] = [8, 24, 56, 110, 1000];

/// One of the circuits, with its secret where a proof needs it.
#[derive(Clone)]
pub(crate) struct Squares {
    rounds: u32,
    secret: Value<Fp>,
}

#[derive(Clone)]
pub(crate) struct Columns {
    state: Column<Advice>,
    constant: Column<Fixed>,
    output: Column<Instance>,
    round: Selector,
    last: Selector,
}

impl Squares {
    /// The circuit with this number, without its secret.
    pub(crate) fn numbered(circuit: u32) -> Option<Self> {
        let rounds = *ROUNDS.get(usize::try_from(circuit).ok()?)?;
        Some(Self {
            rounds,
            secret: Value::unknown(),
        })
    }

    pub(crate) fn with(&self, secret: Fp) -> Self {
        Self {
            rounds: self.rounds,
            secret: Value::known(secret),
        }
    }

    /// Every value that the state column takes, the public output last.
    pub(crate) fn trace(&self, secret: Fp) -> Vec<Fp> {
        let mut x = secret;
        std::iter::once(x)
            .chain((0..self.rounds).map(|round| {
                x = next(x, round);
                x
            }))
            .collect()
    }
}

/// Distinct for each round, so no two rounds are the same map.
fn constant(round: u32) -> Fp {
    Fp::from(u64::from(round) + 1).cube()
}

fn next(x: Fp, round: u32) -> Fp {
    x.square() + constant(round)
}

impl Circuit<Fp> for Squares {
    type Config = Columns;
    type FloorPlanner = SimpleFloorPlanner;

    fn without_witnesses(&self) -> Self {
        Self {
            rounds: self.rounds,
            secret: Value::unknown(),
        }
    }

    fn configure(meta: &mut ConstraintSystem<Fp>) -> Columns {
        let columns = Columns {
            state: meta.advice_column(),
            constant: meta.fixed_column(),
            output: meta.instance_column(),
            round: meta.selector(),
            last: meta.selector(),
        };
        meta.create_gate("round", |meta| {
            let on = meta.query_selector(columns.round);
            let x = meta.query_advice(columns.state, Rotation::next());
            let x_next = meta.query_advice(columns.state, Rotation::cur());
            let constant = meta.query_fixed(columns.constant);
            [on * (x_next - x.square() - constant)]
        });
        meta.create_gate("output", |meta| {
            let on = meta.query_selector(columns.last);
            let x = meta.query_advice(columns.state, Rotation::cur());
            let output = meta.query_instance(columns.output, Rotation::cur());
            [on * (x - output)]
        });
        columns
    }

    fn synthesize(&self, columns: Columns, mut layouter: impl Layouter<Fp>) -> Result<(), Error> {
        layouter.assign_region(|| "rounds", |region| self.rows(&columns, region))
    }
}

impl Squares {
    fn rows(&self, columns: &Columns, mut region: Region<'_, Fp>) -> Result<(), Error> {
        let mut x = self.secret;
        let mut row = self.rounds as usize;
        region.assign_advice(|| "x", columns.state, row, || x)?;
        for round in 0..self.rounds {
            row -= 1;
            x = x.map(|x| next(x, round));
            columns.round.enable(&mut region, row)?;
            region.assign_fixed(
                || "c",
                columns.constant,
                row,
                || Value::known(constant(round)),
            )?;
            region.assign_advice(|| "x", columns.state, row, || x)?;
        }
        columns.last.enable(&mut region, row)
    }
}
