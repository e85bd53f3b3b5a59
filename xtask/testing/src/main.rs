//! The program with the commands of every day and those that run tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::run_with::<xtask_testing::Testing>()
}
