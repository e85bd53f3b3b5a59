//! The arguments and exit codes of the test runners: nextest if it is installed, else cargo.
//!
//! It starts nothing.

use super::shards::Shard;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    Nextest,
    Cargo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection<'a> {
    /// Only the package with this name.
    Only(&'a str),
    /// The whole workspace except this package.
    AllBut(Option<&'a str>),
    /// The test binaries of these names, in every package that has one.
    Tiers(&'a [String]),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tests {
    /// Tests whose names contain one of `filters`, or all.
    Matching {
        filters: Vec<String>,
        /// Run only this shard of them.
        shard: Option<Shard>,
    },
    /// Tests with these names.
    These(Vec<String>),
}

impl Tests {
    pub(crate) const ALL: Self = Self::Matching { filters: Vec::new(), shard: None };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// At least one test ran, and all passed.
    Passed,
    /// A test or the runner failed.
    Failed,
    /// No test ran.
    NothingRun,
    NotBuilt,
}

impl Selection<'_> {
    /// How nextest treats an empty selection. A workspace may have end-to-end tests only.
    const fn no_tests(self) -> &'static str {
        match self {
            Self::Only(_) | Self::Tiers(_) => "--no-tests=fail",
            Self::AllBut(_) => "--no-tests=pass",
        }
    }
}

impl Runner {
    pub(crate) fn find() -> Self {
        if which::which("cargo-nextest").is_ok() { Self::Nextest } else { Self::Cargo }
    }

    /// The command, as `--json` prints it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Nextest => "cargo nextest run",
            Self::Cargo => "cargo test",
        }
    }

    /// The arguments for cargo that run these tests. `extra` are options of nextest or of the test
    /// binaries.
    pub(crate) fn run(
        self,
        selection: Selection<'_>,
        tests: &Tests,
        extra: &[String],
    ) -> Vec<String> {
        let mut arguments = self.start(selection);
        match self {
            Self::Nextest => {
                if !extra.iter().any(|argument| argument.starts_with("--no-tests")) {
                    arguments.push(selection.no_tests().to_owned());
                }
            }
            Self::Cargo => arguments.push("--".to_owned()),
        }
        match tests {
            Tests::Matching { filters, shard } => {
                if let (Self::Nextest, Some(Shard { number, of })) = (self, shard) {
                    arguments.extend(["--partition".to_owned(), format!("slice:{number}/{of}")]);
                }
                arguments.extend_from_slice(filters);
            }
            Tests::These(names) => {
                arguments.push("--exact".to_owned());
                arguments.extend_from_slice(names);
            }
        }
        arguments.extend_from_slice(extra);
        arguments
    }

    /// The arguments for cargo that only build the tests. None for nextest, whose exit code reports
    /// a failed build.
    pub(crate) fn build(self, selection: Selection<'_>) -> Option<Vec<String>> {
        match self {
            Self::Nextest => None,
            Self::Cargo => {
                // Without it, cargo builds the examples too, as nextest does: tests may start one.
                let mut arguments = self.start(selection);
                arguments.retain(|argument| argument != "--tests");
                arguments.push("--no-run".to_owned());
                Some(arguments)
            }
        }
    }

    /// The arguments for cargo that list the tests. None for nextest, which reports an empty
    /// selection and divides the tests itself.
    pub(crate) fn list(
        self,
        selection: Selection<'_>,
        tests: &Tests,
        extra: &[String],
    ) -> Option<Vec<String>> {
        match self {
            Self::Nextest => None,
            Self::Cargo => {
                let mut arguments = self.run(selection, tests, extra);
                arguments.extend(["--list", "--format", "terse"].map(str::to_owned));
                Some(arguments)
            }
        }
    }

    /// The meaning of an exit code of [`Runner::run`]; `None` is a signal. With cargo the tests
    /// were built and listed before.
    pub(crate) fn verdict(self, code: Option<i32>) -> Verdict {
        match (self, code) {
            (_, Some(0)) => Verdict::Passed,
            (Self::Nextest, Some(4)) => Verdict::NothingRun,
            (Self::Nextest, Some(101)) => Verdict::NotBuilt,
            _ => Verdict::Failed,
        }
    }

    fn start(self, selection: Selection<'_>) -> Vec<String> {
        let mut arguments: Vec<_> = match self {
            Self::Nextest => vec!["nextest", "run"],
            Self::Cargo if matches!(selection, Selection::Tiers(_)) => vec!["test"],
            // As nextest: everything except doc tests.
            Self::Cargo => vec!["test", "--tests"],
        };
        match selection {
            Selection::Only(package) => arguments.extend(["-p", package]),
            Selection::AllBut(None) => arguments.push("--workspace"),
            Selection::AllBut(Some(package)) => {
                arguments.extend(["--workspace", "--exclude", package]);
            }
            Selection::Tiers(names) => {
                arguments.push("--workspace");
                arguments.extend(names.iter().flat_map(|name| ["--test", name]));
            }
        }
        arguments.into_iter().map(str::to_owned).collect()
    }
}

