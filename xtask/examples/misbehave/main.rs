//! The program that tests start where a real one would be too well-behaved.
//!
//! Flags set what it does, and may be combined. Without a flag it sleeps until it gets a signal. In
//! the order in which they take effect:
//!
//! - `--print-args`, `--print-env`: one line each, `arg: …` and `env: NAME=VALUE`
//! - `--require-env NAME`: ends with code 1 unless the variable is set
//! - `--stderr TEXT`: a line on standard error
//! - `--print-before-bind TEXT`: a line that sounds ready and is not
//! - `--hide`: shows no other process what it has open
//! - `--ignore-term`: deaf to SIGTERM
//! - `--drain MS`: on SIGTERM says `draining`, takes that long, ends with code 0
//! - `--boot MS`: waits before it binds
//! - `--listen-at ADDRESS`: listens at HOST:PORT or at a path, whatever it is asked to
//! - `--listen-env`: binds HOST:PORT; with `--no-reuse` without `SO_REUSEADDR`
//! - `--inherit`: takes the socket of `LISTEN_FDS` and ends with code 3 if `LISTEN_PID` is not its
//!   own
//! - `--grandchild`: leaves a child in its group that holds the socket and is deaf to
//!   SIGTERM; `--grandchild-setsid`: the same in a session of its own;
//!   `--grandchild-daemon`: the same, forked twice. All say `grandchild PID`
//! - `--call HOST:PORT`: sends a request there, waits for an answer before it serves,
//!   and keeps the connection; ends with code 1 if it is refused
//! - `--http STATUS`: answers every request with that status; without it connections
//!   stay unaccepted
//! - `--polite`: with `--drain` and `--http`, accepts nothing after SIGTERM, and answers what it
//!   accepted before it ends
//! - `--ready-line TEXT`: a line once bound
//! - `--notify-after MS`: sends `READY=1` to `NOTIFY_SOCKET`; `--ping MS`: sends `WATCHDOG=1`
//!   there that often
//! - `--flood LINES`: that many lines as fast as possible; `--flood-on`: lines until their reader
//!   closes the pipe. `--line-bytes N` fills each line of `--flood` up to N bytes, the line end
//!   included
//! - `--tick MS`: a numbered line that often, for ever
//! - `--long-line BYTES`: a line of that many bytes
//! - `--junk`: a line with NUL bytes, what is no UTF-8, colours and other escapes
//! - `--torn`: one line on each stream, written by turns in pieces
//! - `--half-line`: text without a line end
//! - `--exit-after MS`, with `--code N` (0 by default); `--crash-after MS`: aborts
//!
//! It needs nothing but the standard library and libc, and it is no model for a
//! service.

mod grandchildren;
mod output;
mod signals;
mod sockets;
mod wanted;

use std::env;
use std::process::{Command, exit};
use std::thread;

use grandchildren::{hold, leave_grandchildren, own_program};
use output::{print_much, say};
use signals::{DeafForNow, choose_signals};
use sockets::{call, listener, notify, serve};
use wanted::{FORK_AGAIN, Wanted};

fn main() {
    let wanted = Wanted { args: env::args().skip(1).collect() };
    wanted.check();
    if wanted.has(FORK_AGAIN) {
        hold(&mut Command::new(own_program()));
        return;
    }
    if wanted.has("--print-args") {
        wanted.args.iter().for_each(|arg| say(&format!("arg: {arg}")));
    }
    if wanted.has("--print-env") {
        let mut variables: Vec<_> = env::vars().collect();
        variables.sort();
        variables.iter().for_each(|(name, value)| say(&format!("env: {name}={value}")));
    }
    if let Some(name) = wanted.text("--require-env")
        && env::var_os(name).is_none()
    {
        eprintln!("`{name}` is not set");
        exit(1);
    }
    if let Some(text) = wanted.text("--stderr") {
        eprintln!("{text}");
    }
    if let Some(text) = wanted.text("--print-before-bind") {
        say(text);
    }
    if wanted.has("--hide") {
        // SAFETY: the call takes two numbers.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
    }
    choose_signals(&wanted);
    if let Some(pause) = wanted.pause("--boot") {
        thread::sleep(pause);
    }
    let deaf = wanted.grandchildren().next().is_some().then(DeafForNow::begin);
    let listener = listener(&wanted);
    leave_grandchildren(&wanted, listener.as_ref());
    if let Some(deaf) = deaf {
        deaf.end(&wanted);
    }
    let _kept = wanted.text("--call").map(call);
    serve(&wanted, listener);
    if let Some(text) = wanted.text("--ready-line") {
        say(text);
    }
    if let Some(pause) = wanted.pause("--notify-after") {
        thread::spawn(move || {
            thread::sleep(pause);
            notify("READY=1");
        });
    }
    if let Some(pause) = wanted.pause("--ping") {
        thread::spawn(move || {
            loop {
                notify("WATCHDOG=1");
                thread::sleep(pause);
            }
        });
    }
    print_much(&wanted);
    end(&wanted);
}

/// Ends the program because it was started wrongly.
fn refuse(why: &str) -> ! {
    eprintln!("misbehave: {why}");
    exit(64);
}

fn end(wanted: &Wanted) -> ! {
    if let Some(pause) = wanted.pause("--crash-after") {
        thread::sleep(pause);
        std::process::abort();
    }
    if let Some(pause) = wanted.pause("--exit-after") {
        thread::sleep(pause);
        exit(wanted.number("--code").and_then(|code| i32::try_from(code).ok()).unwrap_or(0));
    }
    loop {
        thread::park();
    }
}
