//! `density`: what many instances from one snapshot cost together, on every engine. The snapshot is
//! one of a guest whose memory was grown and written to. `docs/checkpoints.md` has the figures.

use std::env;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use benches::engines::{Column, all};
use benches::guests::GuestModule;
use clap::{Parser, ValueEnum};
use comparison::table::Table;
use engine_api::{Imports, Instance, InstanceExt, Limits, Module, Snapshot, Val};
use serde::{Deserialize, Serialize};

const KIB_PER_MIB: u64 = 1024;
const MIB: u64 = 1 << 20;
/// A page of WebAssembly.
const PAGE: u64 = 64 << 10;
/// The system's page on the machines that engines run on. Larger ones are only read more often.
const SYSTEM_PAGE: u64 = 4096;

/// What an instance may cost, beside its share of the image.
const INSTANCE_KIB_MAX: u64 = 64;

/// Restores many instances from one snapshot and measures the memory of the process
#[derive(Debug, Parser)]
struct Args {
    /// How many instances to restore
    #[arg(long, value_name = "N", default_value_t = 1000)]
    instances: u64,

    /// The size of the snapshot's memory
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    image_mib: u64,

    /// How many of them then read all of the image: each maps all of its pages, which takes a second
    #[arg(long, value_name = "N", default_value_t = 16)]
    readers: u64,

    /// The guest
    #[arg(long, value_enum, default_value_t = Guest::Prover)]
    guest: Guest,

    /// Measure one engine [default: each that is compiled in, in a process of its own]
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,

    /// Print the measurement of one engine as JSON
    #[arg(long, requires = "engine")]
    json: bool,
}

/// Guests that export a memory and `guest_alloc`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Guest {
    /// The prover, of 609 functions.
    Prover,
    /// SQLite, of 1,484 functions.
    Sqlite,
}

