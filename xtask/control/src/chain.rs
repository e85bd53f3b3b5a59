//! An error with its causes as one text, for every message of the tool.

use std::error::Error;

/// The error and its causes, joined by `: `.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
