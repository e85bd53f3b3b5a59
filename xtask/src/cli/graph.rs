//! `graph`: draws the services and their edges.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use xtask::cli::plan_args::StackArgs;
use xtask::cli::{Exit, Global, load, print};

use crate::view::graph::{Format, draw};

#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// Draw these services and their dependencies [default: the workspace's default services]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Draw in this format
    #[arg(long, value_name = "FORM", default_value = "text")]
    format: Format,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    stack: StackArgs,
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Mermaid, Self::Dot, Self::Svg, Self::Json]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Text => ("text", "A tree for a terminal"),
            Self::Mermaid => ("mermaid", "For Markdown pages that draw Mermaid"),
            Self::Dot => ("dot", "For Graphviz"),
            Self::Svg => ("svg", "A picture that needs no other program"),
            Self::Json => ("json", "For programs"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

pub(crate) fn run(global: &Global, args: &GraphArgs) -> anyhow::Result<Exit> {
    let loaded = load::plan(global, &args.services, |request| args.stack.shape(request))?;
    let format = if args.json { Format::Json } else { args.format };
    print::out(&draw(&loaded.plan, format))?;
    Ok(Exit::DONE)
}
