//! Opens a page in the user's browser.
//!
//! Without a desktop it prints the address and starts nothing: a browser for the terminal would
//! take over the screen.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::print;
use crate::view::style::{GOOD, WARN};

/// The variables that a desktop sets.
const DESKTOPS: [&str; 2] = ["DISPLAY", "WAYLAND_DISPLAY"];

/// Opens the address with `BROWSER`, or with the desktop's program for addresses.
pub(crate) fn open(url: &str) {
    let Some(program) = program() else {
        print::progress(WARN, "Open", &format!("{url} in a browser: no desktop was found here"));
        return;
    };
    let mut command = Command::new(&program);
    // Ctrl-C in this terminal must not end the browser.
    command.arg(url).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(mut child) => {
            print::progress(GOOD, "Opening", url);
            // Reaps it.
            let _ = std::thread::Builder::new().spawn(move || child.wait());
        }
        Err(error) => {
            let program = program.display();
            let text = format!("{url} in a browser: failed to start `{program}`: {error}");
            print::progress(WARN, "Open", &text);
        }
    }
}

fn program() -> Option<OsString> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(browser) = set("BROWSER") {
        return Some(browser);
    }
    if cfg!(target_os = "macos") {
        return Some("open".into());
    }
    DESKTOPS.iter().any(|name| set(name).is_some()).then(|| "xdg-open".into())
}
