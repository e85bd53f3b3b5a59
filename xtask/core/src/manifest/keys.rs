//! The keys of the metadata, each declared once.
//!
//! To add a key, add an entry to [`Settings`] or to the table below it, and use the new
//! field where the plan is made (`plan/assemble.rs`). The entry gives the reader, the merge
//! rule of overlays, the messages about unknown keys, and the line in `docs/metadata.md`,
//! which a test keeps up to date. Values that need more than one call of the reader are
//! decoded in `shape.rs`.

use alloc::vec::Vec;
use core::time::Duration;

use super::declare::{self, Declared, Key, Merge, Overlay, Type, declare_keys, names, table};
use super::reader::Reader;
use super::shape::{self, DependsOn, PortWanted};
use super::value::Value;
use super::{At, TextAt};
use crate::terms::{Adopt, Kind, Placement, Restart};

const KINDS: &[(&str, Kind); 2] = &[("service", Kind::Service), ("job", Kind::Job)];
/// The caller decides at each start whether any other service runs in a container.
const PLACEMENTS: &[(&str, Placement); 1] = &[("process", Placement::Process)];
const RESTARTS: &[(&str, Restart); 3] =
    &[("no", Restart::No), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];
const ADOPTS: &[(&str, Adopt); 3] =
    &[("same-binary", Adopt::SameBinary), ("any", Adopt::Any), ("never", Adopt::Never)];
const SIGNALS: &[(&str, ()); 7] = &[
    ("SIGTERM", ()),
    ("SIGINT", ()),
    ("SIGQUIT", ()),
    ("SIGHUP", ()),
    ("SIGUSR1", ()),
    ("SIGUSR2", ()),
    ("SIGKILL", ()),
];

const MOST_LOG_FILES: u32 = 1000;
const MOST_REPLICAS: u32 = 1000;

/// The keys of a section that are not settings, and so are not part of an overlay.
pub const SECTION_KEYS: &[Key] = &[
    Key {
        name: "name",
        takes: Type::Text,
        default: "",
        merge: Merge::Replace,
        doc: "The service's name everywhere; the package's name by default. \
              Only in `[package.metadata.service]`.",
    },
    Key {
        name: "with",
        takes: Type::Table(&[]),
        default: "",
        merge: Merge::ByKey,
        doc: "`with.NAME` is an overlay of the keys below, active with `up --with NAME`.",
    },
];

/// The keys of a section or an overlay.
pub const SETTINGS: &[Key] = Settings::KEYS;

