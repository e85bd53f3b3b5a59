//! The patterns of `watch` in the metadata, as globset reads them.

use globset::{Error, GlobBuilder, GlobMatcher};

/// The matcher of a pattern. `*` matches no `/`.
///
/// # Errors
/// When the text is no pattern.
pub(crate) fn pattern(text: &str) -> Result<GlobMatcher, Error> {
    Ok(GlobBuilder::new(text).literal_separator(true).build()?.compile_matcher())
}
