//! A program on a pseudoterminal: what it shows, the keys that it gets, and the terminal's mode.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::stand::on_a_terminal;
use crate::wait::eventually;

/// How long a program may take to show something; builds beside other tests are slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that runs on a terminal of its own, which it controls.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    terminal: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts the command on a terminal that can show live lines.
    pub fn start(mut command: Command, args: &[&str]) -> Self {
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm-256color");
        }
        let (child, terminal) = on_a_terminal(command, args);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, written) = (terminal.try_clone().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut part = [0; 4096];
            // The end of a terminal is an error.
            while let Ok(length @ 1..) = reader.read(&mut part) {
                written.lock().unwrap().extend_from_slice(&part[..length]);
            }
        });
        let started = Self { child, terminal, shown };
        started.resize(120, 40);
        started
    }

    /// The pid of the program.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Everything that was shown, with its escapes other than colours.
    pub fn shown(&self) -> String {
        let shown = String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned();
        let mut parts = shown.split("\x1b[");
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';') {
                colour if colour.starts_with('m') => plain += &colour[1..],
                _ => plain.extend(["\x1b[", part]),
            }
        }
        plain
    }

    /// Presses keys.
    pub fn press(&self, keys: &str) {
        (&self.terminal).write_all(keys.as_bytes()).unwrap();
    }

    /// Forgets what was shown before.
    pub fn clear(&self) {
        self.shown.lock().unwrap().clear();
    }

    /// Waits until the text is shown.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self.shown().contains(text) {
            let shown = self.shown();
            let end = shown.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
            let end = &shown[end..];
            assert!(std::time::Instant::now() < deadline, "`{text}` is not in: {end}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Gives the terminal another size, in characters.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open, and the structure is complete.
        let set =
            unsafe { libc::ioctl(self.terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }

    /// Whether the terminal waits for Enter and echoes, as for a shell.
    pub fn edits_lines(&self) -> bool {
        let mut mode = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the kernel fills in the structure, unless the call fails.
        let mode = unsafe {
            let read = libc::tcgetattr(self.terminal.as_raw_fd(), mode.as_mut_ptr());
            assert_eq!(read, 0, "{}", std::io::Error::last_os_error());
            mode.assume_init()
        };
        mode.c_lflag & libc::ICANON != 0 && mode.c_lflag & libc::ECHO != 0
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the call takes two numbers, and the child is not waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0, "it is gone");
    }

    /// Waits for its end, and returns the exit code; none if a signal ended it.
    #[track_caller]
    pub fn end(&mut self) -> Option<i32> {
        eventually(PATIENCE, "the end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