declare_keys! {
    /// The settings of one service, as one section or overlay states them. Every key is
    /// optional, and defaults are applied later, when the plan is made.
    Settings:

    kind: Option<At<Kind>> {
        key: "kind", takes: Type::Choice(&names(KINDS)), default: "\"service\"",
        read: |r, k, v| r.choice(k, v, KINDS), merge: Replace,
        doc: "A job runs to completion: once between `up` and `down`, and again after a change.",
    }
    bin: Option<TextAt> {
        key: "bin", takes: Type::Text, default: "",
        read: Reader::string, merge: Replace,
        doc: "Package only: the binary to run; `default-run`, or the only binary, by default.",
    }
    command: Option<At<Vec<TextAt>>> {
        key: "command", takes: Type::Texts, default: "",
        read: |r, k, v| shape::nonempty(r, k, v, "program"), merge: Replace,
        doc: "A program and its arguments instead of a binary: \
              `[\"postgres\", \"-D\", \"${stack.data}/pg\"]`.",
    }
    image: Option<TextAt> {
        key: "image", takes: Type::Text, default: "",
        read: Reader::string, merge: Replace,
        doc: "A container image instead of a binary: `\"localhost/postgres:17\"`. \
              `port` is the number inside the container.",
    }
    external: Option<At<bool>> {
        key: "external", takes: Type::Boolean, default: "false",
        read: Reader::boolean, merge: Replace,
        doc: "The tool never starts the service. It probes the service and reports it if it \
              is missing.",
    }
    placement: Option<At<Placement>> {
        key: "placement", takes: Type::Choice(&names(PLACEMENTS)), default: "",
        read: |r, k, v| r.choice(k, v, PLACEMENTS), merge: Replace,
        doc: "`\"process\"` never runs in a container. Without it, `--containers` decides.",
    }
    depends_on: Vec<DependsOn> {
        key: "depends-on", takes: Type::Dependencies, default: "[]",
        read: shape::depends_on, merge: Unite,
        doc: "What must be ready first: `[\"db\"]`, `{ db = \"started\", migrate = \"succeeded\" }`, \
              or `{ db = { condition = \"ready\", restart = true } }` to restart with it.",
    }
    uses: Vec<TextAt> {
        key: "uses", takes: Type::Texts, default: "[]",
        read: |r, k, v| r.strings(k, v).map(|at| at.value).unwrap_or_default(), merge: Unite,
        doc: "Services whose address it gets without waiting. Such edges may form a cycle.",
    }
    port: Option<At<Vec<PortWanted>>> {
        key: "port", takes: Type::Port, default: "",
        read: shape::port, merge: Replace,
        doc: "The port in the default stack; `0` is any free port. Isolated stacks get a free one.",
    }
    ports: Option<At<Vec<PortWanted>>> {
        key: "ports", takes: Type::Ports, default: "",
        read: shape::ports, merge: Replace,
        doc: "Several ports: `{ http = 3000, metrics = 3001 }`. `http` is the default one.",
    }
    host: Option<TextAt> {
        key: "host", takes: Type::Text, default: "\"127.0.0.1\"",
        read: Reader::string, merge: Replace,
        doc: "The IP address to bind.",
    }
    url: Option<TextAt> {
        key: "url", takes: Type::Text, default: "\"http://${self.host}:${self.port}\"",
        read: Reader::string, merge: Replace,
        doc: "The address that dependents get.",
    }
    socket_activation: Option<At<bool>> {
        key: "socket-activation", takes: Type::Boolean, default: "false",
        read: Reader::boolean, merge: Replace,
        doc: "The tool binds the port, and the service inherits the socket (`LISTEN_FDS`).",
    }
    ready: Option<At<Ready>> {
        key: "ready", takes: Type::Table(Ready::KEYS), default: "",
        read: shape::ready, merge: Replace,
        doc: "Probes that must all pass. [Readiness](#readiness) describes the default.",
    }
    watchdog: Option<At<Duration>> {
        key: "watchdog", takes: Type::Duration, default: "",
        read: |r, k, v| r.wait(k, v, "10s"), merge: Replace,
        doc: "The service must send `WATCHDOG=1` at least this often.",
    }
    args: Option<Vec<TextAt>> {
        key: "args", takes: Type::Texts, default: "[]",
        read: |r, k, v| r.strings(k, v).map(|at| at.value), merge: Replace,
        doc: "Arguments of the program.",
    }
    env: Vec<(TextAt, TextAt)> {
        key: "env", takes: Type::TextTable, default: "{}",
        read: shape::env, merge: ByKey,
        doc: "Environment variables.",
    }
    env_file: Option<TextAt> {
        key: "env-file", takes: Type::Text, default: "",
        read: Reader::string, merge: Replace,
        doc: "A file of `KEY=VALUE` lines, relative to the package.",
    }
    secrets: Vec<TextAt> {
        key: "secrets", takes: Type::Texts, default: "[]",
        read: |r, k, v| r.strings(k, v).map(|at| at.value).unwrap_or_default(), merge: Unite,
        doc: "Variables whose values are masked in all output and exported as secrets, beside \
              those that are recognised by their names.",
    }
    not_secret: Vec<TextAt> {
        key: "not-secret", takes: Type::Texts, default: "[]",
        read: |r, k, v| r.strings(k, v).map(|at| at.value).unwrap_or_default(), merge: Unite,
        doc: "Variables that are shown although their names look like secrets.",
    }
    volumes: Vec<(TextAt, TextAt)> {
        key: "volumes", takes: Type::TextTable, default: "{}",
        read: shape::volumes, merge: ByKey,
        doc: "Folders of the machine in its container, the path inside first: \
              `{ \"/var/lib/x\" = \"${stack.data}/x\" }`.",
    }
    self_probe: Option<At<Vec<TextAt>>> {
        key: "self-probe", takes: Type::Texts, default: "",
        read: |r, k, v| shape::nonempty(r, k, v, "--probe"), merge: Replace,
        doc: "Arguments with which the program probes itself, `[\"--probe\", \"/readyz\"]`: \
              the health check of its image.",
    }
    deploy: Deploy {
        key: "deploy", takes: Type::Table(Deploy::KEYS), default: "",
        read: table, merge: ByKey,
        doc: "Copies and limits for `export`. `up` ignores it.",
    }
    cwd: Option<TextAt> {
        key: "cwd", takes: Type::Text, default: "\".\"",
        read: Reader::string, merge: Replace,
        doc: "The working folder, relative to the package.",
    }
    features: Option<At<Vec<TextAt>>> {
        key: "features", takes: Type::Texts, default: "[]",
        read: Reader::strings, merge: Replace,
        doc: "Package only: features to build with.",
    }
    no_default_features: Option<At<bool>> {
        key: "no-default-features", takes: Type::Boolean, default: "false",
        read: Reader::boolean, merge: Replace,
        doc: "Package only: whether to build without the default features.",
    }
    restart: Option<At<Restart>> {
        key: "restart", takes: Type::Choice(&names(RESTARTS)), default: "\"on-failure\"",
        read: |r, k, v| r.choice(k, v, RESTARTS), merge: Replace,
        doc: "When a run that ended is started again. The delay is 200 ms and doubles up to 10 s, \
              with at most 5 restarts in a minute. The default of jobs is `\"no\"`.",
    }
    stop: Stop {
        key: "stop", takes: Type::Table(Stop::KEYS), default: "",
        read: table, merge: ByKey,
        doc: "How the service is stopped.",
    }
    start_timeout: Option<At<Duration>> {
        key: "start-timeout", takes: Type::Duration, default: "\"30s\"",
        read: |r, k, v| r.wait(k, v, "30s"), merge: Replace,
        doc: "The time from start to ready, without the pull of an image. \
              The default of jobs is `\"10m\"`.",
    }
    log: Log {
        key: "log", takes: Type::Table(Log::KEYS), default: "",
        read: table, merge: ByKey,
        doc: "How much of its output is kept, from its next start on.",
    }
    adopt: Option<At<Adopt>> {
        key: "adopt", takes: Type::Choice(&names(ADOPTS)), default: "\"same-binary\"",
        read: |r, k, v| r.choice(k, v, ADOPTS), merge: Replace,
        doc: "Which running process may replace a run of the tool; see [adoption.md](adoption.md). \
              The default of external services is `\"any\"`.",
    }
}

