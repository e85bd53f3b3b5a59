//! Settings from the environment: each value is asked for by name and a bad one is an error that
//! names the variable, what was seen, and what was expected.
//!
//! A secret may lie in a file that `NAME_FILE` names, as container engines hand them out: it then
//! shows in no environment. There is no command line here and no default: a service states them
//! where it asks. An empty variable counts as one that is not set.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where settings come from: the process environment, or fixed pairs in a test.
pub struct Settings {
    source: Source,
}

enum Source {
    Process,
    Pairs(BTreeMap<String, String>),
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The variable is needed and not set.
    #[error(
        "`{name}` is not set, expected {expected}\nhint: set it, for example `{name}={example}`"
    )]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it should hold, in words.
        expected: &'static str,
        /// A value that would do.
        example: &'static str,
    },
    /// The file that holds the value cannot be read.
    #[error("cannot read `{}`, which `{name}_FILE` names", path.display())]
    Unreadable {
        /// The variable.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The variable is set to something that cannot be read.
    #[error("`{name}` is `{seen}`, expected {expected}")]
    Bad {
        /// The variable.
        name: &'static str,
        /// Its value, as far as it can be shown.
        seen: String,
        /// What it should hold, in words.
        expected: String,
    },
}

impl Settings {
    /// The environment of this process.
    pub fn from_process() -> Self {
        Self { source: Source::Process }
    }

    /// Fixed values, for tests.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { source: Source::Pairs(pairs.collect()) }
    }

    /// The text of a variable, or else of the file that `NAME_FILE` names, without a line end;
    /// `None` when both are unset or empty.
    ///
    /// # Errors
    /// When it is not valid UTF-8, or the file cannot be read.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, SettingError> {
        match self.raw(name).filter(|raw| !raw.is_empty()) {
            None => self.text_of_file(name),
            Some(raw) => raw.into_string().map(Some).map_err(|raw| SettingError::Bad {
                name,
                seen: raw.to_string_lossy().into_owned(),
                expected: "text in UTF-8".to_owned(),
            }),
        }
    }

    fn text_of_file(&self, name: &'static str) -> Result<Option<String>, SettingError> {
        let variable = format!("{name}_FILE");
        let Some(path) = self.raw(&variable).filter(|raw| !raw.is_empty()) else { return Ok(None) };
        let path = PathBuf::from(path);
        let text = std::fs::read_to_string(&path).map_err(|source| SettingError::Unreadable {
            name,
            path,
            source,
        })?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| !text.is_empty()))
    }

    /// The text of a variable that must be set; `expected` and `example` go into the error.
    ///
    /// # Errors
    /// When it is unset, empty, or not valid UTF-8.
    pub fn required(
        &self,
        name: &'static str,
        expected: &'static str,
        example: &'static str,
    ) -> Result<String, SettingError> {
        self.text(name)?.ok_or(SettingError::Missing { name, expected, example })
    }

    /// A variable read with [`FromStr`], `default` when it is unset.
    ///
    /// # Errors
    /// When it cannot be parsed; `expected` says in words what would have been right.
    pub fn parsed<T: FromStr>(
        &self,
        name: &'static str,
        default: T,
        expected: &str,
    ) -> Result<T, SettingError> {
        match self.text(name)? {
            None => Ok(default),
            Some(text) => text.trim().parse().map_err(|_| SettingError::bad(name, text, expected)),
        }
    }

    fn raw(&self, name: &str) -> Option<OsString> {
        match &self.source {
            Source::Process => std::env::var_os(name),
            Source::Pairs(pairs) => pairs.get(name).map(OsString::from),
        }
    }
}

impl SettingError {
    /// A value that was read and found wrong.
    pub fn bad(name: &'static str, seen: impl Into<String>, expected: impl fmt::Display) -> Self {
        Self::Bad { name, seen: seen.into(), expected: expected.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unset_or_empty_variable_takes_the_default() {
        let settings = Settings::from_pairs([("PORT", "")]);
        assert_eq!(settings.parsed("PORT", 5001_u16, "a port").unwrap(), 5001);
        assert_eq!(settings.parsed("OTHER", 7_u16, "a port").unwrap(), 7);
    }

    #[test]
    fn a_bad_value_is_an_error_that_names_the_variable_and_both_sides() {
        let settings = Settings::from_pairs([("PORT", "70000")]);
        let error = settings.parsed("PORT", 1_u16, "a port from 0 to 65535").unwrap_err();
        assert_eq!(error.to_string(), "`PORT` is `70000`, expected a port from 0 to 65535");
    }

    #[test]
    fn a_secret_is_read_from_the_file_that_a_variable_names_unless_it_is_set() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "postgres://app:hidden@db/todo\n").unwrap();
        let path = file.path().to_str().unwrap();
        let text = |pairs: &[(&str, &str)]| {
            Settings::from_pairs(pairs.iter().copied()).text("DATABASE_URL")
        };
        let found = text(&[("DATABASE_URL_FILE", path)]).unwrap();
        assert_eq!(found.as_deref(), Some("postgres://app:hidden@db/todo"));
        let found = text(&[("DATABASE_URL", "sqlite::memory:"), ("DATABASE_URL_FILE", path)]);
        assert_eq!(found.unwrap().as_deref(), Some("sqlite::memory:"));
        let error = text(&[("DATABASE_URL_FILE", "/nowhere/secret")]).unwrap_err();
        assert!(error.to_string().contains("`DATABASE_URL_FILE` names"), "{error}");
    }

    #[test]
    fn a_missing_value_is_an_error_with_an_example() {
        let settings = Settings::from_pairs([]);
        let error = settings.required("TODO_URL", "an address", "http://127.0.0.1:5001");
        let text = error.unwrap_err().to_string();
        assert!(text.contains("`TODO_URL` is not set"), "{text}");
        assert!(text.contains("TODO_URL=http://127.0.0.1:5001"), "{text}");
    }
}
