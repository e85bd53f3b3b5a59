//! The rules themselves: each looks at one file and says what breaks it.
//!
//! They know nothing of the files on disk, so that they can be tried on bad ones.

use toml_edit::{Item, Table};

use crate::source::{Source, is_word};

/// A file of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Its path from the workspace root, with `/`.
    pub(crate) path: String,
    /// The text of the whole file.
    pub(crate) text: String,
}

/// What the files of a folder may not name, beside what the order of the rooms excludes.
const BANNED: [(&str, &[&str]); 7] = [
    // A view is a function of what it receives, so the rooms that touch the world are closed to it.
    (
        "xtask/daily/src/view/",
        &[
            "crate::driver",
            "crate::effects",
            "crate::supervisor",
            "crate::system",
            "crate::workspace",
        ],
    ),
    (
        "xtask/src/view/",
        &[
            "crate::cli",
            "xtask::cli",
            "xtask::effects",
            "xtask::session",
            "xtask::system",
            "xtask::workspace",
        ],
    ),
    ("xtask/client/", &["xtask"]),
    ("xtask/control/", &["xtask"]),
    ("xtask/logs/", &["xtask", "xtask_client", "xtask_control", "xtask_core"]),
    ("xtask/core/", &["xtask", "xtask_client", "xtask_control"]),
    (CORE, &["std"]),
];

/// The sources of the programs.
pub(crate) const PROGRAMS: [&str; 3] = ["xtask/daily/src/", "xtask/src/", "xtask/testing/src/"];

/// What a view would need to be more than a function of what it is given.
const WORLD: [&str; 14] = [
    "clap",
    "clap_builder",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "anstream::AutoStream",
    "anstream::stderr",
    "anstream::stdout",
    "tokio",
];

/// The files whose `#![no_std]` the compiler enforces, and that may hold no `unsafe`.
const CORE: &str = "xtask/core/src/";

/// Everything that is wrong with the imports of a Rust file.
pub(crate) fn imports(file: &File) -> Vec<String> {
    let source = Source::read(&file.text);
    let mut wrong = Vec::new();
    for path in source.paths() {
        let full = path.absolute(&file.path).join("::");
        let banned = BANNED
            .iter()
            .filter(|(folder, _)| file.path.starts_with(folder))
            .flat_map(|(_, banned)| banned.iter());
        let world = WORLD.iter().filter(|_| is_view(&file.path));
        for ban in banned.chain(world) {
            if names(&full, ban) {
                wrong.push(format!("{}:{}: `{full}` names `{ban}`", file.path, path.line));
            }
        }
        if file.path.starts_with("services/") && full.starts_with("xtask") {
            wrong.push(format!("{}:{}: a service names the tool", file.path, path.line));
        }
        if file.path.starts_with("tests/")
            && full.starts_with("xtask")
            && !["xtask_client", "xtask_test_support"].iter().any(|crate_| names(&full, crate_))
        {
            wrong.push(format!("{}:{}: only `xtask_client` is for tests", file.path, path.line));
        }
    }
    if file.path.starts_with(CORE) {
        for pair in source.words().windows(2) {
            let (line, word) = &pair[1];
            if word == "unsafe" || (word == "std" && pair[0].1 == "crate") {
                wrong.push(format!("{}:{line}: `{word}` in the core", file.path));
            }
        }
    }
    wrong
}

/// Macros that write to a stream, which no view does; and that panic where their words cannot
/// be written, so that in what a supervisor runs a full disk would end the stack.
pub(crate) fn prints(file: &File) -> Vec<String> {
    let rooms = ["driver", "effects", "session", "supervisor", "system", "workspace"];
    let room = file.path.strip_prefix("xtask/daily/src/").and_then(|path| path.split('/').next());
    let is_bound = is_view(&file.path)
        || room.is_some_and(|room| rooms.contains(&room)) && !file.path.contains("/tests/");
    let words = Source::read(&file.text).words();
    let prints = words.iter().filter(|(_, word)| {
        is_bound && ["print", "println", "eprint", "eprintln", "dbg"].contains(&word.as_str())
    });
    prints
        .map(|(line, word)| format!("{}:{line}: `{word}` writes, and can panic", file.path))
        .collect()
}

