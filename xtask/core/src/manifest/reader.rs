//! Reads typed values from a table, and reports every mistake.
//!
//! A mistake does not end the reading: the key counts as absent, and the reader continues,
//! so one run reports everything. It knows types, not meanings.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::{Range, RangeInclusive};
use core::time::Duration;

use super::Manifest;
use super::value::{Key, Table, Value, ValueKind};
use super::{At, TextAt};
use crate::problem::{Code, Problem, Span};
use crate::terms::duration;
use crate::terms::suggest::{list, nearest};
use crate::terms::words::{command_list, word_list};

/// Reads one manifest.
pub(crate) struct Reader<'a> {
    pub(crate) manifest: &'a Manifest,
    /// The offsets of the bytes that end the lines of the manifest.
    pub(crate) line_ends: Vec<usize>,
    /// The mistakes found so far.
    pub(crate) problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// A value at a place of this manifest.
    pub(crate) fn at<T>(&self, bytes: &Range<usize>, value: T) -> At<T> {
        At { value, span: self.span(bytes), line: self.line(bytes.start) }
    }

    /// The line of a byte, counted from 1.
    fn line(&self, byte: usize) -> u32 {
        let before = self.line_ends.partition_point(|end| *end < byte);
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// A place in this manifest.
    pub(crate) fn span(&self, bytes: &Range<usize>) -> Span {
        Span { file: self.manifest.file.clone(), bytes: bytes.clone() }
    }

    /// Reports a mistake.
    pub(crate) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports a mistake at one place, and returns no value.
    pub(crate) fn report<T>(
        &mut self,
        code: Code,
        bytes: &Range<usize>,
        message: String,
        hint: &str,
    ) -> Option<T> {
        self.problem(Problem::error(code, message).at(self.span(bytes), "").hint(hint));
        None
    }

    /// Reports every key of `table` that is not one of `known`.
    pub(crate) fn known_keys(&mut self, table: &Table, known: &[&str], what: &str) {
        let unknown = |key: &&Key| !known.contains(&key.name.as_str());
        for key in table.entries.iter().map(|(key, _)| key).filter(unknown) {
            let message = format!("unknown key `{}` in {what}", key.name);
            let problem = Problem::error(Code::UnknownKey, message).at(self.span(&key.bytes), "");
            self.problem(match nearest(&key.name, known.iter().copied()) {
                Some(meant) => problem.hint(format!("did you mean `{meant}`?")),
                None => problem
                    .note(format!("known keys are {}", list(known.iter().copied())))
                    .hint(format!("remove `{}`", spelled_key(&key.name))),
            });
        }
    }

    /// Reports a value of the wrong type, and returns no value.
    pub(crate) fn wrong_type<T>(
        &mut self,
        key: &str,
        value: &Value,
        expected: &str,
        hint: &str,
    ) -> Option<T> {
        let message = format!("`{key}` must be {expected}, not {}", type_name(&value.kind));
        let problem = Problem::error(Code::WrongType, message)
            .at(self.span(&value.bytes), format!("expected {expected}"));
        self.problem(problem.hint(hint));
        None
    }

    /// Reports a value that is not allowed, and returns no value.
    pub(crate) fn bad_value<T>(
        &mut self,
        bytes: &Range<usize>,
        message: String,
        hint: &str,
    ) -> Option<T> {
        self.report(Code::BadValue, bytes, message, hint)
    }

    pub(crate) fn string(&mut self, key: &str, value: &Value) -> Option<TextAt> {
        let hint = match &value.kind {
            ValueKind::String(text) if text.contains('\0') => {
                let message = format!("`{key}` contains a NUL byte, which programs cannot receive");
                return self.bad_value(&value.bytes, message, "remove `\\u0000`");
            }
            ValueKind::String(text) => return Some(self.at(&value.bytes, text.clone())),
            ValueKind::Integer(number) => format!("write `\"{number}\"`"),
            ValueKind::Boolean(truth) => format!("write `\"{truth}\"`"),
            _ => format!("write `{key} = \"...\"`"),
        };
        self.wrong_type(key, value, "text", &hint)
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &str, value: &Value) -> Option<At<bool>> {
        if let ValueKind::Boolean(truth) = value.kind {
            return Some(self.at(&value.bytes, truth));
        }
        self.wrong_type(key, value, "`true` or `false`", &format!("write `{key} = true`"))
    }

    /// A list of texts.
    pub(crate) fn strings(&mut self, key: &str, value: &Value) -> Option<At<Vec<TextAt>>> {
        let ValueKind::Array(items) = &value.kind else {
            let hint = match &value.kind {
                ValueKind::String(text) if key == "command" => {
                    format!("write `{key} = {}`", command_list(text))
                }
                ValueKind::String(text) => format!("write `{key} = {}`", word_list(text)),
                _ => format!("write `{key} = [\"...\"]`"),
            };
            return self.wrong_type(key, value, "a list of texts", &hint);
        };
        let words = items.iter().filter_map(|item| self.string(key, item)).collect();
        Some(self.at(&value.bytes, words))
    }

    /// A list of texts, empty after a mistake.
    pub(crate) fn words(&mut self, key: &str, value: &Value) -> Vec<TextAt> {
        self.strings(key, value).map(|at| at.value).unwrap_or_default()
    }

    pub(crate) fn table<'t>(&mut self, key: &str, value: &'t Value) -> Option<&'t Table> {
        if let ValueKind::Table(table) = &value.kind {
            return Some(table);
        }
        self.wrong_type(key, value, "a table", &format!("write `{key} = {{ ... }}`"))
    }

    /// A duration with its unit.
    pub(crate) fn duration(&mut self, key: &str, value: &Value) -> Option<At<Duration>> {
        if let ValueKind::Integer(number) = value.kind {
            let hint = format!("write the unit: `{key} = \"{number}s\"`");
            return self.wrong_type(key, value, "text with a unit", &hint);
        }
        let words = self.string(key, value)?;
        match duration::parse(&words.value) {
            Ok(duration) => Some(words.with(duration)),
            Err(why) => {
                let message = format!("`{}` {why}", words.value);
                self.bad_value(&value.bytes, message, "write `\"200ms\"`, `\"10s\"` or `\"2m\"`")
            }
        }
    }

    /// A duration that is not zero.
    pub(crate) fn wait(&mut self, key: &str, value: &Value, example: &str) -> Option<At<Duration>> {
        let duration = self.duration(key, value)?;
        if duration.value.is_zero() {
            let hint = format!("write `{key} = \"{example}\"`, or remove `{key}`");
            let message = format!("`{key}` must be greater than zero");
            return self.bad_value(&value.bytes, message, &hint);
        }
        Some(duration)
    }

    /// A whole number of things.
    pub(crate) fn count(
        &mut self,
        key: &str,
        value: &Value,
        allowed: RangeInclusive<u32>,
        example: u32,
    ) -> Option<At<u32>> {
        let hint = format!("write `{key} = {example}`");
        let ValueKind::Integer(number) = value.kind else {
            return self.wrong_type(key, value, "a whole number", &hint);
        };
        if let Ok(count) = u32::try_from(number)
            && allowed.contains(&count)
        {
            return Some(self.at(&value.bytes, count));
        }
        let (least, most) = allowed.into_inner();
        let message = format!("`{key}` must be {least} to {most}, not {number}");
        self.bad_value(&value.bytes, message, &hint)
    }

    /// A number of bytes with a unit: `64M` is 64 times 1024 times 1024.
    pub(crate) fn size(&mut self, key: &str, value: &Value, example: &str) -> Option<At<u64>> {
        let words = self.string(key, value)?;
        let text = words.value.as_str();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let scale = match unit {
            "K" => Some(1 << 10),
            "M" => Some(1 << 20),
            "G" => Some(1 << 30),
            _ => None,
        };
        let number = number.parse::<u64>().ok().filter(|number| *number > 0);
        match number.zip(scale).and_then(|(number, scale)| number.checked_mul(scale)) {
            Some(bytes) => Some(self.at(&value.bytes, bytes)),
            None => {
                let message = format!("`{key}` must be a number with K, M or G, not `{text}`");
                self.bad_value(&value.bytes, message, &format!("write `{key} = \"{example}\"`"))
            }
        }
    }

    /// One of several words.
    pub(crate) fn choice<T: Clone>(
        &mut self,
        key: &str,
        value: &Value,
        choices: &[(&str, T)],
    ) -> Option<At<T>> {
        let names = || choices.iter().map(|(name, _)| *name);
        if !matches!(value.kind, ValueKind::String(_)) {
            let hint = format!("write `{key} = \"{}\"`", names().next().unwrap_or_default());
            return self.wrong_type(key, value, &format!("one of {}", list(names())), &hint);
        }
        let words = self.string(key, value)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == words.value) {
            return Some(words.with(choice.clone()));
        }
        let hint = match nearest(&words.value, names()) {
            Some(meant) => format!("did you mean `\"{meant}\"`?"),
            None => format!("write one of {}", list(names())),
        };
        let message =
            format!("`{key}` cannot be `{}`: it is one of {}", words.value, list(names()));
        self.bad_value(&value.bytes, message, &hint)
    }

    /// Checks a name that becomes part of variables, templates and file names.
    pub(crate) fn name(&mut self, what: &str, name: &TextAt) {
        let Some(why) = bad_name(&name.value) else { return };
        let message = format!("`{}` cannot be the name of {what}: {why}", name.value);
        let hint = format!("choose a name like `{}`", spelled_well(&name.value));
        self.report::<()>(Code::BadName, &name.span.bytes, message, &hint);
    }

    /// A key at its own place.
    pub(crate) fn key(&self, key: &Key) -> TextAt {
        self.at(&key.bytes, key.name.clone())
    }
}

