//! The end of a run of the end-to-end tests, told to people.
//!
//! It reads logs and deletes or keeps what the stack left; it decides nothing about the run.

use std::path::Path;

use xtask_client::logs::closing_lines;
use xtask_client::{STACK_VARIABLE, StackPaths};

use super::TestE2eArgs;
use super::again::again;
use super::bundle::{self, Course};
use super::deaths::Death;
use super::outcome::Outcome;
use crate::cli::exit::Exit;
use crate::cli::{isolated, print};
use crate::view::{log, style};

/// Lines that are shown of the log of a service that died.
const SHOWN_LINES: usize = 20;

impl Outcome {
    /// Says what happened to services and what is left behind, or deletes it.
    pub(crate) fn conclude(
        &mut self,
        exit: Exit,
        paths: &StackPaths,
        root: &Path,
        package: &str,
        args: &TestE2eArgs,
        course: &Course,
    ) {
        self.exit_code = exit.code();
        self.passed = exit == Exit::DONE;
        for death in &self.died {
            tell(death, paths);
        }
        let worth_a_look = self.is_worth_a_look(exit, paths);
        if worth_a_look {
            self.keep(paths, root, args, course);
        }
        let is_up = args.keep && self.runner.is_some();
        if worth_a_look && !is_up {
            // Cargo makes them again.
            std::fs::remove_dir_all(paths.folder().join("programs")).ok();
        }
        if is_up {
            tell_kept(paths, package, course);
        } else if !worth_a_look {
            // Nobody will look at it, and a later run makes its own.
            isolated::delete(paths);
        }
        if exit == Exit::FAILED && self.ran {
            hint(&format!("run it again: `{}`", again(args)));
        }
    }

    fn keep(&mut self, paths: &StackPaths, root: &Path, args: &TestE2eArgs, course: &Course) {
        let written = isolated::keep(paths).and_then(|()| {
            self.bundle = Some(bundle::write(paths, root, args, self, course)?);
            Ok(())
        });
        if let Err(error) = written {
            print::error(&anyhow::Error::from(error).context("the bundle cannot be kept"));
        }
        let logs = paths.logs();
        let bundle = paths.folder().join("bundle");
        let text = format!("logs in `{}`, all about it in `{}`", logs.display(), bundle.display());
        print::say(style::BUSY, "Kept", &text);
        self.logs = Some(logs);
    }

    /// Whether something failed of which the services' logs may tell.
    fn is_worth_a_look(&self, exit: Exit, paths: &StackPaths) -> bool {
        let failed = exit == Exit::NOT_READY || (exit == Exit::FAILED && self.ran);
        failed && paths.logs().exists()
    }
}

fn tell(death: &Death, paths: &StackPaths) {
    let Death { service, run, reason } = death;
    let text = format!("service `{service}` died by itself in run {run}: {reason}");
    print::error(&anyhow::Error::msg(text));
    let path = paths.log(service);
    match closing_lines(&path, *run, SHOWN_LINES) {
        Ok(lines) => print::tell(log::excerpt(&lines).trim_end_matches('\n')),
        Err(error) => print::tell(&format!("cannot read `{}`: {error}", path.display())),
    }
}

fn hint(text: &str) {
    print::tell(&format!("  {}hint:{} {text}", style::BOLD, style::RESET));
}

/// Says how to reach a stack that stays up, and how to end it.
fn tell_kept(paths: &StackPaths, package: &str, course: &Course) {
    let stack = paths.stack();
    print::say(style::BUSY, "Kept", &format!("stack `{stack}` is up"));
    for service in course.last.iter().flat_map(|last| &last.services) {
        if let Some(url) = &service.url {
            print::tell(&format!("  {} at {url}", service.name));
        }
    }
    let folder = paths.folder().display();
    hint(&format!("look at it: `cargo xtask status --stack {stack}`"));
    hint(&format!("test it again: `{STACK_VARIABLE}='{folder}' cargo test -p {package}`"));
    hint(&format!("take it down: `cargo xtask down --data --stack {stack}`"));
}