impl Guest {
    fn module(self) -> GuestModule {
        match self {
            Guest::Prover => GuestModule::prover(),
            Guest::Sqlite => GuestModule::sqlite(),
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let measured = match &args.engine {
        Some(name) => vec![args.measure(named(name)?)?],
        None => all()
            .into_iter()
            .map(|column| args.again(column))
            .collect::<Result<_>>()?,
    };
    if args.json {
        println!("{}", serde_json::to_string(&measured[0])?);
        return Ok(());
    }
    print!("{}", args.table(&measured).markdown());
    Ok(())
}

fn named(name: &str) -> Result<Column> {
    let column = all().into_iter().find(|column| column.name == name);
    column.with_context(|| format!("no engine is called {name}, of those that are compiled in"))
}

/// The memory of the process at four moments.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    name: String,
    /// The snapshot exists, and no instance.
    start: Footprint,
    /// All instances were restored.
    restored: Footprint,
    /// Each has allocated, in a call.
    called: Footprint,
    /// Some have read all of their memory.
    read: Footprint,
}

/// What the system says of this process.
#[derive(Debug, Serialize, Deserialize)]
struct Footprint {
    /// Resident memory. Each page counts by the part of its mappings that are this process's.
    pss_kib: u64,
    /// Resident memory that belongs to no file.
    anonymous_kib: u64,
    /// The page tables, which are no part of the above.
    page_tables_kib: u64,
    /// The number of mappings.
    mappings: usize,
}

impl Footprint {
    fn now() -> Result<Self> {
        let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
        let status = fs::read_to_string("/proc/self/status")?;
        Ok(Self {
            pss_kib: kib(&rollup, "Pss:")?,
            anonymous_kib: kib(&rollup, "Anonymous:")?,
            page_tables_kib: kib(&status, "VmPTE:")?,
            mappings: fs::read_to_string("/proc/self/maps")?.lines().count(),
        })
    }
}

fn kib(text: &str, field: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    number.with_context(|| format!("the system does not say {field}"))
}

impl Args {
    /// Measures one engine in a process of its own.
    fn again(&self, column: Column) -> Result<Measured> {
        let guest = self.guest.to_possible_value();
        let guest = guest.context("every guest can be chosen")?;
        eprintln!("{} ..", column.name);
        let output = Command::new(env::current_exe()?)
            .args(["--json", "--engine", column.name])
            .args(["--guest", guest.get_name()])
            .args(["--instances", &self.instances.to_string()])
            .args(["--image-mib", &self.image_mib.to_string()])
            .args(["--readers", &self.readers.to_string()])
            .stderr(std::process::Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "{} failed", column.name);
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn measure(&self, column: Column) -> Result<Measured> {
        let module = column.compile(&self.guest.module());
        let snapshot = self.snapshot(&*module)?;
        let start = Footprint::now()?;
        let (imports, limits) = (Imports::default(), Limits::default());
        let mut instances = (0..self.instances)
            .map(|_| module.restore(&imports, &limits, &snapshot))
            .collect::<Result<Vec<_>, _>>()?;
        let restored = Footprint::now()?;
        for instance in &mut instances {
            instance.invoke("guest_alloc", &[Val::I32(1000)])?;
        }
        let called = Footprint::now()?;
        for (instance, _) in instances.iter().zip(0..self.readers) {
            read_all(&**instance)?;
        }
        Ok(Measured {
            name: column.name.to_owned(),
            start,
            restored,
            called,
            read: Footprint::now()?,
        })
    }

    /// A snapshot of a guest whose memory has the size of the image. No page that it grew by is
    /// zeros.
    fn snapshot(&self, module: &dyn Module) -> Result<Snapshot> {
        let mut instance = module.instantiate(&Imports::default(), &Limits::default())?;
        let memory = instance.memory_index("memory")?;
        let (size, grown) = (instance.memory_size(memory)?, self.image_mib * MIB);
        let delta = grown
            .checked_sub(size)
            .context("the guest is larger than the image")?;
        instance.memory_grow(memory, delta / PAGE)?;
        let page = vec![0x5a; usize::try_from(PAGE)?];
        for at in size / PAGE..grown / PAGE {
            instance.memory_write(memory, at * PAGE, &page)?;
        }
        Ok(instance.capture()?)
    }

    /// The image once, a hundredth of it, and 64 KiB for each instance; beside what there was.
    fn pss_kib_max(&self, measured: &Measured) -> u64 {
        let image = self.image_mib * KIB_PER_MIB;
        measured.start.pss_kib + image + image / 100 + self.instances * INSTANCE_KIB_MAX
    }

    fn table(&self, measured: &[Measured]) -> Table {
        let mut columns = vec![""];
        columns.extend(measured.iter().map(|engine| engine.name.as_str()));
        let row = |title: &str, cell: &dyn Fn(&Measured) -> String| {
            let cells = measured.iter().map(cell);
            std::iter::once(title.to_owned()).chain(cells).collect()
        };
        let mib = |kib: u64| format!("{:.1} MiB", mib(kib));
        let each = |kib: u64| format!("{:.1} KiB", per(kib, self.instances));
        Table::new(
            &columns,
            vec![
                row("PSS before any", &|engine| mib(engine.start.pss_kib)),
                row("restored", &|engine| mib(engine.restored.pss_kib)),
                row("one allocation each", &|engine| mib(engine.called.pss_kib)),
                row("the whole image read by some", &|engine| {
                    mib(engine.read.pss_kib)
                }),
                row("at most wanted", &|engine| mib(self.pss_kib_max(engine))),
                row("of its own, per instance", &|engine| {
                    each(engine.restored.anonymous_kib - engine.start.anonymous_kib)
                }),
                row("after one allocation", &|engine| {
                    each(engine.called.anonymous_kib - engine.start.anonymous_kib)
                }),
                row("mappings per instance", &|engine| {
                    let more = engine.restored.mappings - engine.start.mappings;
                    format!("{:.1}", per(more as u64, self.instances))
                }),
                row("page tables per instance", &|engine| {
                    each(engine.called.page_tables_kib - engine.start.page_tables_kib)
                }),
                row("and per reader", &|engine| {
                    let more = engine.read.page_tables_kib - engine.called.page_tables_kib;
                    format!("{:.1} KiB", per(more, self.readers.min(self.instances)))
                }),
            ],
        )
    }
}

/// Reads a byte of each page, which maps all of the image's pages.
fn read_all(instance: &dyn Instance) -> Result<()> {
    let memory = instance.memory_index("memory")?;
    let mut byte = [0];
    for page in 0..instance.memory_bytes() / SYSTEM_PAGE {
        instance.memory_read(memory, page * SYSTEM_PAGE, &mut byte)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn per(kib: u64, instances: u64) -> f64 {
    kib as f64 / instances as f64
}

fn mib(kib: u64) -> f64 {
    per(kib, KIB_PER_MIB)
}
