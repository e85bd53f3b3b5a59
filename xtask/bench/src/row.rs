//! One row of the result.

use serde_json::{Value, json};

use crate::Bench;
use crate::samples::Samples;

/// Ours and the lower bound, what is to be reached, and other tools.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Unique, such as `chain-50-whole`.
    pub(crate) name: String,
    pub(crate) what: String,
    /// The curve of the plot to which it belongs, and the number of services.
    pub(crate) curve: Option<(Curve, usize)>,
    pub(crate) unit: &'static str,
    pub(crate) ours: Samples,
    /// The lower bound, in the same unit.
    pub(crate) ideal: Option<Samples>,
    pub(crate) limit: Option<Limit>,
    pub(crate) peers: Vec<(&'static str, Samples)>,
    /// Further facts, in words.
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    Chain,
    Wide,
    Memory,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// This times the lower bound.
    Times(f64),
    /// This more than the lower bound.
    More(f64),
    AtMost(f64),
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            what: what.into(),
            curve: None,
            unit: "ms",
            ours: Samples::default(),
            ideal: None,
            limit: None,
            peers: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Ours divided by the lower bound.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let ideal = self.ideal.as_ref()?.median();
        (ideal > 0.0).then(|| self.ours.median() / ideal)
    }

    /// The highest median that reaches the limit.
    pub(crate) fn highest(&self) -> Option<f64> {
        let ideal = self.ideal.as_ref().map(Samples::median);
        match self.limit? {
            Limit::Times(factor) => Some(ideal? * factor),
            Limit::More(more) => Some(ideal? + more),
            Limit::AtMost(value) => Some(value),
        }
    }

    pub(crate) fn is_reached(&self) -> Option<bool> {
        Some(self.ours.median() <= self.highest()?)
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "services": self.curve.map(|(_, size)| size),
            "ours": samples(&self.ours),
            "ideal": self.ideal.as_ref().map(samples),
            "ratio": self.ratio(),
            "limit": self.highest(),
            "reached": self.is_reached(),
            "peers": self.peers.iter().map(|(name, values)| {
                json!({ "name": name, "value": samples(values) })
            }).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

fn samples(samples: &Samples) -> Value {
    let (lowest, highest) = samples.range();
    json!({
        "median": samples.median(),
        "lowest": lowest,
        "highest": highest,
        "values": samples.values(),
    })
}

/// All rows and what they were measured with.
pub(crate) fn json(rows: &[Row], bench: &Bench) -> Value {
    json!({
        "tool": bench.programs.tool,
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "runs": bench.runs,
        "quick": bench.quick,
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_counts_from_the_lower_bound() {
        let mut row = Row::new("a", "b");
        row.ours = Samples::of(14.0);
        row.ideal = Some(Samples::of(10.0));
        for (limit, reached) in [
            (Limit::Times(1.5), true),
            (Limit::Times(1.3), false),
            (Limit::More(4.0), true),
            (Limit::AtMost(13.0), false),
        ] {
            row.limit = Some(limit);
            assert_eq!(row.is_reached(), Some(reached), "{limit:?}");
        }
        assert_eq!(row.ratio(), Some(1.4));
    }
}
