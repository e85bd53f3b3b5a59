//! The keys of the metadata, each declared once.
//!
//! To add a key, add an entry to `Settings` or to the table below it, and use the new
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
    /// A job runs to completion: once between `up` and `down`, and again after a change.
    kind: Option<At<Kind>> =
        "kind", Choice(&names(KINDS)), "\"service\"", |r, k, v| r.choice(k, v, KINDS), Replace;
    /// Jobs without a port only: it succeeds once for each data folder. Later starts skip it, until
    /// `down --data`; `restart` runs it again.
    once: Option<At<bool>> = "once", Boolean, "false", Reader::boolean, Replace;
    /// Package only: the binary to run; `default-run`, or the only binary, by default.
    bin: Option<TextAt> = "bin", Text, "", Reader::string, Replace;
    /// A program and its arguments instead of a binary: `["postgres", "-D", "${stack.data}/pg"]`.
    command: Option<At<Vec<TextAt>>> =
        "command", Texts, "", |r, k, v| shape::nonempty(r, k, v, "program"), Replace;
    /// A container image instead of a binary: `"localhost/postgres:17"`. `port` is the number
    /// inside the container.
    image: Option<TextAt> = "image", Text, "", shape::image, Replace;
    /// The tool never starts the service. It probes the service and reports it if it is missing.
    external: Option<At<bool>> = "external", Boolean, "false", Reader::boolean, Replace;
    /// `"process"` never runs in a container. Without it, `--containers` decides.
    placement: Option<At<Placement>> =
        "placement", Choice(&names(PLACEMENTS)), "", |r, k, v| r.choice(k, v, PLACEMENTS), Replace;
    /// What must be ready first: `["db"]`, `{ db = "started", migrate = "succeeded" }`, or
    /// `{ db = { condition = "ready", restart = true } }` to restart with it.
    depends_on: Vec<DependsOn> = "depends-on", Dependencies, "[]", shape::depends_on, Unite;
    /// Services whose address it gets without waiting. Such edges may form a cycle.
    uses: Vec<TextAt> = "uses", Texts, "[]", Reader::words, Unite;
    /// The port in the default stack; `0` is any free port. Isolated stacks get a free one.
    port: Option<At<Vec<PortWanted>>> = "port", Port, "", shape::port, Replace;
    /// Several ports: `{ http = 3000, metrics = 3001 }`. `http` is the default one.
    ports: Option<At<Vec<PortWanted>>> = "ports", Ports, "", shape::ports, Replace;
    /// Whether the program listens on its declared ports whatever `PORT` is. Then every stack gets
    /// these numbers, and only one stack at a time can run it.
    fixed_port: Option<At<bool>> = "fixed-port", Boolean, "false", Reader::boolean, Replace;
    /// The IP address to bind.
    host: Option<TextAt> = "host", Text, "\"127.0.0.1\"", Reader::string, Replace;
    /// The address that dependents get.
    url: Option<TextAt> =
        "url", Text, "\"http://${self.host}:${self.port}\"", Reader::string, Replace;
    /// The path of the page that key `o` of an `up` in a terminal opens in the browser: `"/"`.
    open: Option<TextAt> = "open", Text, "", shape::page, Replace;
    /// The tool binds the port, and the service inherits the socket (`LISTEN_FDS`). With a `notify`
    /// probe, a new run is ready on it before the old one stops.
    socket_activation: Option<At<bool>> =
        "socket-activation", Boolean, "false", Reader::boolean, Replace;
    /// Probes that must all pass. [Readiness](#readiness) describes the default.
    ready: Option<At<Ready>> = "ready", Table(Ready::KEYS), "", shape::ready, Replace;
    /// Checks of a service that is ready; none by default, since some services count requests.
    /// [Health](#health) describes them.
    health: Option<At<Health>> = "health", Table(Health::KEYS), "", shape::health, Replace;
    /// The service must send `WATCHDOG=1` at least this often.
    watchdog: Option<At<Duration>> =
        "watchdog", Duration, "", |r, k, v| r.wait(k, v, "10s"), Replace;
    /// Arguments of the program.
    args: Option<Vec<TextAt>> =
        "args", Texts, "[]", |r, k, v| r.strings(k, v).map(|at| at.value), Replace;
    /// Environment variables.
    env: Vec<(TextAt, TextAt)> = "env", TextTable, "{}", shape::env, ByKey;
    /// Files of `KEY=VALUE` lines, relative to the package. The last one wins. A file with a `-`
    /// before its path may be missing: `["api.env", "-local.env"]`.
    env_file: Option<At<Vec<TextAt>>> =
        "env-file", TextOrTexts, "", shape::text_or_texts, Replace;
    /// Variables whose values are masked in all output and exported as secrets, beside those that
    /// are recognised by their names.
    secrets: Vec<TextAt> = "secrets", Texts, "[]", Reader::words, Unite;
    /// Variables that are shown although their names look like secrets.
    not_secret: Vec<TextAt> = "not-secret", Texts, "[]", Reader::words, Unite;
    /// Folders of the machine in its container, the path inside first:
    /// `{ "/var/lib/x" = "${stack.data}/x" }`.
    volumes: Vec<(TextAt, TextAt)> = "volumes", TextTable, "{}", shape::volumes, ByKey;
    /// Arguments with which the program probes itself, `["--probe", "/readyz"]`: the health check
    /// of its image.
    self_probe: Option<At<Vec<TextAt>>> =
        "self-probe", Texts, "", |r, k, v| shape::nonempty(r, k, v, "--probe"), Replace;
    /// Copies, limits and variables for `export`. `up` ignores it.
    deploy: Deploy = "deploy", Table(Deploy::KEYS), "", table, ByKey;
    /// Further files that it reads, relative to the package: `["config/*.toml"]`. While the stack
    /// is watched, an edit of one restarts it. Sources and env-files need no entry.
    watch: Vec<TextAt> = "watch", Texts, "[]", Reader::words, Unite;
    /// The account that runs it when root runs the tool: `"postgres"`. It owns the folder
    /// `${stack.data}/NAME` of the service. [Accounts](#accounts) describes it.
    user: Option<TextAt> = "user", Text, "", shape::account, Replace;
    /// The working folder, relative to the package.
    cwd: Option<TextAt> = "cwd", Text, "\".\"", Reader::string, Replace;
    /// Package only: features to build with.
    features: Option<At<Vec<TextAt>>> = "features", Texts, "[]", Reader::strings, Replace;
    /// Package only: whether to build without the default features.
    no_default_features: Option<At<bool>> =
        "no-default-features", Boolean, "false", Reader::boolean, Replace;
    /// When a run that ended is started again. The delay is 200 ms and doubles up to 10 s, with at
    /// most 5 restarts in a minute. The default of jobs is `"no"`.
    restart: Option<At<Restart>> = "restart", Choice(&names(RESTARTS)), "\"on-failure\"",
        |r, k, v| r.choice(k, v, RESTARTS), Replace;
    /// How the service is stopped.
    stop: Stop = "stop", Table(Stop::KEYS), "", table, ByKey;
    /// The time from start to ready, without the pull of an image. The default of jobs is `"10m"`.
    start_timeout: Option<At<Duration>> =
        "start-timeout", Duration, "\"30s\"", |r, k, v| r.wait(k, v, "30s"), Replace;
    /// How much of its output is kept, from its next start on.
    log: Log = "log", Table(Log::KEYS), "", table, ByKey;
    /// Which running process may replace a run of the tool; see [adoption.md](adoption.md). The
    /// default of external services is `"any"`.
    adopt: Option<At<Adopt>> = "adopt", Choice(&names(ADOPTS)), "\"same-binary\"",
        |r, k, v| r.choice(k, v, ADOPTS), Replace;
}

