//! The rule that all text of the tool reaches the terminal through the filter in `cli/print.rs`.

use crate::rules::{File, PROGRAMS};
use crate::source::Source;

/// The files of the tool that may take a standard stream: those that filter text for a terminal,
/// draw below it, write the supervisor's log, ask whether there is a terminal and for its size, or
/// pass on what cargo prints.
const STREAMS: [&str; 9] = [
    "xtask/daily/src/cli/color.rs",
    "xtask/daily/src/cli/elsewhere.rs",
    "xtask/daily/src/cli/print.rs",
    "xtask/daily/src/cli/screen.rs",
    "xtask/daily/src/cli/stderr.rs",
    "xtask/testing/src/test_e2e/test_run.rs",
    "xtask/daily/src/cli/up/build.rs",
    "xtask/daily/src/system/say.rs",
    "xtask/daily/src/system/terminal.rs",
];

/// The files that may print bytes as they are: a script of the tool, and lines of logs, which have
/// a filter of their own.
const BYTES: [&str; 3] = [
    "xtask/daily/src/cli/logs.rs",
    "xtask/daily/src/cli/up/logs.rs",
    "xtask/src/cli/completions.rs",
];

/// The files that write to a pipe: between `fork` and `exec`, and to the sweeper.
const PIPES: [&str; 2] =
    ["xtask/daily/src/effects/spawn/child.rs", "xtask/daily/src/supervisor/sweeper.rs"];

const MACROS: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// Types, crates and functions by which code gets a standard stream without calling it.
const WORDS: [&str; 12] = [
    "AutoStream",
    "STDERR_FILENO",
    "STDOUT_FILENO",
    "Stderr",
    "StderrLock",
    "Stdout",
    "StdoutLock",
    "borrow_raw",
    "dprintf",
    "dup_stderr",
    "dup_stdout",
    "from_raw_fd",
];

/// The file that reaches an open folder by its number.
const FOLDER: &str = "xtask/src/cli/export/files.rs";

/// Files that are a stream for output or a terminal.
const FILES: [&str; 6] =
    ["/dev/fd/", "/dev/stderr", "/dev/stdout", "/dev/tty", "/dev/pts", "/proc/self/fd"];

/// A question that writes nothing.
const QUESTIONS: [&str; 2] = ["io::stderr().is_terminal()", "io::stdout().is_terminal()"];

/// Other ways to a terminal than the filter.
pub(crate) fn unfiltered(file: &File) -> Vec<String> {
    let is_tool = PROGRAMS.iter().any(|folder| file.path.starts_with(folder));
    let is_test = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    if !is_tool || is_test {
        return Vec::new();
    }
    let product = file.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut source = Source::read(product);
    for question in QUESTIONS {
        source.code = source.code.replace(question, "true");
    }
    let mut lines = Vec::new();
    for path in source.paths() {
        let parts: Vec<&str> = path.parts.iter().map(String::as_str).collect();
        let is_raw = match parts.as_slice() {
            [.., "print", "bytes"] => !BYTES.contains(&&*file.path),
            [.., "libc", "write"] | ["rustix", "io", "write"] => !PIPES.contains(&&*file.path),
            [.., "io", "stdout" | "stderr" | "*"]
            | [.., "anstream", "stdout" | "stderr" | "stream" | "*"]
            | [.., "stderr", "write"]
            | [.., "Stdio", "inherit"] => !takes_stream(file),
            _ => false,
        };
        lines.extend(is_raw.then_some(path.line));
    }
    if !takes_stream(file) {
        let macros = source.words_before("!");
        let macros = macros.into_iter().filter(|(_, word)| MACROS.contains(&word.as_str()));
        let calls = source.words_before("(");
        let calls = calls.into_iter().filter(|(_, word)| word == "stdout" || word == "stderr");
        let words = source.words();
        let words = words.into_iter().filter(|(_, word)| WORDS.contains(&word.as_str()));
        lines.extend(macros.chain(calls).chain(words).map(|(line, _)| line));
        let texts = source.texts.iter().filter(|_| file.path != FOLDER);
        let texts = texts.filter(|(_, text)| FILES.iter().any(|name| text.contains(name)));
        lines.extend(texts.map(|(line, _)| line));
    }
    lines.sort_unstable();
    lines.dedup();
    let path = &file.path;
    lines.iter().map(|line| format!("{path}:{line}: text bypasses `cli/print.rs`")).collect()
}

fn takes_stream(file: &File) -> bool {
    STREAMS.contains(&&*file.path)
}

#[test]
fn way_around_the_filter_is_refused() {
    let found = |path: &str, text: &str| {
        unfiltered(&File { path: path.to_owned(), text: text.to_owned() }).len()
    };
    for text in [
        "fn f() {\n    println!();\n}",
        "fn f() { std::println ! { \"a\" } }",
        "fn f() { dbg!(text); }",
        "const A: &str = \"http://a\"; fn f() { eprint!(\"a\") }",
        "#[cfg(test)]\nmod sample;\nfn f() { println!(); }",
        "#[cfg(test)]\nuse a::b;\nfn f() { println!(); }",
        "let out = std::io::stdout().lock();",
        "let out = std::io::stdout()\n    .lock();",
        "if io::stderr().is_terminal() { io::stderr().write_all(text); }",
        "use std::io::stdout;",
        "use std::io::{self, stderr as errors};",
        "use std::io::*;",
        "use std::io as streams;\nfn f() { streams::stdout().write_all(text); }",
        "fn f(out: &mut std::io::Stdout) {}",
        "let out = anstream::AutoStream::auto(file);",
        "anstream::println!(\"a\");",
        "let file = File::create(\"/dev/stderr\");",
        "let file = File::options().write(true).open(\"/proc/self/fd/1\");",
        "unsafe { libc::write(1, text.as_ptr(), 1) };",
        "rustix::io::write(rustix::stdio::stdout(), text);",
        "let file = unsafe { File::from_raw_fd(1) };",
        "command.stdout(Stdio::inherit());",
        "print::bytes(text)?;",
        "super::stderr::write(text);",
    ] {
        assert_eq!(found("xtask/daily/src/cli/a.rs", text), 1, "{text}");
        assert_eq!(found("xtask/src/cli/a.rs", text), 1, "{text}");
    }
    for text in [
        "if io::stderr().is_terminal() {}",
        "#[cfg(test)]\nmod tests { fn f() { println!(); } }",
        "command.stdout(Stdio::piped()).stderr(Stdio::null());",
        "if print != other { print::out(text)?; stderr::redraw(); }",
        "// println!() and io::stdout()",
        "let plain = anstream::adapter::strip_str(text); inherit(limits);",
    ] {
        assert_eq!(found("xtask/daily/src/cli/a.rs", text), 0, "{text}");
    }
    assert_eq!(found("xtask/daily/src/cli/print.rs", "let out = anstream::stdout().lock();"), 0);
    assert_eq!(found("xtask/daily/src/cli/print.rs", "unsafe { libc::write(1, a, 1) };"), 1);
    assert_eq!(found("xtask/daily/src/cli/logs.rs", "print::bytes(text)?;"), 0);
}
