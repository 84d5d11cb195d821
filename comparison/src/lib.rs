//! The comparison with the alternatives: the same leaking workload under every strategy that an
//! operator could choose.
//!
//! A front end makes a [`Job`] and the engines; [`compare`] runs each [`Strategy`] in a process of
//! its own, which is the front end's program again in the role of a child, and gives a [`Report`]:
//! JSON as it is, Markdown by [`table`], SVG by [`figures`], a page for a browser by [`html`].
//!
//! | file | its job |
//! |---|---|
//! | `job`, `setup` | the module with its workload; bound to compiled code |
//! | `strategy`, `serve` | the strategies; each as a server of turns |
//! | `measure`, `measured` | times turns; the figures of one run |
//! | `gauge`, `sampler`, `cpu` | the events while a strategy serves; memory; processor time |
//! | `order`, `again`, `child` | one strategy in a process of its own: protocol, parent, child |
//! | `compare` | rounds of children, and their figures |
//! | `report`, `machine` | the figures, and the machine that measured them |
//! | `table`, `figures`, `html`, `report_page` | how they are shown |
//! | `plot`, `quantity` | bars, lines and ranges as SVG; numbers as people read them |
//!
//! A *turn* is one turn of the workload's repeat: one request of an application, such as to prove,
//! and to read, free and verify the proof.
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
