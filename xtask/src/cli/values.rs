//! How the forms of a graph and the targets of an export are written on the command line.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::view::export::Target;
use crate::view::graph::Format;

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

impl ValueEnum for Target {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Compose, Self::Swarm, Self::Kubernetes]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Compose => ("compose", "A file for Docker Compose: one machine"),
            Self::Swarm => ("swarm", "A stack file for Docker Swarm: several machines"),
            Self::Kubernetes => ("kubernetes", "Objects for Kubernetes"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}
