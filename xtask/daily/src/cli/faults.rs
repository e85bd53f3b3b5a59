//! Flags that inject faults into a start, for tests: `--start-order random`, `--seed`, `--slow`.
//!
//! The core draws the order and delays the services.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use xtask_core::plan::{Request, StartOrder};

use super::print;
use crate::view::style;

/// Flags of `up` and `test-e2e`. Each command's group `chance` lists the flags that use the seed.
#[derive(Clone, Debug, Default, Args)]
pub struct FaultArgs {
    /// Start services one by one, in random order
    #[arg(long, value_name = "HOW", help_heading = "Faults")]
    pub start_order: Option<StartOrderWhen>,
    /// Seed of the random faults; the same seed repeats them [default: a new one, which is printed]
    #[arg(long, value_name = "NUMBER", requires = "chance", help_heading = "Faults")]
    pub seed: Option<u64>,
    /// Delay the start of a service by this time
    #[arg(long, value_name = "SERVICE=TIME", help_heading = "Faults")]
    pub slow: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StartOrderWhen {
    /// One by one, in an order that the seed draws.
    Random,
}

impl FaultArgs {
    /// Adds the flags to a request. Without `--seed` it draws one and prints it.
    pub fn shape(&self, request: &mut Request) {
        if let Some(StartOrderWhen::Random) = self.start_order {
            request.start_order = StartOrder::Random { seed: self.seed_or_draw() };
        }
        request.slow.clone_from(&self.slow);
    }

    /// The given seed, or a new one, which is printed so that the run can be repeated.
    pub fn seed_or_draw(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // Short enough to type.
            let seed = u64::from(now.subsec_nanos()) % 1_000_000;
            print::progress(style::BUSY, "Seed", &format!("{seed} (repeat with `--seed {seed}`)"));
            seed
        })
    }
}
