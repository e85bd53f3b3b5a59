//! Cargo's messages above the live lines, and its progress as one of them.
//!
//! Cargo ends a message with a line feed and a progress bar with a carriage return. Its escapes
//! that clear a line are dropped, since the live lines replace them.

use std::io::{PipeReader, Read as _};
use std::process::Command;

use xtask_logs::escapes::{self, Keep};

use crate::cli::{print, screen};
use crate::system::terminal::size;

/// The widest progress bar, in columns.
const WIDEST: usize = 100;

/// Makes cargo report its progress although its output is a pipe. Settings of the user stay.
pub(super) fn ask_for_progress(command: &mut Command) {
    let width = size().columns.saturating_sub(1).min(WIDEST).to_string();
    let settings = [
        ("CARGO_TERM_COLOR", "always"),
        ("CARGO_TERM_PROGRESS_WHEN", "always"),
        ("CARGO_TERM_PROGRESS_WIDTH", &width),
    ];
    for (name, value) in settings {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
}

/// Prints messages and shows progress until cargo closes the pipe.
pub(super) fn forward(mut reader: PipeReader) {
    let mut part = [0; 4096];
    let mut line = Vec::new();
    while let Ok(length @ 1..) = reader.read(&mut part) {
        for byte in &part[..length] {
            match byte {
                b'\n' => {
                    print::line(&shown(&line));
                    line.clear();
                }
                b'\r' => {
                    screen::set_build(Some(shown(&line)));
                    line.clear();
                }
                _ => line.push(*byte),
            }
        }
    }
    screen::set_build(None);
    if !line.is_empty() {
        print::line(&shown(&line));
    }
}

fn shown(line: &[u8]) -> String {
    let mut out = Vec::new();
    escapes::append(&mut out, line, Keep::Colours);
    String::from_utf8_lossy(&out).into_owned()
}
