//! Runs a model under many schedules.

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

/// How many changes of the thread that goes first lead to a fault at most.
const DEPTH: usize = 3;

/// How many schedules are tried, and which.
#[derive(Clone, Copy, Debug)]
pub struct Schedules {
    /// By each of the two ways.
    pub count: usize,
    /// Where both begin.
    pub seed: u64,
}

impl Schedules {
    /// So many, or as many as `MODEL_SCHEDULES` says, from `MODEL_SEED` or else from one on.
    #[must_use]
    pub fn up_to(count: usize) -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        Self {
            count: number("MODEL_SCHEDULES")
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(count),
            seed: number("MODEL_SEED").unwrap_or(1),
        }
    }
}

/// Tells the seed if the model fails.
struct Seed(&'static str, u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "the schedules ({}) began with MODEL_SEED={}",
                self.0, self.1
            );
        }
    }
}

/// Runs a model under schedules chosen at random, and under such that change rarely.
///
/// # Panics
///
/// As the model does, or if it does not end. The schedule is printed.
pub fn check(schedules: Schedules, model: impl Fn() + Send + Sync + Copy + 'static) {
    let Schedules { count, seed } = schedules;
    run(
        "random",
        seed,
        RandomScheduler::new_from_seed(seed, count),
        model,
    );
    let pct = PctScheduler::new_from_seed(seed, DEPTH, count);
    run("rare changes", seed, pct, model);
}

fn run(
    name: &'static str,
    seed: u64,
    scheduler: impl Scheduler + 'static,
    model: impl Fn() + Send + Sync + 'static,
) {
    let _seed = Seed(name, seed);
    let mut config = Config::new();
    config.stack_size = 0x2_0000;
    config.max_steps = MaxSteps::FailAfter(100_000);
    Runner::new(scheduler, config).run(model);
}
