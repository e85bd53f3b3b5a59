//! Generates valid and invalid workspaces from a seed.
//!
//! The values have positions but no file.

use xtask_core::manifest::{Binary, Key, Manifest, Package, Table, Value, ValueKind, Workspace};
use xtask_core::terms::chance::Chance;

pub(crate) struct Random(Chance);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Chance::of(seed ^ 0x5851_f42d_4c95_7f2d))
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0.below(limit)
    }

    /// True once in `of` times.
    pub(crate) fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

pub(crate) const NAMES: &[&str] =
    &["a", "b", "c", "d", "a", "b", "c", "d", "a-b", "a_b", "self", "9", "", "é"];

const KEYS: &[&str] = &[
    "name",
    "with",
    "bin",
    "command",
    "image",
    "external",
    "kind",
    "depends-on",
    "uses",
    "port",
    "ports",
    "url",
    "host",
    "socket-activation",
    "ready",
    "health",
    "every",
    "watchdog",
    "args",
    "env",
    "env-file",
    "cwd",
    "features",
    "no-default-features",
    "restart",
    "stop",
    "start-timeout",
    "adopt",
    "volumes",
    "self-probe",
    "open",
    "http",
    "status",
    "tcp",
    "log",
    "notify",
    "signal",
    "timeout",
    "condition",
    "default",
    "e2e",
    "prot",
    "service",
    "services",
    "metadata",
    "xtask",
    "a",
    "b",
    "metrics",
    "",
];

const TEXTS: &[&str] = &[
    "a",
    "b",
    "",
    "job",
    "/",
    "10s",
    "1e999s",
    ".5.s",
    "ready",
    "succeeded",
    "${a.url}",
    "no",
    "$",
    "${self.port}",
    "${b.port.metrics}",
    "${",
    "$${}",
    "${env.LEVEL}",
    "${é}",
    "é$é",
    "0.0.0.0",
    "::1",
    "127.0.0.1",
    "http://x:y@z",
    "SIGTERM",
    "missing",
    "../../..",
    "any",
    "${stack.data}",
];

/// Random values below the tables that the planner reads.
pub(crate) fn invalid(random: &mut Random) -> Workspace {
    let mut manifests = Vec::new();
    for index in 0..=random.below(3) {
        let mut metadata = Vec::new();
        if !random.chance(4) {
            metadata.push((key("service"), nested(section(random))));
        }
        if !random.chance(3) {
            metadata.push((key("services"), nested(sections(random))));
        }
        if random.chance(3) {
            metadata.push((key("xtask"), nested(any_table(random, 2))));
        }
        let top = if index == 0 && random.chance(2) { "workspace" } else { "package" };
        let metadata = table(vec![(key("metadata"), nested(table(metadata)))]);
        manifests.push(Manifest {
            file: format!("{index}/Cargo.toml"),
            folder: format!("/repo/{index}"),
            text: "x".repeat(400),
            root: table(vec![(key(top), nested(metadata))]),
            package: (top == "package").then(|| package(random, index)),
        });
    }
    Workspace { root: "/repo".into(), manifests }
}

fn package(random: &mut Random, index: usize) -> Package {
    let name = if random.chance(4) { random.pick(NAMES).into() } else { format!("p{index}") };
    let binary =
        |name: &str| Binary { name: name.to_string(), required_features: vec!["a".into()] };
    Package {
        id: format!("{name} {index}"),
        spec: name.clone(),
        default_run: random.chance(3).then(|| random.pick(NAMES).to_string()),
        binaries: match random.below(5) {
            0 => (0..random.below(3)).map(|_| binary(random.pick(NAMES))).collect(),
            _ => vec![binary(&name)],
        },
        features: (0..random.below(3)).map(|_| random.pick(NAMES).to_string()).collect(),
        name,
    }
}

fn key(name: &str) -> Key {
    Key { name: name.into(), bytes: 0..1 }
}

fn table(entries: Vec<(Key, Value)>) -> Table {
    Table { entries }
}

fn nested(inner: Table) -> Value {
    Value { kind: ValueKind::Table(inner), bytes: 0..1 }
}

fn placed(random: &mut Random, kind: ValueKind) -> Value {
    let start = random.below(200);
    let length = match &kind {
        // A text without escapes has this length, so that a caret can point into it.
        ValueKind::String(text) if random.chance(2) => text.len() + 2,
        _ => random.below(100),
    };
    Value { kind, bytes: start..start + length }
}

