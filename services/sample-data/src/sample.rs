//! The sample data: two JSON files of the original.
//!
//! The order of the files is kept, because the services return lists in order of creation. A
//! `serde_json` map would sort them.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// The data to import.
#[derive(Debug)]
pub(crate) struct Sample {
    /// People by username.
    pub(crate) users: Vec<(String, Person)>,
    /// Lists by username; each list has a name and titles.
    pub(crate) lists: Vec<(String, Entries<Vec<String>>)>,
}

/// A person of the sample.
#[derive(Debug, Deserialize)]
pub(crate) struct Person {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) verified: i64,
}

/// The members of a JSON object, in the order of the file.
#[derive(Debug)]
pub(crate) struct Entries<T>(pub(crate) Vec<(String, T)>);

/// A built-in file cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the built-in `{file}`")]
pub(crate) struct SampleError {
    file: &'static str,
    source: serde_json::Error,
}

impl Sample {
    /// The data of the built-in files.
    pub(crate) fn built_in() -> Result<Self, SampleError> {
        let users: Entries<Person> = parse("users.json", include_str!("../data/users.json"))?;
        let lists: Entries<_> = parse("todo.json", include_str!("../data/todo.json"))?;
        Ok(Self { users: users.0, lists: lists.0 })
    }
}

fn parse<'a, T: Deserialize<'a>>(file: &'static str, text: &'a str) -> Result<T, SampleError> {
    serde_json::from_str(text).map_err(|source| SampleError { file, source })
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Entries<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_files_keep_their_order() {
        let sample = Sample::built_in().unwrap();
        let ids: Vec<_> = sample.users.iter().map(|(_, person)| person.id).collect();
        assert_eq!(ids, [1, 2, 4]);
        let (username, lists) = &sample.lists[0];
        assert_eq!(username, "saurabh_badhwar");
        let names: Vec<_> = lists.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["home", "work"]);
        assert_eq!(lists.0[0].1[0], "Buy milk");
    }
}
