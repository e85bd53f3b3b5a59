//! The program that runs tests: nextest where it is installed, else cargo itself, and what
//! their arguments and exit codes mean.
//!
//! It starts nothing and prints nothing.

use super::shards::Shard;

/// Who runs the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// `cargo nextest run`.
    Nextest,
    /// `cargo test`.
    Cargo,
}

/// Which packages' tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection<'a> {
    /// One package's.
    Only(&'a str),
    /// The whole workspace's, but for the package of that name.
    AllBut(Option<&'a str>),
}

/// Which tests of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tests {
    /// Those whose names contain one of `filters`, or all.
    Matching {
        /// Parts of names.
        filters: Vec<String>,
        /// Only this part of them.
        shard: Option<Shard>,
    },
    /// Those of these names.
    These(Vec<String>),
}

impl Tests {
    /// All there are.
    pub(crate) const ALL: Self = Self::Matching { filters: Vec::new(), shard: None };
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every test passed, and there was at least one.
    Passed,
    /// A test failed, or the runner did.
    Failed,
    /// No test was run.
    NothingRun,
    /// The tests could not be built.
    NotBuilt,
}

impl Selection<'_> {
    /// What nextest is to think of it when there are none: a workspace may have no other
    /// tests than the end-to-end ones.
    const fn no_tests(self) -> &'static str {
        match self {
            Self::Only(_) => "--no-tests=fail",
            Self::AllBut(_) => "--no-tests=pass",
        }
    }
}

impl Runner {
    /// The runner of this machine.
    pub(crate) fn find() -> Self {
        if which::which("cargo-nextest").is_ok() { Self::Nextest } else { Self::Cargo }
    }

    /// The command, for people and for `--json`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Nextest => "cargo nextest run",
            Self::Cargo => "cargo test",
        }
    }

    /// Arguments for cargo that run these tests. `extra` are the runner's own: options of
    /// nextest, or of the test binaries.
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

    /// Arguments for cargo that only build what [`Runner::run`] would run, for the runner
    /// whose exit code does not tell a failed build from a failed test.
    pub(crate) fn build(self, selection: Selection<'_>) -> Option<Vec<String>> {
        match self {
            Self::Nextest => None,
            Self::Cargo => Some([self.start(selection), vec!["--no-run".to_owned()]].concat()),
        }
    }

    /// Arguments for cargo that print the tests that [`Runner::run`] would run, for the
    /// runner that neither tells whether there were any nor divides them.
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

    /// What an exit code of [`Runner::run`] means; `None` is an end by a signal. Where
    /// cargo runs the tests, they were built and found before.
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
            // What nextest runs: everything but the examples in documentation.
            Self::Cargo => vec!["test", "--tests"],
        };
        match selection {
            Selection::Only(package) => arguments.extend(["-p", package]),
            Selection::AllBut(None) => arguments.push("--workspace"),
            Selection::AllBut(Some(package)) => {
                arguments.extend(["--workspace", "--exclude", package]);
            }
        }
        arguments.into_iter().map(str::to_owned).collect()
    }
}

/// The tests in what [`Runner::list`] makes the runner print.
pub(crate) fn listed(output: &str) -> Vec<String> {
    output.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(runner: Runner, filters: &[&str], extra: &[&str]) -> String {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let tests = Tests::Matching { filters: owned(filters), shard: None };
        runner.run(Selection::Only("black-box"), &tests, &owned(extra)).join(" ")
    }

    #[test]
    fn filter_and_extra_arguments_go_where_the_runner_takes_them() {
        assert_eq!(
            words(Runner::Nextest, &["slow"], &["--retries", "2"]),
            "nextest run -p black-box --no-tests=fail slow --retries 2"
        );
        assert_eq!(
            words(Runner::Cargo, &["slow"], &["--nocapture"]),
            "test --tests -p black-box -- slow --nocapture"
        );
        assert_eq!(words(Runner::Cargo, &[], &[]), "test --tests -p black-box --");
    }

    #[test]
    fn a_caller_who_says_what_no_tests_mean_is_not_contradicted() {
        assert_eq!(
            words(Runner::Nextest, &[], &["--no-tests=pass"]),
            "nextest run -p black-box --no-tests=pass"
        );
    }

    #[test]
    fn the_workspace_without_the_black_box_tests_is_a_selection() {
        let arguments = Runner::Nextest.run(Selection::AllBut(Some("black-box")), &Tests::ALL, &[]);
        assert_eq!(
            arguments.join(" "),
            "nextest run --workspace --exclude black-box --no-tests=pass"
        );
        let arguments = Runner::Cargo.run(Selection::AllBut(None), &Tests::ALL, &[]);
        assert_eq!(arguments.join(" "), "test --tests --workspace --");
    }

    #[test]
    fn a_shard_is_a_slice_for_nextest_and_a_list_of_names_for_cargo() {
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
    fn exit_codes_of_runners_become_verdicts() {
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
    fn listed_tests_are_named_and_benchmarks_are_not() {
        let output = "a::b: test\nc: test\nd: benchmark\n\n2 tests, 1 benchmark\n";
        assert_eq!(listed(output), ["a::b", "c"]);
        assert!(listed("").is_empty());
    }
}