declare_keys! {
    /// The probes of `ready`.
    Ready:
    /// The path of a `GET` that must be answered with an expected status.
    http: Option<TextAt> = "http", Text, "", shape::path, Replace;
    /// The expected statuses of `http`; any 2xx by default.
    status: Vec<u16> = "status", Statuses, "", shape::statuses, Replace;
    /// The name of the port that `http` and `tcp` probe; the default port without it.
    port: Option<TextAt> = "port", Text, "", Reader::string, Replace;
    /// Whether the port must accept connections.
    tcp: bool = "tcp", Boolean, "false", shape::is_true, Replace;
    /// A regular expression that a line of its output must match.
    log: Option<TextAt> = "log", Text, "", Reader::string, Replace;
    /// Whether it must send `READY=1` on `NOTIFY_SOCKET`.
    notify: bool = "notify", Boolean, "false", shape::is_true, Replace;
    /// A program and its arguments that must exit with 0.
    command: Option<Vec<TextAt>> = "command", Texts, "",
        |r, k, v| shape::nonempty(r, k, v, "program").map(|at| at.value), Replace;
}

declare_keys! {
    /// The checks of `health`.
    Health:
    /// The path of a `GET` that must be answered with an expected status.
    http: Option<TextAt> = "http", Text, "", shape::path, Replace;
    /// The expected statuses of `http`; any 2xx by default.
    status: Vec<u16> = "status", Statuses, "", shape::statuses, Replace;
    /// The name of the port that is checked; the default port without it.
    port: Option<TextAt> = "port", Text, "", Reader::string, Replace;
    /// The time between two checks.
    every: Option<At<Duration>> =
        "every", Duration, "\"10s\"", |r, k, v| r.wait(k, v, "10s"), Replace;
    /// Whether an unhealthy service is restarted.
    restart: Option<At<bool>> = "restart", Boolean, "false", Reader::boolean, Replace;
}