/// Statements with a parameter alone as `LIMIT`, which SQLite plans again for every value.
pub(crate) fn bare_limits(file: &File) -> Vec<String> {
    let bare = |text: &str| {
        let limits = text.split("LIMIT $").skip(1);
        let rest = |limit: &str| limit.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
        limits.map(rest).any(|rest| !rest.starts_with(" + 0"))
    };
    let texts = Source::read(&file.text).texts;
    let bare = texts.iter().filter(|(_, text)| file.path.starts_with("services/") && bare(text));
    bare.map(|(line, _)| format!("{}:{line}: write `LIMIT $1 + 0`", file.path)).collect()
}

/// The files that may hold the tool's name: the launcher, what finds out what the user typed, and
/// what names the installed command or the alias of another workspace.
const NAMING: [&str; 5] = [
    "xtask/control/src/called_as.rs",
    "xtask/install/src/error.rs",
    "xtask/launcher/src/main.rs",
    // Shells complete both names.
    "xtask/src/cli/completions.rs",
    "xtask/src/cli/install.rs",
];

/// Texts with a fixed name of the tool, where its user may have typed another one. Only comments
/// that no command prints may name it.
pub(crate) fn fixed_names(file: &File) -> Vec<String> {
    let is_product = file.path.starts_with("xtask/") && file.path.contains("/src/");
    // Benchmarks measure the tool of this repository alone.
    let is_product = is_product && !file.path.starts_with("xtask/bench/");
    let is_test = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    if !is_product || is_test || NAMING.contains(&&*file.path) {
        return Vec::new();
    }
    let product = file.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let is_comment = |line: &str| line.starts_with("//") && !line.starts_with("/// ");
    let lines = (1..).zip(product.lines()).filter(|(_, line)| !is_comment(line.trim_start()));
    let found = lines.filter(|(_, line)| {
        ["cargo xtask", "cargo services"].iter().any(|name| line.contains(name))
    });
    found.map(|(line, _)| format!("{}:{line}: write `%xtask%` for the name", file.path)).collect()
}

fn is_view(path: &str) -> bool {
    let views = PROGRAMS.iter().filter_map(|folder| path.strip_prefix(folder));
    views.into_iter().any(|path| path.starts_with("view/")) && !path.ends_with("/tests.rs")
}

/// Whether the path is what is banned, or inside it.
fn names(path: &str, ban: &str) -> bool {
    path.strip_prefix(ban).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What is wrong with a Rust file as a text: too long, too wide, no purpose, a test left out.
pub(crate) fn shape(file: &File) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = file.text.lines().count();
    if lines > 500 {
        wrong.push(format!("{}: {lines} lines, of 500 at most", file.path));
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        // The formatter wraps code, and leaves comments alone.
        if line.trim_start().starts_with("//") && line.chars().count() > 100 {
            wrong.push(format!("{}:{number}: a comment is wider than 100 characters", file.path));
        }
    }
    if !file.text.starts_with("//!") {
        wrong.push(format!("{}: does not begin with `//!`", file.path));
    }
    let code = Source::read(&file.text).code;
    let packed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    if packed.contains("#[ignore") || packed.contains(",ignore]") || packed.contains(",ignore)") {
        wrong.push(format!("{}: a test is ignored", file.path));
    }
    wrong
}

/// Crates that a manifest depends on for any target, each with the table that says so.
pub(crate) fn dependencies(manifest: &Table) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if matches!(key, "dependencies" | "dev-dependencies" | "build-dependencies") {
            found.extend(table.iter().map(|(name, value)| {
                let renamed = value.get("package").and_then(Item::as_str);
                (key.to_owned(), renamed.unwrap_or(name).to_owned())
            }));
        } else if key == "target" {
            let targets = table.iter().filter_map(|(_, target)| target.as_table());
            found.extend(targets.flat_map(dependencies));
        }
    }
    found
}

