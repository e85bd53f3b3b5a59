//! Executes `docs/tutorial.md` as a reader would: applies its edits, writes its files, runs each
//! command, and compares what it prints with the page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use xtask_test_support::{Fixture, Ran, Running, tool};

/// Longer than any command of the page takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// The folder of a reader, and the shell that they use.
struct Reader {
    fixture: Fixture,
    folder: PathBuf,
    path: String,
    /// A file that the page has named and not shown yet.
    file: Option<String>,
    commands: u32,
}

impl Reader {
    fn new() -> Self {
        // The page makes its root, and the fixture takes down what runs there.
        let fixture = Fixture::new("shop");
        let programs = fixture.out().join("bin");
        fs::create_dir_all(&programs).unwrap();
        std::os::unix::fs::symlink(tool(), programs.join("cargo-services")).unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let folder = fixture.root().parent().unwrap().to_owned();
        Self { fixture, folder, path, file: None, commands: 0 }
    }

    /// A command of the shell in the present folder. The folder that it ends in is kept.
    #[track_caller]
    fn run(&mut self, line: &str) -> Ran {
        let place = self.fixture.out().join("place");
        let script = format!("{{ {line}\n}} && pwd > {}", place.display());
        let bare = self.fixture.command();
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]).current_dir(&self.folder).env_clear();
        shell.envs(bare.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env_remove("XTASK_CALLED_AS").env("PATH", &self.path).env("NO_COLOR", "1");
        // Repeated runs of this test compile the client once.
        shell.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("tutorial"));
        shell.env("CARGO_PROFILE_DEV_DEBUG", "0");
        self.commands += 1;
        let output = self.fixture.out().join(format!("command{}", self.commands));
        let ran = Running::start(shell, &[], output).wait(PATIENCE);
        if let Ok(folder) = fs::read_to_string(&place) {
            self.folder = folder.trim().into();
        }
        ran
    }

    fn block(&mut self, kind: &str, text: &str) {
        match (kind, self.file.take()) {
            ("console", _) => self.console(text),
            ("diff", _) => {
                let file = self.fixture.out().join("edit.diff");
                fs::write(&file, text).unwrap();
                self.run(&format!("git apply --recount {}", file.display())).ends_with(0);
            }
            (_, Some(file)) => {
                let path = self.folder.join(file);
                let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text.replace("CHECKOUT", checkout.to_str().unwrap())).unwrap();
            }
            ("sh", None) => assert!(text.starts_with("cargo install "), "not executed: {text}"),
            (kind, None) => panic!("the page names no file for this `{kind}`:\n{text}"),
        }
    }

    /// Each command must succeed and print the lines below it, among others.
    #[track_caller]
    fn console(&mut self, text: &str) {
        for part in format!("\n{text}").split("\n$ ").skip(1) {
            let (line, wanted) = part.split_once('\n').unwrap_or((part, ""));
            let ran = self.run(line).ends_with(0);
            let all = format!("{}{}", ran.stdout, ran.stderr);
            for wanted in wanted.lines() {
                assert!(all.lines().any(|line| matches(line, wanted)), "no `{wanted}` in {ran}");
            }
        }
    }
}

/// Whether a line is the one of the page, where `…` stands for any text.
fn matches(line: &str, wanted: &str) -> bool {
    let mut parts = wanted.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else { return false };
    let mut is_open = false;
    for part in parts {
        is_open = true;
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || (is_open && wanted.ends_with('…'))
}

#[test]
fn tutorial_works_line_by_line() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md");
    let page = fs::read_to_string(page).unwrap();
    let mut reader = Reader::new();
    let mut blocks = 0;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let block: String = lines
                .by_ref()
                .take_while(|line| *line != "```")
                .map(|line| format!("{line}\n"))
                .collect();
            reader.block(kind, &block);
            blocks += 1;
        } else if let Some(file) = line.strip_suffix("`:").and_then(|it| it.rsplit('`').next()) {
            reader.file = Some(file.to_owned());
        }
    }
    assert!(blocks > 10, "only {blocks} blocks");
    reader.fixture.is_quiet();
}

#[test]
fn ellipsis_matches_any_text() {
    for (line, wanted, same) in [
        ("stock in 7 ms", "stock in …", true),
        ("a b c", "a … c", true),
        ("a b c d", "a … c", false),
        ("x 2 passed, 0 failed", "…2 passed…", true),
        ("12 apples", "12", false),
    ] {
        assert_eq!(matches(line, wanted), same, "{line}");
    }
}