declare_keys! {
    /// How a service is stopped.
    Stop:
    /// The signal that stops it.
    signal: Option<TextAt> = "signal", Choice(&names(SIGNALS)), "\"SIGTERM\"",
        |r, k, v| r.choice(k, v, SIGNALS).and_then(|_| r.string(k, v)), Replace;
    /// The time until SIGKILL.
    timeout: Option<At<Duration>> = "timeout", Duration, "\"10s\"", Reader::duration, Replace;
}

declare_keys! {
    /// How much of a service's output is kept.
    Log:
    /// The log is rotated before it exceeds this.
    size_bytes: Option<At<u64>> = "size", Size, "\"32M\"", |r, k, v| r.size(k, v, "32M"), Replace;
    /// The number of rotated files that are kept.
    files: Option<At<u32>> = "files", Count(0, MOST_LOG_FILES), "5",
        |r, k, v| r.count(k, v, 0..=MOST_LOG_FILES, 5), Replace;
}

declare_keys! {
    /// Copies, limits and variables where a service is exported to. `up` runs each service once.
    Deploy:
    /// The number of copies.
    replicas: Option<At<u32>> = "replicas", Count(1, MOST_REPLICAS), "1",
        |r, k, v| r.count(k, v, 1..=MOST_REPLICAS, 3), Replace;
    /// The memory that a copy may use; unlimited by default.
    memory_bytes: Option<At<u64>> = "memory", Size, "", |r, k, v| r.size(k, v, "64M"), Replace;
    /// The processors that a copy may use; unlimited by default.
    cpu_millis: Option<At<u32>> = "cpus", Number, "", shape::cpus, Replace;
    /// Environment variables that override those of `env` and `env-file`.
    env: Vec<(TextAt, TextAt)> = "env", TextTable, "{}", shape::env, ByKey;
}

impl Settings {
    /// The ports, from `port` or `ports`; `ports` wins if a mistaken section has both.
    pub(crate) fn ports(&self) -> Option<&At<Vec<PortWanted>>> {
        self.ports.as_ref().or(self.port.as_ref())
    }
}