declare_keys! {
    /// The probes of `ready`.
    Ready:

    http: Option<TextAt> {
        key: "http", takes: Type::Text, default: "",
        read: shape::path, merge: Replace,
        doc: "The path of a `GET` that must be answered with an expected status.",
    }
    status: Vec<u16> {
        key: "status", takes: Type::Statuses, default: "200",
        read: shape::statuses, merge: Replace,
        doc: "The expected statuses of `http`.",
    }
    port: Option<TextAt> {
        key: "port", takes: Type::Text, default: "",
        read: Reader::string, merge: Replace,
        doc: "The name of the port that `http` and `tcp` probe; the default port without it.",
    }
    tcp: bool {
        key: "tcp", takes: Type::Boolean, default: "false",
        read: shape::is_true, merge: Replace,
        doc: "Whether the port must accept connections.",
    }
    log: Option<TextAt> {
        key: "log", takes: Type::Text, default: "",
        read: Reader::string, merge: Replace,
        doc: "A regular expression that a line of its output must match.",
    }
    notify: bool {
        key: "notify", takes: Type::Boolean, default: "false",
        read: shape::is_true, merge: Replace,
        doc: "Whether it must send `READY=1` on `NOTIFY_SOCKET`.",
    }
    command: Option<Vec<TextAt>> {
        key: "command", takes: Type::Texts, default: "",
        read: |r, k, v| shape::nonempty(r, k, v, "program").map(|at| at.value), merge: Replace,
        doc: "A program and its arguments that must exit with 0.",
    }
}

declare_keys! {
    /// How a service is stopped.
    Stop:

    signal: Option<TextAt> {
        key: "signal", takes: Type::Choice(&names(SIGNALS)), default: "\"SIGTERM\"",
        read: |r, k, v| r.choice(k, v, SIGNALS).and_then(|_| r.string(k, v)), merge: Replace,
        doc: "The signal that stops it.",
    }
    timeout: Option<At<Duration>> {
        key: "timeout", takes: Type::Duration, default: "\"10s\"",
        read: Reader::duration, merge: Replace,
        doc: "The time until SIGKILL.",
    }
}

declare_keys! {
    /// How much of a service's output is kept.
    Log:

    size_bytes: Option<At<u64>> {
        key: "size", takes: Type::Size, default: "\"32M\"",
        read: |r, k, v| r.size(k, v, "32M"), merge: Replace,
        doc: "The log is rotated before it exceeds this.",
    }
    files: Option<At<u32>> {
        key: "files", takes: Type::Count(0, MOST_LOG_FILES), default: "5",
        read: |r, k, v| r.count(k, v, 0..=MOST_LOG_FILES, 5), merge: Replace,
        doc: "The number of rotated files that are kept.",
    }
}

declare_keys! {
    /// Copies and limits where a service is exported to. `up` runs each service once.
    Deploy:

    replicas: Option<At<u32>> {
        key: "replicas", takes: Type::Count(1, MOST_REPLICAS), default: "1",
        read: |r, k, v| r.count(k, v, 1..=MOST_REPLICAS, 3), merge: Replace,
        doc: "The number of copies.",
    }
    memory_bytes: Option<At<u64>> {
        key: "memory", takes: Type::Size, default: "",
        read: |r, k, v| r.size(k, v, "64M"), merge: Replace,
        doc: "The memory that a copy may use; unlimited by default.",
    }
    cpu_millis: Option<At<u32>> {
        key: "cpus", takes: Type::Number, default: "",
        read: shape::cpus, merge: Replace,
        doc: "The processors that a copy may use; unlimited by default.",
    }
}

impl Settings {
    /// The ports, from `port` or `ports`; `ports` wins if a mistaken section has both.
    #[must_use]
    pub fn ports(&self) -> Option<&At<Vec<PortWanted>>> {
        self.ports.as_ref().or(self.port.as_ref())
    }
}
