//! The colours of views.
//!
//! Views always write colours, and streams remove them where they are not wanted. So no view needs
//! to know its output.

pub(crate) const RESET: &str = "\x1b[0m";
pub(crate) const GOOD: &str = "\x1b[1;32m";
/// Work in progress.
pub(crate) const BUSY: &str = "\x1b[1;36m";
pub(crate) const WARN: &str = "\x1b[1;33m";
pub(crate) const BAD: &str = "\x1b[1;31m";
/// Secondary text.
pub(crate) const DIM: &str = "\x1b[2m";
pub(crate) const BOLD: &str = "\x1b[1m";

/// Colours that distinguish services.
pub(crate) const SERVICES: [&str; 6] =
    ["\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[31m"];