/// The names of tests in the output of [`Runner::list`].
pub(crate) fn listed(output: &str) -> Vec<String> {
    output.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line(runner: Runner, filters: &[&str], extra: &[&str]) -> String {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let tests = Tests::Matching { filters: owned(filters), shard: None };
        runner.run(Selection::Only("black-box"), &tests, &owned(extra)).join(" ")
    }

    #[test]
    fn filters_and_extra_arguments_fit_each_runner() {
        assert_eq!(
            command_line(Runner::Nextest, &["slow"], &["--retries", "2"]),
            "nextest run -p black-box --no-tests=fail slow --retries 2"
        );
        assert_eq!(
            command_line(Runner::Cargo, &["slow"], &["--nocapture"]),
            "test --tests -p black-box -- slow --nocapture"
        );
        assert_eq!(command_line(Runner::Cargo, &[], &[]), "test --tests -p black-box --");
    }

    #[test]
    fn callers_no_tests_flag_is_kept() {
        assert_eq!(
            command_line(Runner::Nextest, &[], &["--no-tests=pass"]),
            "nextest run -p black-box --no-tests=pass"
        );
    }

    #[test]
    fn workspace_selection_excludes_one_package() {
        let arguments = Runner::Nextest.run(Selection::AllBut(Some("black-box")), &Tests::ALL, &[]);
        assert_eq!(
            arguments.join(" "),
            "nextest run --workspace --exclude black-box --no-tests=pass"
        );
        let arguments = Runner::Cargo.run(Selection::AllBut(None), &Tests::ALL, &[]);
        assert_eq!(arguments.join(" "), "test --tests --workspace --");
    }

    #[test]
    fn examples_are_built_before_the_tests() {
        let build = |runner: Runner| runner.build(Selection::AllBut(Some("black-box")));
        let command = "test --workspace --exclude black-box --no-run";
        assert_eq!(build(Runner::Cargo).unwrap().join(" "), command);
        assert_eq!(build(Runner::Nextest), None);
    }

    #[test]
    fn tiers_are_selected_by_test_binary() {
        let tiers = ["slow".to_owned(), "huge".to_owned()];
        let words =
            |runner: Runner| runner.run(Selection::Tiers(&tiers), &Tests::ALL, &[]).join(" ");
        let command = "nextest run --workspace --test slow --test huge --no-tests=fail";
        assert_eq!(words(Runner::Nextest), command);
        assert_eq!(words(Runner::Cargo), "test --workspace --test slow --test huge --");
    }

    #[test]
    fn shard_is_a_slice_or_a_list_of_names() {
        let shard = Some(Shard { number: 2, of: 3 });
        let tests = Tests::Matching { filters: vec!["slow".into()], shard };
        let arguments = Runner::Nextest.run(Selection::Only("black-box"), &tests, &[]);
        let command = "nextest run -p black-box --no-tests=fail --partition slice:2/3 slow";
        assert_eq!(arguments.join(" "), command);
        let tests = Tests::These(vec!["a::b".into(), "c".into()]);
        let arguments = Runner::Cargo.run(Selection::Only("black-box"), &tests, &[]);
        assert_eq!(arguments.join(" "), "test --tests -p black-box -- --exact a::b c");
    }

    #[test]
    fn exit_codes_map_to_verdicts() {
        for (runner, code, verdict) in [
            (Runner::Nextest, Some(0), Verdict::Passed),
            (Runner::Nextest, Some(100), Verdict::Failed),
            (Runner::Nextest, Some(4), Verdict::NothingRun),
            (Runner::Nextest, Some(101), Verdict::NotBuilt),
            (Runner::Nextest, None, Verdict::Failed),
            (Runner::Cargo, Some(0), Verdict::Passed),
            (Runner::Cargo, Some(101), Verdict::Failed),
            (Runner::Cargo, None, Verdict::Failed),
        ] {
            assert_eq!(runner.verdict(code), verdict, "{runner:?} {code:?}");
        }
    }

    #[test]
    fn listed_skips_benchmarks() {
        let output = "a::b: test\nc: test\nd: benchmark\n\n2 tests, 1 benchmark\n";
        assert_eq!(listed(output), ["a::b", "c"]);
        assert!(listed("").is_empty());
    }
}
