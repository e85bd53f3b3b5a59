//! Flags that make a start worse than it need be, for tests: `--start-order random`,
//! `--seed`, `--slow`.
//!
//! What a slow service is, and who is drawn, is decided in the core.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use xtask_core::plan::{Request, StartOrder};

use super::print;
use crate::view::style;

/// Flags of `up` and `test-e2e`. What a seed is for is the group `chance` of either.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FaultArgs {
    /// `random`: start services one by one, in an order that the seed draws
    #[arg(long, value_name = "HOW", help_heading = "Faults")]
    pub(crate) start_order: Option<StartOrderWhen>,
    /// Where chance begins: the same number, the same faults [default: another each time]
    #[arg(long, value_name = "NUMBER", requires = "chance", help_heading = "Faults")]
    pub(crate) seed: Option<u64>,
    /// Start a service so much later than it could be
    #[arg(long, value_name = "SERVICE=TIME", help_heading = "Faults")]
    pub(crate) slow: Vec<String>,
}

/// In which order services start that could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StartOrderWhen {
    /// One after the other, drawn.
    Random,
}

impl FaultArgs {
    /// Adds to a request what is asked for. A seed that nobody named is drawn and said.
    pub(crate) fn shape(&self, request: &mut Request) {
        request.start_order = match self.start_order {
            None => StartOrder::AtOnce,
            Some(StartOrderWhen::Random) => StartOrder::Random { seed: self.seed_or_draw() },
        };
        request.slow.clone_from(&self.slow);
    }

    /// Those of a start: it has no use for a seed if it draws nothing.
    pub(crate) fn of_start(&self) -> Self {
        Self { seed: self.seed.filter(|_| self.start_order.is_some()), ..self.clone() }
    }

    /// The seed; one that nobody named is drawn and said, so that it can be named.
    pub(crate) fn seed_or_draw(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // Short enough to be typed.
            let seed = u64::from(now.subsec_nanos()) % 1_000_000;
            print::say(style::BUSY, "Seed", &format!("{seed} (again: `--seed {seed}`)"));
            seed
        })
    }

    /// The same flags, for a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.start_order.is_some() {
            words.extend(["--start-order", "random"].map(str::to_owned));
        }
        if let Some(seed) = self.seed {
            words.extend(["--seed".to_owned(), seed.to_string()]);
        }
        for slow in &self.slow {
            words.extend(["--slow".to_owned(), slow.clone()]);
        }
        words
    }
}
