//! The result of a check, as text and as JSON.

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// As it should be.
    Pass,
    /// A part of the tool does not work, or will stop working.
    Warn,
    /// `up` cannot work.
    Fail,
}

/// One check. This is also its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// The subject in one or two words.
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    /// What was found, in one line.
    pub(crate) found: String,
    /// The part of the tool that needs it.
    pub(crate) needed_for: &'static str,
    /// The command or edit that mends it; none if it passed.
    pub(crate) mend: Option<String>,
}

impl Check {
    pub(crate) fn pass(name: &'static str, needed_for: &'static str, found: String) -> Self {
        Self { name, outcome: Outcome::Pass, found, needed_for, mend: None }
    }

    pub(crate) fn warn(
        name: &'static str,
        needed_for: &'static str,
        found: String,
        mend: impl Into<String>,
    ) -> Self {
        let mend = Some(mend.into());
        Self { name, outcome: Outcome::Warn, found, needed_for, mend }
    }

    pub(crate) fn fail(
        name: &'static str,
        needed_for: &'static str,
        found: String,
        mend: impl Into<String>,
    ) -> Self {
        Self { outcome: Outcome::Fail, ..Self::warn(name, needed_for, found, mend) }
    }
}

/// The document of `doctor --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: u32,
    /// The worst outcome.
    pub(crate) outcome: Outcome,
    pub(crate) checks: Vec<Check>,
}

impl Report {
    pub(crate) fn new(checks: Vec<Check>) -> Self {
        let outcome = checks.iter().map(|check| check.outcome).max().unwrap_or(Outcome::Pass);
        Self { version: 1, outcome, checks }
    }

    /// One line a check, and below each that did not pass what needs it and what mends it.
    /// `paint` colours the word of an outcome.
    pub(crate) fn text(&self, paint: impl Fn(Outcome, &str) -> String) -> String {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        let mut out = String::new();
        for check in &self.checks {
            let word = match check.outcome {
                Outcome::Pass => "pass",
                Outcome::Warn => "warn",
                Outcome::Fail => "fail",
            };
            out += &format!(
                "{}  {:width$}  {}\n",
                paint(check.outcome, word),
                check.name,
                check.found
            );
            if let Some(mend) = &check.mend {
                out += &format!("      {:width$}  needed for {}\n", "", check.needed_for);
                out += &format!("      {:width$}  hint: {mend}\n", "");
            }
        }
        let count = |outcome| self.checks.iter().filter(|check| check.outcome == outcome).count();
        out += &match (count(Outcome::Fail), count(Outcome::Warn)) {
            (0, 0) => "everything is in order\n".to_owned(),
            (0, warned) => {
                format!("`up` works here; {warned} of {} checks warn\n", self.checks.len())
            }
            (failed, _) => format!("{failed} of {} checks failed\n", self.checks.len()),
        };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_check_names_need_and_remedy() {
        let report = Report::new(vec![
            Check::pass("cargo", "builds", "1.95.0".into()),
            Check::fail("linker", "builds", "`cc` is not installed".into(), "apt-get install gcc"),
        ]);
        let text = report.text(|_, word| word.to_owned());
        assert_eq!(
            text,
            "pass  cargo   1.95.0\n\
             fail  linker  `cc` is not installed\n              needed for builds\n              \
             hint: apt-get install gcc\n1 of 2 checks failed\n"
        );
        assert_eq!(report.outcome, Outcome::Fail);
    }
}
