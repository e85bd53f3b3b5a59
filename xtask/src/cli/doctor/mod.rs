//! `doctor`: checks what the tool needs on this machine and in this workspace.
//!
//! It changes nothing.

mod machine;
mod stacks;

use std::path::{Path, PathBuf};

use clap::Args;
use xtask_control::paths::state_folder;

use xtask::cli::{Exit, Global, print};
use xtask::view::style::{BAD, GOOD, RESET, WARN};
use xtask::workspace::{self, WorkspaceFiles};

use crate::view::doctor::{Check, Outcome, Report};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print the checks as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &DoctorArgs) -> anyhow::Result<Exit> {
    let report = Report::new(checks(global));
    match args.json {
        true => print::json_pretty(&report)?,
        false => {
            let paint = |outcome, word: &str| {
                let color = match outcome {
                    Outcome::Pass => GOOD,
                    Outcome::Warn => WARN,
                    Outcome::Fail => BAD,
                };
                format!("{color}{word}{RESET}")
            };
            print::out(&report.text(paint))?;
        }
    }
    Ok(if report.outcome == Outcome::Fail { Exit::FAILED } else { Exit::DONE })
}

fn checks(global: &Global) -> Vec<Check> {
    let mut checks = vec![
        machine::toolchain(env!("CARGO_PKG_RUST_VERSION")),
        machine::linker(),
        machine::descriptors(),
        machine::watches(),
    ];
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    match workspace::read(&here, global.manifest_path.as_deref()) {
        Ok((files, _)) => checks.extend(of_workspace(global, &files)),
        Err(error) => {
            let mend = "run it below a folder with a Cargo.toml that cargo can read";
            checks.push(Check::fail("workspace", "every command", error.to_string(), mend));
        }
    }
    match state_folder() {
        Ok(folder) => {
            let need = "state, logs and data of stacks";
            checks.push(machine::file_system("state folder", &folder, false, need));
        }
        Err(error) => {
            let mend = "set XTASK_STATE_DIR to a folder of your own";
            checks.push(Check::fail("state folder", "every stack", error.to_string(), mend));
        }
    }
    checks.extend(stacks::checks());
    checks.push(machine::engine());
    checks.extend(machine::programs());
    checks
}

fn of_workspace(global: &Global, files: &WorkspaceFiles) -> Vec<Check> {
    let root = Path::new(&files.workspace.root);
    let target = &files.target_directory;
    let mut checks = vec![
        Check::pass("workspace", "every command", root.display().to_string()),
        machine::file_system("target folder", target, true, "builds and programs"),
    ];
    checks.extend(stacks::ports(global, root));
    checks
}
