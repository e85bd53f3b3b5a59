//! Tests the simulation. Each file in `mutants/` breaks one rule of the reducer in a copy of its
//! source. The copy is simulated with the normal number of seeds, and a checker must object. If
//! that takes more seeds, the mutant says `by: traces`, and a trace of a past failure must find it.
//! Mutants inside of functions share one build, where a number selects the one that runs.
//!
//! The tests fail for a mutant that survives, and for one that no longer applies. The source of
//! the repository is not changed.

#![allow(clippy::unwrap_used)]

mod switch;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xtask_core::record::{RecordLine, VERSION};

use switch::{Change, SWITCH, has_place};

/// The tests of the simulation that may find a mutant: with seeds, and with traces.
const SEEDS: &str = "no_seed_violates_a_property";
const TRACES: &str = "traces_of_past_failures_pass";

/// Longer than the simulation of any mutant takes.
const LIMIT: Duration = Duration::from_secs(300);

/// One way to break the source: in `file`, the only place that reads `find` reads
/// `replace` instead.
struct Mutant {
    name: String,
    what: String,
    file: String,
    find: String,
    replace: String,
    /// Whether a trace finds it, because the normal number of seeds does not.
    by_traces: bool,
}

impl Mutant {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (head, rest) = text.split_once("--- find\n").unwrap();
        let (find, replace) = rest.split_once("--- replace\n").unwrap();
        let line = |key: &str| head.lines().find_map(|line| line.strip_prefix(key));
        let field = |key: &str| line(key).unwrap().trim().to_owned();
        Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            what: field("what:"),
            file: field("file:"),
            find: find.trim_end().to_owned(),
            replace: replace.trim_end().to_owned(),
            by_traces: line("by:").is_some_and(|by| by.trim() == "traces"),
        }
    }

    fn change(&self, number: usize) -> Change<'_> {
        Change { number, find: &self.find, replace: &self.replace }
    }
}

/// A workspace of its own, with one target folder for all mutants.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn make() -> Self {
        let core = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = core.join("../..");
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutation");
        let this = Self { root };
        let _ = fs::remove_dir_all(this.root.join("core"));
        fs::create_dir_all(&this.root).unwrap();
        let manifest = fs::read_to_string(workspace.join("Cargo.toml")).unwrap();
        let members = manifest.lines().find(|line| line.starts_with("members = ")).unwrap();
        // The mutants are simulated for thousands of seeds.
        let profile = "[profile.dev.package.xtask-core]\n";
        assert_eq!(manifest.matches(profile).count(), 1, "{profile}");
        let manifest = manifest
            .replace(members, "members = [\"core\"]")
            .replace("debug = \"line-tables-only\"", "debug = false")
            .replace(profile, &format!("{profile}opt-level = 2\n"));
        fs::write(this.root.join("Cargo.toml"), manifest).unwrap();
        fs::copy(workspace.join("Cargo.lock"), this.root.join("Cargo.lock")).unwrap();
        let tests = ["tests/mutation", "tests/support", "tests/simulation", "tests/traces"];
        for part in ["Cargo.toml", "src", "problems.md", "benches"].into_iter().chain(tests) {
            copy(&core.join(part), &this.root.join("core").join(part));
        }
        this
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root.join("core").join(file)).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.root.join("core").join(file), text).unwrap();
    }

    /// Whether the mutant can share a build with others.
    fn shares(&self, mutant: &Mutant) -> bool {
        has_place(&self.read(&mutant.file), &mutant.change(1))
    }

    /// Puts these mutants into the source, numbered from 1. The simulation reads the number of the
    /// one that runs from `MUTANT`.
    fn switch(&self, mutants: &[&Mutant]) {
        let mut files: BTreeMap<&str, Vec<Change<'_>>> = BTreeMap::new();
        for (index, mutant) in mutants.iter().enumerate() {
            files.entry(&mutant.file).or_default().push(mutant.change(index + 1));
        }
        for (file, changes) in files {
            self.write(file, &switch::apply(&self.read(file), &changes));
        }
        self.write("src/lib.rs", &format!("{}{SWITCH}", self.read("src/lib.rs")));
        let main = "tests/simulation/main.rs";
        let mut source = self.read(main);
        for test in [SEEDS, TRACES] {
            let begin = format!("fn {test}() {{\n");
            assert_eq!(source.matches(&begin).count(), 1, "{begin}");
            let read = "    let mutant = std::env::var(\"MUTANT\").unwrap().parse().unwrap();\n    \
                        xtask_core::MUTANT.store(mutant, Ordering::Relaxed);\n";
            source = source.replace(&begin, &format!("{begin}{read}"));
        }
        self.write(main, &source);
    }

    /// Runs this test of the simulation of the copy, with the mutant of this number. Returns
    /// whether it passed, and its output.
    fn simulate(&self, test: &str, number: usize) -> (bool, String) {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["test", "--offline", "--quiet", "-p", "xtask-core", "--test", "simulation"])
            .args(["--", test])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", self.root.join("target"))
            .env("CARGO_INCREMENTAL", "1")
            .env("RUST_BACKTRACE", "0")
            .env_remove("XTASK_SEED")
            .env_remove("XTASK_SEEDS")
            .env("MUTANT", number.to_string())
            .stdin(Stdio::null());
        let output = self.root.join("output");
        let file = fs::File::create(&output).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let mut child = command.spawn().unwrap();
        let end = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                end_all(&mut child);
                break child.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        (status.success(), fs::read_to_string(&output).unwrap())
    }

    /// The message of the checker that rejects a mutant, which is compiled alone.
    fn objection_alone(&self, mutant: &Mutant) -> Result<String, String> {
        let source = self.read(&mutant.file);
        self.write(&mutant.file, &source.replace(&mutant.find, &mutant.replace));
        let said = self.objection(mutant, 0);
        self.write(&mutant.file, &source);
        said
    }

    /// The message of the checker that rejects a mutant, which has this number in the source.
    fn objection(&self, mutant: &Mutant, number: usize) -> Result<String, String> {
        let (test, found) = match mutant.by_traces {
            true => (TRACES, "trace "),
            false => (SEEDS, "seed "),
        };
        let (survived, output) = self.simulate(test, number);
        if survived {
            return Err("survived".to_owned());
        }
        let said = output.lines().find(|line| line.starts_with(found) && line.contains("checker"));
        match said {
            Some(line) if mutant.by_traces => Ok(line.to_owned()),
            Some(line) => {
                let record = output.lines().find_map(|line| line.split_once("cargo xtask replay "));
                let (_, path) = record.ok_or_else(|| format!("{line}, and no record is named"))?;
                record_is_whole(&fs::read_to_string(path).unwrap());
                Ok(line.to_owned())
            }
            None => {
                let start = output.len().saturating_sub(2000);
                Err(format!("ended without a checker's word:\n{}", output.get(start..).unwrap()))
            }
        }
    }
}

