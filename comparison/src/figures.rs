//! The plots of a report.

use crate::plot::{self, Bar, Line, Lines, Scale, Times, bars, panels, ranges};
use crate::{EngineReport, MarkKind, Report, Row, Strategy};

/// A plot with the name of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The name of its file, without an extension.
    pub name: String,
    /// A sentence about its content.
    pub caption: String,
    /// The plot, an `svg` element.
    pub svg: String,
}

/// All plots of a report: throughput and latency of all engines, memory over time for each.
#[must_use]
pub fn figures(report: &Report) -> Vec<Figure> {
    let mut figures = vec![throughput(report), latency(report)];
    figures.extend(report.engines.iter().map(|engine| memory(report, engine)));
    figures
}

fn colour(strategy: Strategy) -> usize {
    let mut all = Strategy::ALL.iter();
    all.position(|other| *other == strategy).unwrap_or(0)
}

/// How a strategy ended, if it did not make all its turns.
fn fate(row: &Row) -> String {
    let died = row
        .died_at_turn
        .map(|turn| format!("died in turn {:.0}", turn.median));
    let failed = (row.turns_failed.max > 0.0 && row.died_at_turn.is_none())
        .then(|| format!("{:.0} turns failed", row.turns_failed.median));
    died.or(failed).unwrap_or_default()
}

/// The rows of all engines, each with its name and colour in a plot.
fn rows(report: &Report) -> impl Iterator<Item = (&Row, plot::Row)> {
    report.engines.iter().flat_map(|engine| {
        engine.rows.iter().map(|row| {
            let named = plot::Row {
                name: row.strategy.name().to_owned(),
                group: engine.engine.clone(),
                colour: colour(row.strategy),
            };
            (row, named)
        })
    })
}

fn throughput(report: &Report) -> Figure {
    let bar = |(row, named): (&Row, plot::Row)| Bar {
        row: named,
        value: row.turns_per_second.median,
        whisker: (row.turns_per_second.min, row.turns_per_second.max),
        note: fate(row),
    };
    let unit = match report.job.rounds {
        1 => "successful turns per second, in one round".to_owned(),
        rounds => format!(
            "successful turns per second; median of {rounds} rounds, whiskers from the least to the most"
        ),
    };
    Figure {
        name: "throughput".to_owned(),
        caption: "Throughput by strategy.".to_owned(),
        svg: bars(
            "Throughput",
            &unit,
            &rows(report).map(bar).collect::<Vec<_>>(),
        ),
    }
}

fn latency(report: &Report) -> Figure {
    let times = |(row, named): (&Row, plot::Row)| Times {
        row: named,
        micros: row.latency_us.as_ref().map_or_else(Vec::new, |latency| {
            [latency.p50, latency.p99, latency.p999, latency.max]
                .map(|spread| spread.median)
                .to_vec()
        }),
    };
    Figure {
        name: "latency".to_owned(),
        caption: "How long a turn took, including restarts that it waited for.".to_owned(),
        svg: ranges(
            "Latency of a turn (logarithmic)",
            &["p50", "p99", "p99.9", "max"],
            &rows(report).map(times).collect::<Vec<_>>(),
        ),
    }
}

/// One panel per strategy, all with the same vertical axis.
fn memory(report: &Report, engine: &EngineReport) -> Figure {
    let rows = engine.rows.iter();
    let highest = rows
        .flat_map(|row| row.series.memory_mib.iter().chain(&row.series.pss_mib))
        .copied()
        .fold(report.job.memory_limit_mib, f64::max);
    let panel = |row: &Row| {
        let series = &row.series;
        let line = |name: &str, values: &[f64], colour| Line {
            name: name.to_owned(),
            points: series
                .at_s
                .iter()
                .copied()
                .zip(values.iter().copied())
                .collect(),
            colour,
            dots: false,
        };
        let mark = |(at, what): &(f64, MarkKind)| match what {
            MarkKind::Swap => (*at, 3),
            MarkKind::Restart => (*at, 1),
            MarkKind::Death => (*at, 6),
        };
        Lines {
            heading: format!("{}{}", row.strategy.name(), happened(row)),
            x_label: "seconds".to_owned(),
            y_label: "MiB".to_owned(),
            scale: Scale::Linear,
            y_max: Some(highest),
            lines: vec![
                line("linear memories", &series.memory_mib, 5),
                line("PSS", &series.pss_mib, 0),
            ],
            marks: series.marks.iter().map(mark).collect(),
            level: Some((
                report.job.memory_limit_mib,
                "limit of one instance".to_owned(),
            )),
        }
    };
    let all: Vec<Lines> = engine.rows.iter().map(panel).collect();
    Figure {
        name: format!("memory-{}", engine.engine),
        caption: format!(
            "Memory over time on {}, in the first round: all linear memories together, and the proportional set size of \
             the process. Vertical lines: a swap (green), a restart (orange), death (red).",
            engine.engine
        ),
        svg: panels(&all, 2, (430, 250)),
    }
}

/// The numbers of swaps and restarts in the round that is shown.
fn happened(row: &Row) -> String {
    let count = |what| row.series.marks.iter().filter(|(_, w)| *w == what).count();
    let said = [
        (count(MarkKind::Swap), "swaps", "swap"),
        (count(MarkKind::Restart), "restarts", "restart"),
    ];
    let parts = said.iter().filter(|(count, ..)| *count > 0);
    let mut words: Vec<String> = parts
        .map(|(count, many, one)| format!("{count} {}", if *count == 1 { one } else { many }))
        .collect();
    if let Some(turn) = row.died_at_turn {
        words.push(format!("died in turn {:.0}", turn.median));
    }
    if words.is_empty() {
        String::new()
    } else {
        format!(": {}", words.join(", "))
    }
}
