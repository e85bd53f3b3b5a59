//! What a service inherits from the command that starts it: variables, umask, nice value and
//! resource limits. Plain data; the tool reads and applies them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The context of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Context {
    /// Its variables, in order of name, without those that describe its own process.
    pub variables: Vec<(OsText, OsText)>,
    /// Its file mode creation mask; none where the system does not show it.
    pub umask: Option<u32>,
    /// Its nice value.
    pub nice: Option<i32>,
    /// Its resource limits.
    pub limits: Vec<Limit>,
}

/// A resource limit, in the numbers of this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The number of the resource: `RLIMIT_NOFILE` and so on.
    pub resource: u32,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// Text of the system. JSON has it as text, or as bytes if it is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OsText(pub OsString);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(Vec<u8>),
}

impl Context {
    /// The value of a variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        let place =
            self.variables.binary_search_by(|(set, _)| set.0.as_os_str().cmp(name.as_ref()));
        place.ok().map(|place| self.variables[place].1.0.as_os_str())
    }
}

impl Serialize for OsText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => text.serialize(serializer),
            None => self.0.as_bytes().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(text) => text.into(),
            Written::Bytes(bytes) => OsString::from_vec(bytes),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_survives_json_byte_by_byte() {
        let odd = OsText(OsString::from_vec(vec![b'a', 0xff]));
        let variables = vec![(OsText("A".into()), odd), (OsText("B".into()), OsText("x y".into()))];
        let limit = Limit { resource: 7, soft: 64, hard: u64::MAX };
        let context = Context { variables, umask: Some(0o27), nice: Some(-3), limits: vec![limit] };
        let json = serde_json::to_string(&context).unwrap();
        assert_eq!(serde_json::from_str::<Context>(&json).unwrap(), context);
        assert_eq!(context.variable("B"), Some(OsStr::new("x y")));
        assert_eq!(context.variable("C"), None);
    }
}