/// Ends a process and its descendants, such as compilers and endless simulations. It is in the
/// process group of this test, so that it ends with the test.
fn end_all(child: &mut Child) {
    let kill = |signal: &str, pids: &[String]| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "kill -s \"$@\"", "sh", signal]).args(pids).stderr(Stdio::null());
        shell.status().unwrap();
    };
    let mut pids = vec![child.id().to_string()];
    // A stopped process cannot start another one.
    kill("STOP", &pids);
    let mut at = 0;
    while let Some(pid) = pids.get(at) {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let children = threads.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
        let children: String = children.collect();
        pids.extend(children.split_whitespace().map(str::to_owned));
        at += 1;
    }
    kill("KILL", &pids);
}

/// Fails unless `replay` can read the record: a header, then steps. All steps have effects,
/// except one that ended in a panic.
fn record_is_whole(text: &str) {
    let mut lines = text.lines().map(|line| serde_json::from_str::<RecordLine>(line).unwrap());
    assert!(matches!(lines.next(), Some(RecordLine::Begin { version: VERSION, .. })));
    let effects: Vec<bool> = lines
        .filter_map(|line| match line {
            RecordLine::Step(step) => Some(step.effects.is_some()),
            RecordLine::Check(_) => None,
            RecordLine::Begin { .. } => panic!("a record in a record"),
        })
        .collect();
    let (_, before) = effects.split_last().unwrap();
    assert!(before.iter().all(|effects| *effects), "some steps have no effects");
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, fs::read(from).unwrap()).unwrap();
    }
}

/// All mutants, ordered by name.
fn mutants() -> Vec<Mutant> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants");
    let entries = fs::read_dir(folder).unwrap();
    let mut mutants: Vec<Mutant> =
        entries.map(|entry| Mutant::read(&entry.unwrap().path())).collect();
    mutants.sort_by(|a, b| a.name.cmp(&b.name));
    mutants
}

#[test]
fn mutants_apply_to_the_source() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR"));
    for mutant in mutants() {
        let source = fs::read_to_string(core.join(&mutant.file)).unwrap();
        let places = source.matches(&mutant.find).count();
        assert_eq!(places, 1, "{} applies to {places} places of {}", mutant.name, mutant.file);
    }
}

#[test]
fn simulation_finds_every_mutant() {
    let only = std::env::var("XTASK_MUTANT").unwrap_or_default();
    let mutants: Vec<Mutant> = mutants().into_iter().filter(|it| it.name.contains(&only)).collect();
    let copy = Copy::make();
    let (together, alone): (Vec<_>, Vec<_>) = mutants.iter().partition(|it| copy.shares(it));
    let mut said: Vec<_> = alone.iter().map(|it| (*it, copy.objection_alone(it))).collect();
    copy.switch(&together);
    // Otherwise the switches would be what a checker objects to.
    let (passed, output) = copy.simulate(SEEDS, 0);
    assert!(passed, "{output}");
    said.extend(together.iter().zip(1..).map(|(it, number)| (*it, copy.objection(it, number))));
    let mut wrong = Vec::new();
    for (mutant, said) in said {
        match said {
            Ok(said) => println!("{} ({}): {said}", mutant.name, mutant.what),
            Err(why) => wrong.push(format!("{} ({}): {why}", mutant.name, mutant.what)),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn rules_and_conditions_have_mutants() {
    let mutants = mutants();
    let rules = (1..=11).map(|rule| format!("rule-{rule}-"));
    let conditions =
        ["ready", "started", "succeeded", "together", "program", "address", "wanted", "adopted"];
    for wanted in rules.chain(conditions.map(|condition| format!("condition-{condition}"))) {
        let found = mutants.iter().any(|mutant| mutant.name.starts_with(&wanted));
        assert!(found, "no mutant {wanted}");
    }
}

#[test]
fn ending_a_process_ends_its_descendants() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    end_all(&mut child);
    assert!(!child.wait().unwrap().success());
    let lives = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|state| !state.is_empty() && !state.starts_with(" Z"))
    };
    let end = Instant::now() + Duration::from_secs(10);
    while lives() {
        assert!(Instant::now() < end, "{pid} is alive");
        std::thread::sleep(Duration::from_millis(5));
    }
}
