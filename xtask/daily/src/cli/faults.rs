//! Flags that inject faults into a start, for tests: `--start-order random`, `--seed`, `--slow`.
//!
//! The core draws the order and delays the services.

use std::time::{SystemTime, UNIX_EPOCH};

use clap_builder::builder::PossibleValue;
use clap_builder::{ArgMatches, Command, ValueEnum, value_parser};
use xtask_core::plan::{Request, StartOrder};

use super::arguments::{Arguments, all, flatten, option, options};
use super::print;
use crate::view::style;

/// Flags of `up` and `test-e2e`. Each command's group `chance` lists the flags that use the seed.
#[derive(Clone, Debug, Default)]
pub struct FaultArgs {
    pub start_order: Option<StartOrderWhen>,
    pub seed: Option<u64>,
    pub slow: Vec<String>,
}

impl Arguments for FaultArgs {
    fn add(command: Command) -> Command {
        command.args(
            [
                option("start-order", "HOW", "Start services one by one, in random order")
                    .value_parser(value_parser!(StartOrderWhen)),
                option(
                    "seed",
                    "NUMBER",
                    "Seed of the random faults; the same seed repeats them [default: a new one, \
                     which is printed]",
                )
                .value_parser(value_parser!(u64))
                .requires("chance"),
                options("slow", "SERVICE=TIME", "Delay the start of a service by this time"),
            ]
            .map(|option| option.help_heading("Faults")),
        )
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            start_order: matches.remove_one("start-order"),
            seed: matches.remove_one("seed"),
            slow: all(matches, "slow"),
        }
    }
}

flatten!(FaultArgs);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartOrderWhen {
    Random,
}

impl ValueEnum for StartOrderWhen {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Random]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let Self::Random = self;
        Some(PossibleValue::new("random").help("One by one, in an order that the seed draws"))
    }
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
