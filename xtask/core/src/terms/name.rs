//! The name of a service, as in every event, effect and message.
//!
//! Cheap to clone, ordered, and plain text in JSON. The manifest reader checks the spelling,
//! because it can point at the file.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;
use core::ops::Deref;

use serde::{Deserialize, Serialize};

/// The name of a service or job, unique in its stack.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its host in networks of containers and in exports: a label of RFC 1123, with
    /// small letters, digits and `-`. A name has at most 63 letters.
    #[must_use]
    pub fn host(&self) -> String {
        let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let host: String = self.0.chars().map(fit).collect();
        host.trim_matches('-').to_string()
    }

    /// The names by which containers call it: its host, and itself if that differs.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        let host = self.host();
        let own = (*self.0 != *host).then(|| self.0.to_string());
        core::iter::once(host).chain(own)
    }

    /// The name as the prefix of a variable; see [`variable_prefix`].
    #[must_use]
    pub fn variable_prefix(&self) -> String {
        variable_prefix(&self.0)
    }
}

/// Whether a program can be given a variable of this name: letters, digits, `_`, `.` and `-`. The
/// system accepts more, which shells, env-files and containers cannot spell.
#[must_use]
pub fn is_variable_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    !name.is_empty() && name.chars().all(fits)
}

/// The variable by which the tool recognises the processes of a stack. Only the tool sets it.
pub const MARK_VARIABLE: &str = "XTASK_MARK";

/// The mistake and the hint if metadata cannot set a variable of this name.
#[must_use]
pub fn variable_mistake(name: &str) -> Option<(&'static str, &'static str)> {
    match name {
        MARK_VARIABLE => Some((
            "is the variable that marks the processes of a stack",
            "remove it, or use another name",
        )),
        name if is_variable_name(name) => None,
        _ => Some(("cannot be the name of a variable", "write letters, digits and `_`")),
    }
}

/// `text` in the spelling of environment variables: upper case, everything that is
/// not an ASCII letter or digit as `_`.
#[must_use]
pub fn variable_prefix(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect()
}

impl Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_a_label() {
        let hosts = |name: &str| Name::from(name).hosts().collect::<alloc::vec::Vec<_>>();
        assert_eq!(hosts("shop"), ["shop"]);
        assert_eq!(hosts("user_store"), ["user-store", "user_store"]);
        assert_eq!(hosts("Cache_"), ["cache", "Cache_"]);
    }
}
