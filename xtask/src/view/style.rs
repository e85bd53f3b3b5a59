//! The colours that views write.
//!
//! They write them always; the streams take them out where nobody wants them, so that no
//! view asks what it writes to.

/// Back to normal.
pub(crate) const RESET: &str = "\x1b[0m";
/// Something went well.
pub(crate) const GOOD: &str = "\x1b[1;32m";
/// Something goes on.
pub(crate) const BUSY: &str = "\x1b[1;36m";
/// Something deserves a look.
pub(crate) const WARN: &str = "\x1b[1;33m";
/// Something went wrong.
pub(crate) const BAD: &str = "\x1b[1;31m";
/// Of less interest.
pub(crate) const DIM: &str = "\x1b[2m";
/// Of more interest.
pub(crate) const BOLD: &str = "\x1b[1m";

/// The colours that tell services apart.
pub(crate) const SERVICES: [&str; 6] =
    ["\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[31m"];
