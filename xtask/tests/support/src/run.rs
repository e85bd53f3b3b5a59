//! One run of the tool, in the foreground or beside the test.
//!
//! Its output goes to files: a supervisor that outlives the command may keep a pipe
//! open, and the test would wait for its end.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use crate::wait::eventually;

/// What a run of the tool said, and how it ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The arguments, for messages.
    pub args: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
}

impl Ran {
    /// Fails the test with everything that was said unless the code is this one.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n{self}");
        self
    }

    /// Fails the test unless one of both streams holds the text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let said = self.stdout.contains(text) || self.stderr.contains(text);
        assert!(said, "`{text}` is not said\n{self}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { args, stdout, stderr, code } = self;
        let code = code.map_or("a signal".to_owned(), |code| code.to_string());
        write!(f, "$ xtask {args}\n{stdout}--- stderr\n{stderr}--- ended with {code}")
    }
}

/// A running command of the tool.
#[derive(Debug)]
pub struct Running {
    args: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts the command with its output in two new files of that name.
    pub fn start(mut command: Command, args: &[&str], output: PathBuf) -> Self {
        let (stdout, stderr) = (output.with_extension("stdout"), output.with_extension("stderr"));
        command.args(args);
        command.stdin(std::process::Stdio::null());
        command.stdout(File::create(&stdout).unwrap());
        command.stderr(File::create(&stderr).unwrap());
        let child = command.spawn().unwrap();
        Self { args: args.join(" "), child, stdout, stderr }
    }

    /// The number of the process.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends it a signal, `libc::SIGINT` for one.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the call takes two numbers, and the child is not waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0, "it is gone");
    }

    /// What it has said by now.
    pub fn said(&self) -> Ran {
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        Ran { args: self.args.clone(), stdout, stderr, code: None }
    }

    /// Waits until one of both streams holds the text.
    #[track_caller]
    pub fn says(&self, within: Duration, text: &str) {
        eventually(within, &format!("`{text}` said by `xtask {}`", self.args), || {
            let said = self.said();
            (said.stdout.contains(text) || said.stderr.contains(text)).then_some(())
        });
    }

    /// Waits for its end; one that takes too long is killed and fails the test.
    #[track_caller]
    pub fn wait(mut self, within: Duration) -> Ran {
        let deadline = std::time::Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Ran { code: status.code(), ..self.said() };
            }
            if std::time::Instant::now() > deadline {
                panic!("it has not ended within {within:?}\n{}", self.said());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
