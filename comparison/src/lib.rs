//! The comparison with the alternatives: the same leaking workload under every strategy that an operator could choose.
//!
//! A front end makes a [`Job`] and the engines; [`compare`] runs each [`Strategy`] in a process of its own, which is the
//! front end's program again in the role of a child, and gives a [`Report`]: JSON as it is, Markdown by
//! [`table`], SVG by [`figures`], a page for a browser by [`html`].
//!
//! | file | its job |
//! |---|---|
//! | `job`, `setup` | what is compared; bound to a compiled module |
//! | `strategy`, `serve` | the strategies; each as something that serves turns |
//! | `measure`, `sampler`, `cpu` | times turns; looks at memory meanwhile, and at processor time |
//! | `child` | one strategy in a process of its own |
//! | `compare` | rounds of children, and what they gave |
//! | `report`, `machine` | the figures, and where they are from |
//! | `table`, `figures`, `html`, `report_page` | how they are shown |
//! | `plot` | bars, lines and ranges as SVG, of whatever numbers |
//!
//! A *turn* is one turn of the workload's repeat: all that an application asks for at a time, such as to prove, read the
//! proof, free and verify it.
//!
//! No runtime is named here: engines come from outside.

mod again;
pub mod child;
mod compare;
mod cpu;
pub mod figures;
mod gauge;
pub mod html;
mod job;
pub mod machine;
mod measure;
mod measured;
mod order;
pub mod plot;
mod quantity;
mod report;
pub mod report_page;
mod sampler;
mod serve;
mod setup;
mod strategy;
pub mod table;

pub use compare::{Children, Progress, Settings, compare};
pub use gauge::MarkKind;
pub use job::Job;
pub use machine::{Machine, Origin};
pub use report::{EngineReport, JobReport, Latency, Report, Row, Series, Spread};
pub use setup::Setup;
pub use strategy::Strategy;