/// What tests share. No program is built from it, so that `cargo xtask up` does not compile it.
const SUPPORT: &str = "xtask-test-support";

/// What is wrong with the dependencies of the manifest in this folder. `services` are
/// the packages of the sample application.
pub(crate) fn edges(folder: &str, manifest: &Table, services: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (table, name) in dependencies(manifest) {
        let tool = name == "xtask" || name.starts_with("xtask-");
        let service = services.contains(&name);
        let allowed = match folder {
            "xtask/core" if table == "dev-dependencies" => !tool && !service,
            "xtask/core" => ["serde", "thiserror"].contains(&name.as_str()),
            "xtask/control" if table == "dev-dependencies" => !service,
            "xtask/control" => (!tool || name == "xtask-core") && !service,
            "xtask/client" => {
                let below = ["xtask-control", "xtask-core", "xtask-logs"];
                (!tool || below.contains(&&*name)) && !service
            }
            "xtask/logs" => !tool && !service,
            "xtask/tests/support" => (!tool || name == "xtask-client") && !service,
            "tests" => (!tool || ["xtask-client", SUPPORT].contains(&name.as_str())) && !service,
            folder if folder.starts_with("services/") => !tool,
            _ => !service && (name != SUPPORT || table == "dev-dependencies"),
        };
        if !allowed {
            wrong.push(format!("{folder}/Cargo.toml: depends on `{name}`"));
        }
    }
    wrong
}

/// Words of the sample application.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// Names of its services. They may be plain words, so that comments may say them in
    /// a sentence and code may call a variable so; texts and marked words may not.
    pub(crate) services: Vec<String>,
    /// Names in its data, which have no other use.
    pub(crate) names: Vec<String>,
}

/// Places where a file of the tool mentions the sample application.
pub(crate) fn mentions(file: &File, words: &Words) -> Vec<String> {
    let mut wrong: Vec<String> = file
        .text
        .lines()
        .enumerate()
        .flat_map(|(line, text)| found(text, &words.names).map(move |word| (line + 1, word)))
        .map(|(line, word)| format!("{}:{line}: mentions `{word}`", file.path))
        .collect();
    let marked: Vec<(usize, String)> = if file.path.ends_with(".rs") {
        let source = Source::read(&file.text);
        let comments = source.comments.iter().flat_map(|(line, text)| marked(*line, text));
        source.texts.iter().cloned().chain(comments).collect()
    } else if file.path.ends_with(".md") {
        marked(1, &file.text)
    } else {
        vec![(1, file.text.clone())]
    };
    for (line, text) in marked {
        for (below, text) in text.lines().enumerate() {
            wrong.extend(found(text, &words.services).map(|word| {
                format!(
                    "{}:{}: mentions the service `{word}`; if `{word}` is only a word here, add it \
                     to `ORDINARY_WORDS` in xtask/tests/architecture/main.rs",
                    file.path,
                    line + below
                )
            }));
        }
    }
    wrong
}

/// What stands between backticks.
fn marked(line: usize, text: &str) -> Vec<(usize, String)> {
    let mut line = line;
    let mut marked = Vec::new();
    for (place, part) in text.split('`').enumerate() {
        if place % 2 == 1 {
            marked.push((line, part.to_owned()));
        }
        line += part.matches('\n').count();
    }
    marked
}

/// Those of the words that the line contains as whole words. A name of a lint or of a macro of the
/// language is no mention.
fn found<'a>(line: &'a str, words: &'a [String]) -> impl Iterator<Item = &'a str> + 'a {
    words.iter().map(String::as_str).filter(move |word| {
        line.match_indices(word).any(|(at, _)| {
            let (before, after) = (&line[..at], &line[at + word.len()..]);
            !before.ends_with(|c| is_word(c) || c == '-')
                && !after.starts_with(|c| is_word(c) || c == '-' || c == '!')
                && !before.ends_with("clippy::")
        })
    })
}
