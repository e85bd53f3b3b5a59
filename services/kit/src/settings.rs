//! Reads settings from environment variables. An error names the variable, its value, and the
//! expected value.
//!
//! `NAME_FILE` may name a file that contains the value of `NAME`, so that container engines can
//! pass secrets outside the environment. An empty variable counts as unset.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The source of settings: the process environment, or fixed pairs in a test.
pub struct Settings {
    pairs: Option<BTreeMap<String, String>>,
}

/// A missing or invalid setting.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// A required variable is not set.
    #[error(
        "`{name}` is not set, expected {expected}\nhint: set it, for example `{name}={example}`"
    )]
    Missing {
        /// The name of the variable.
        name: &'static str,
        /// A description of the expected value.
        expected: &'static str,
        /// A valid value.
        example: String,
    },
    /// The file with the value cannot be read.
    #[error("failed to read `{}`, which `{name}_FILE` names", path.display())]
    Unreadable {
        /// The name of the variable.
        name: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The variable has an invalid value.
    #[error("`{name}` is `{seen}`, expected {expected}")]
    Bad {
        /// The name of the variable.
        name: &'static str,
        /// Its value, without secrets.
        seen: String,
        /// A description of the expected value.
        expected: String,
    },
}

impl Settings {
    /// The environment of this process.
    pub fn from_process() -> Self {
        Self { pairs: None }
    }

    /// Fixed values, for tests.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { pairs: Some(pairs.collect()) }
    }

    /// The value of a variable, or else the content of the file that `NAME_FILE` names, without
    /// its final newline. `None` when both are unset or empty.
    ///
    /// # Errors
    /// When it is not valid UTF-8, or the file cannot be read.
    pub fn text(&self, name: &'static str) -> Result<Option<String>, SettingError> {
        match self.variable(name)? {
            None => self.text_of_file(name),
            text => Ok(text),
        }
    }

    /// The value of a variable, without the file that `NAME_FILE` may name: for a variable that
    /// others read, too. `None` when it is unset or empty.
    ///
    /// # Errors
    /// When it is not valid UTF-8.
    pub fn variable(&self, name: &'static str) -> Result<Option<String>, SettingError> {
        let raw = self.raw(name).filter(|raw| !raw.is_empty());
        raw.map(OsString::into_string)
            .transpose()
            .map_err(|raw| SettingError::bad(name, raw.to_string_lossy(), "text in UTF-8"))
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

    /// The value of a required variable; the error contains `expected` and `example`.
    ///
    /// # Errors
    /// When it is unset, empty, or not valid UTF-8.
    pub fn required(
        &self,
        name: &'static str,
        expected: &'static str,
        example: &str,
    ) -> Result<String, SettingError> {
        let missing = || SettingError::Missing { name, expected, example: example.to_owned() };
        self.text(name)?.ok_or_else(missing)
    }

    /// The value of a variable, parsed; `default` when it is unset.
    ///
    /// # Errors
    /// When it cannot be parsed; the error contains `expected`.
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

    /// The value of a variable as a time, such as `250ms` or `10s`; `default` when it is unset.
    ///
    /// # Errors
    /// When it is not a whole number of `ms`, `s` or `m`, or is zero.
    pub fn time(&self, name: &'static str, default: Duration) -> Result<Duration, SettingError> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        let time = parse_time(text.trim()).filter(|time| !time.is_zero());
        time.ok_or_else(|| SettingError::bad(name, text, "a time such as `250ms`, `10s` or `5m`"))
    }

    fn raw(&self, name: &str) -> Option<OsString> {
        match &self.pairs {
            None => std::env::var_os(name),
            Some(pairs) => pairs.get(name).map(OsString::from),
        }
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    let digits = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u32 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number.into())),
        "s" => Some(Duration::from_secs(number.into())),
        "m" => Some(Duration::from_secs(u64::from(number) * 60)),
        _ => None,
    }
}

impl SettingError {
    /// An invalid value.
    pub fn bad(name: &'static str, seen: impl Into<String>, expected: impl fmt::Display) -> Self {
        Self::Bad { name, seen: seen.into(), expected: expected.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_or_empty_variable_has_the_default() {
        let settings = Settings::from_pairs([("PORT", "")]);
        assert_eq!(settings.parsed("PORT", 5001_u16, "a port").unwrap(), 5001);
        assert_eq!(settings.parsed("OTHER", 7_u16, "a port").unwrap(), 7);
    }

    #[test]
    fn time_has_a_unit() {
        let default = Duration::from_secs(7);
        let read = |text| Settings::from_pairs([("T", text)]).time("T", default);
        assert_eq!(read("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(read("10s").unwrap(), Duration::from_secs(10));
        assert_eq!(read("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(read("").unwrap(), default);
        for wrong in ["10", "s", "0s", "1.5s", "10 s", "99999999999s", "1h"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`T` is `{wrong}`")), "{error}");
        }
    }

    #[test]
    fn bad_value_names_variable_value_and_expectation() {
        let settings = Settings::from_pairs([("PORT", "70000")]);
        let error = settings.parsed("PORT", 1_u16, "a port from 0 to 65535").unwrap_err();
        assert_eq!(error.to_string(), "`PORT` is `70000`, expected a port from 0 to 65535");
    }

    #[test]
    fn variable_overrides_its_file() {
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
    fn missing_value_has_an_example() {
        let settings = Settings::from_pairs([]);
        let error = settings.required("TODO_URL", "an address", "http://127.0.0.1:5001");
        let text = error.unwrap_err().to_string();
        assert!(text.contains("`TODO_URL` is not set"), "{text}");
        assert!(text.contains("TODO_URL=http://127.0.0.1:5001"), "{text}");
    }
}