fn sections(random: &mut Random) -> Table {
    let count = random.below(4);
    table((0..count).map(|_| (key(random.pick(NAMES)), nested(section(random)))).collect())
}

/// Known keys, mostly with values of a fitting type.
fn section(random: &mut Random) -> Table {
    if random.chance(4) {
        return any_table(random, 3);
    }
    let mut entries = Vec::new();
    for name in
        ["depends-on", "uses", "args", "ports", "ready", "health", "env", "url", "cwd", "command"]
    {
        if !random.chance(4) {
            continue;
        }
        let kind = match name {
            "ready" | "health" => ValueKind::Table(any_table(random, 1)),
            "ports" => {
                let number = i64::try_from(random.below(9)).unwrap();
                let port = placed(random, ValueKind::Integer(number));
                ValueKind::Table(table(vec![(key(random.pick(&["http", "a"])), port)]))
            }
            "env" => ValueKind::Table(table(vec![(key("LEVEL"), any_text(random))])),
            "url" | "cwd" => any_text(random).kind,
            _ => {
                let count = random.below(3);
                ValueKind::Array((0..count).map(|_| any_text(random)).collect())
            }
        };
        entries.push((key(name), placed(random, kind)));
    }
    table(entries)
}

fn any_text(random: &mut Random) -> Value {
    let text = random.pick(TEXTS);
    placed(random, ValueKind::String(text.into()))
}

fn any_table(random: &mut Random, depth: usize) -> Table {
    let count = random.below(6);
    table((0..count).map(|_| (key(random.pick(KEYS)), any(random, depth))).collect())
}

fn any(random: &mut Random, depth: usize) -> Value {
    let kind = match random.below(if depth == 0 { 5 } else { 8 }) {
        0 => ValueKind::Integer(random.pick(&[0, 1, -1, 200, 5000, i64::MAX, i64::MIN])),
        1 => ValueKind::Float(0.5),
        2 => ValueKind::Boolean(random.chance(2)),
        3 => ValueKind::Datetime("2000-01-01".into()),
        4 => any_text(random).kind,
        5 => {
            let count = random.below(3);
            ValueKind::Array((0..count).map(|_| any(random, depth - 1)).collect())
        }
        _ => ValueKind::Table(any_table(random, depth - 1)),
    };
    placed(random, kind)
}

/// Services whose `depends-on` names earlier ones and whose `uses` names any.
pub(crate) fn valid(random: &mut Random) -> Workspace {
    let count = 1 + random.below(12);
    // The order of the names differs from the order of the edges.
    let names: Vec<String> =
        (0..count).map(|index| format!("{}{index}", random.pick(&["a", "m", "z"]))).collect();
    let mut sections = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let (mut depends_on, mut uses) = (Vec::new(), Vec::new());
        for (other, other_name) in names.iter().enumerate() {
            match random.below(4) {
                0 if other < index => depends_on.push(other_name.clone()),
                1 if other != index => uses.push(other_name.clone()),
                _ => {}
            }
        }
        let known = depends_on.iter().chain(&uses).map(|name| format!("${{{name}.url}}"));
        let number = if random.chance(2) { 0 } else { 5000 + i64::try_from(index).unwrap() };
        let level = Value { kind: ValueKind::String("info".into()), bytes: 0..6 };
        let section = table(vec![
            (key("command"), texts(["program".to_string()])),
            (key("args"), texts(known)),
            (key("depends-on"), texts(depends_on)),
            (key("uses"), texts(uses)),
            (key("port"), Value { kind: ValueKind::Integer(number), bytes: 0..1 }),
            (key("env"), nested(table(vec![(key("LEVEL"), level)]))),
        ]);
        sections.push((key(name), nested(section)));
    }
    let services = table(vec![(key("services"), nested(table(sections)))]);
    let metadata = table(vec![(key("metadata"), nested(services))]);
    let manifest = Manifest {
        file: "Cargo.toml".into(),
        folder: "/repo".into(),
        text: "x".into(),
        root: table(vec![(key("workspace"), nested(metadata))]),
        package: None,
    };
    Workspace { root: "/repo".into(), manifests: vec![manifest] }
}

fn texts(words: impl IntoIterator<Item = String>) -> Value {
    let items = words.into_iter();
    let items = items
        .map(|word| Value { bytes: 0..word.len() + 2, kind: ValueKind::String(word) })
        .collect();
    Value { kind: ValueKind::Array(items), bytes: 0..1 }
}
