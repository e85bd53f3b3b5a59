//! The colours of views.
//!
//! Views always write colours, and streams remove them where they are not wanted. So no view needs
//! to know its output.

pub const RESET: &str = "\x1b[0m";
pub const GOOD: &str = "\x1b[1;32m";
/// Work in progress.
pub const BUSY: &str = "\x1b[1;36m";
pub const WARN: &str = "\x1b[1;33m";
pub const BAD: &str = "\x1b[1;31m";
/// Secondary text.
pub const DIM: &str = "\x1b[2m";
pub const BOLD: &str = "\x1b[1m";

/// Colours that distinguish services.
pub const SERVICES: [&str; 6] =
    ["\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[31m"];
