//! The plots: time against the size of the state and the length of the journal.

use comparison::figures::Figure;
use comparison::plot::{Line, Lines, Scale, panels};

use super::{By, Cell, Swaps, What};

/// Colours of the peers. Engines have the colours between them.
const WIZER: usize = 0;
const MEMCPY: usize = 6;

/// The variable of a horizontal axis; `None` for a cell in which it did not vary.
type Variable = fn(&Cell) -> Option<i32>;

impl Swaps {
    /// One figure: standbys and pauses, each against both axes.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let axes: [(&str, Variable); 2] = [
            ("MiB of state", |cell| cell.mib),
            ("entries of the journal", |cell| cell.entries),
        ];
        let plots = [
            ("A standby is ready: median", What::Prepare),
            ("Pause of a swap: median", What::Pause),
        ];
        let all: Vec<Lines> = plots
            .into_iter()
            .flat_map(|plot| axes.map(|axis| self.plot(plot, axis)))
            .collect();
        vec![Figure {
            name: "swaps".to_owned(),
            caption: "Swaps by compiler, on logarithmic axes: from a checkpoint with dots, by replay without."
                .to_owned(),
            svg: panels(&all, 1, (960, 300)),
        }]
    }

    fn plot(&self, (heading, what): (&str, What), (x_label, variable): (&str, Variable)) -> Lines {
        let line = |name: &str, cells: &mut dyn Iterator<Item = &Cell>, colour, dots| Line {
            name: name.to_owned(),
            points: cells
                .filter_map(|cell| Some((f64::from(variable(cell)?), micros(cell.summary.p50))))
                .collect(),
            colour,
            dots,
        };
        let mut all = Vec::new();
        for (colour, engine) in (1..).zip(self.engines()) {
            let by = |by| {
                self.line(what, Some(by), Some(engine))
                    .collect::<Vec<_>>()
                    .into_iter()
            };
            all.push(line(engine, &mut by(By::Checkpoint), colour, true));
            all.push(line("", &mut by(By::Replay), colour, false));
        }
        if what == What::Prepare {
            let peers = [
                ("Wizer", What::Wizer, WIZER),
                ("copy", What::Memcpy, MEMCPY),
            ];
            for (name, what, colour) in peers {
                all.push(line(name, &mut self.line(what, None, None), colour, false));
            }
        }
        all.retain(|line| !line.points.is_empty());
        Lines {
            heading: heading.to_owned(),
            x_label: x_label.to_owned(),
            y_label: "µs".to_owned(),
            scale: Scale::Log,
            y_max: None,
            lines: all,
            marks: Vec::new(),
            level: None,
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "durations are far below the precision of an f64"
)]
fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}