/// Names with which a template refers to something other than a service.
pub(crate) const RESERVED: &[&str] = &["self", "stack", "workspace", "env"];

/// Whether this can be the name of a service, a port or an overlay.
#[must_use]
pub fn is_name(name: &str) -> bool {
    bad_name(name).is_none()
}

/// Why this cannot be a name, if so.
fn bad_name(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        Some("it must begin with a letter".to_string())
    } else if let Some(other) = name.chars().find(|c| !fits(*c)) {
        Some(format!("only letters, digits, `-` and `_` are allowed, not `{other}`"))
    } else if name.len() > 63 {
        Some("it is longer than 63 letters".to_string())
    } else if RESERVED.contains(&name) {
        Some(format!("`${{{name}...}}` is reserved"))
    } else {
        None
    }
}

/// The nearest name that can be used.
fn spelled_well(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let text: String = name.chars().map(|c| if fits(c) { c } else { '-' }).take(63).collect();
    let text = text.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).trim_end_matches('-');
    match text {
        "" => "my-service".to_string(),
        reserved if RESERVED.contains(&reserved) => format!("{reserved}-service"),
        text => text.to_string(),
    }
}

/// A key as TOML spells it: in quotes, unless it is bare.
fn spelled_key(name: &str) -> Cow<'_, str> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !name.is_empty() && name.chars().all(is_bare) {
        true => Cow::Borrowed(name),
        false => Cow::Owned(format!("{name:?}")),
    }
}

/// The type of a value, with its article.
fn type_name(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::String(_) => "text",
        ValueKind::Integer(_) => "a whole number",
        ValueKind::Float(_) => "a number with a fraction",
        ValueKind::Boolean(_) => "a boolean",
        ValueKind::Datetime(_) => "a date",
        ValueKind::Array(_) => "a list",
        ValueKind::Table(_) => "a table",
    }
}
