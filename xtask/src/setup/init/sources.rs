//! What the Rust sources of a program show about it as a service: a listener, a port, variables,
//! paths, and the addresses that it calls.
//!
//! It reads lines, not syntax. So a finding is a hint with a place, and the user decides.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex_lite::Regex;

/// One finding and its place, `web/src/main.rs:12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found<T> {
    pub(crate) value: T,
    pub(crate) place: String,
}

/// The findings in the sources of one program, in the order of the files and lines.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Calls that make a listening socket.
    pub(crate) listeners: Vec<Found<()>>,
    /// Numbers of ports that it binds.
    pub(crate) ports: Vec<Found<u16>>,
    /// Variables that it reads.
    pub(crate) variables: Vec<Found<String>>,
    /// Paths that are named like probes.
    pub(crate) probes: Vec<Found<String>>,
    /// Ports on this machine that it calls.
    pub(crate) calls: Vec<Found<u16>>,
    /// Whether it uses sockets that it inherits.
    pub(crate) inherits_sockets: Option<Found<()>>,
    /// Whether it reports readiness on a notify socket.
    pub(crate) notifies: Option<Found<()>>,
}

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a pattern"));
    };
}

pattern!(
    LISTENER,
    r"(?x) TcpListener::bind | HttpServer::new | axum::serve | axum_server::bind | Server::builder
        | Server::bind | Server::http\( | warp::serve | rocket::build | \#\[launch\] | poem::Server
        | tide::new | UnixListener::bind | hyper::server | TcpSocket::new"
);
// `"0.0.0.0:3000"`, `"[::1]:50051"`
pattern!(ADDRESS, r#""(?:[0-9.]{7,15}|localhost|\[[0-9a-fA-F:]*\]|)?:([0-9]{2,5})""#);
// `("127.0.0.1", 8080)`, `([127, 0, 0, 1], 3000)`, `(Ipv4Addr::LOCALHOST, 8080)`
pattern!(
    PAIR,
    r#"\(\s*(?:"[^"]*"|\[[0-9, x:]+\]|[A-Za-z_][\w:.]*(?:\([^()]*\))?)\s*,\s*([0-9]{2,5})\s*\)"#
);
// `const PORT: u16 = 3000`, `default_value_t = 8080` of a port, `unwrap_or(8080)` of a port
pattern!(
    NAMED_PORT,
    r"(?i)\bport\w*\b.{0,60}?(?:=|unwrap_or\(|default_value_t\s*=)\s*([0-9]{2,5})\b"
);
pattern!(
    TEXT_PORT,
    r#"(?i)\bport\w*\b.{0,60}?(?:unwrap_or|default_value\s*=|else).{0,30}?"([0-9]{2,5})""#
);
pattern!(BINDS, r"(?i)bind|listen|serve\b|serve\(|SocketAddr|addr\b|address|host");
pattern!(
    URL,
    r"[a-z+]+://(?:[^@/\s]*@)?(?:localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0):([0-9]{2,5})"
);
pattern!(CONNECTS, r"connect|Client|Channel");
pattern!(
    VARIABLE,
    r#"(?:\bvar|\bvar_os|\bget|env!|option_env!)\(\s*"([A-Z][A-Z0-9_]*)"\s*\)|\benv\s*=\s*"([A-Z][A-Z0-9_]*)""#
);
pattern!(
    PROBE,
    r#""(/(?:api/)?(?:_?health(?:z|_?check|/ready|/live)?|ready|readyz|readiness|livez|ping))""#
);
pattern!(INHERITS, r"listenfd|LISTEN_FDS");
pattern!(NOTIFIES, r"sd_notify|NOTIFY_SOCKET");

impl Findings {
    /// Reads these files. Places are relative to `root`. Files that cannot be read are skipped.
    pub(crate) fn of(root: &Path, files: &[PathBuf]) -> Self {
        let mut findings = Self::default();
        for file in files {
            if let Ok(text) = fs::read_to_string(file) {
                let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
                findings.read(&shown, &text);
            }
        }
        findings
    }

    /// Reads one file, up to its unit tests.
    fn read(&mut self, file: &str, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("#[cfg(test)]") {
                break;
            }
            if line.starts_with("//") {
                continue;
            }
            self.read_line(line, &format!("{file}:{}", number + 1));
        }
    }

    fn read_line(&mut self, line: &str, place: &str) {
        let place = || place.to_owned();
        if LISTENER.is_match(line) {
            self.listeners.push(Found { value: (), place: place() });
        }
        let numbers = |pattern: &Regex| -> Vec<u16> {
            pattern.captures_iter(line).filter_map(|found| found[1].parse().ok()).collect()
        };
        let calls = numbers(&URL);
        let mut ports = numbers(&NAMED_PORT);
        ports.extend(numbers(&TEXT_PORT));
        if CONNECTS.is_match(line) {
            self.calls
                .extend(numbers(&ADDRESS).into_iter().map(|value| Found { value, place: place() }));
        } else if BINDS.is_match(line) {
            ports.extend(numbers(&ADDRESS));
            ports.extend(numbers(&PAIR));
        }
        ports.retain(|port| *port >= 80 && !calls.contains(port));
        self.ports.extend(ports.into_iter().map(|value| Found { value, place: place() }));
        self.calls.extend(calls.into_iter().map(|value| Found { value, place: place() }));
        for found in VARIABLE.captures_iter(line) {
            if let Some(name) = found.get(1).or(found.get(2)) {
                self.variables.push(Found { value: name.as_str().to_owned(), place: place() });
            }
        }
        for found in PROBE.captures_iter(line) {
            self.probes.push(Found { value: found[1].to_owned(), place: place() });
        }
        if self.inherits_sockets.is_none() && INHERITS.is_match(line) {
            self.inherits_sockets = Some(Found { value: (), place: place() });
        }
        if self.notifies.is_none() && NOTIFIES.is_match(line) {
            self.notifies = Some(Found { value: (), place: place() });
        }
    }

    /// The variable of this name, where it is read.
    pub(crate) fn variable(&self, name: &str) -> Option<&Found<String>> {
        self.variables.iter().find(|variable| variable.value == name)
    }
}

/// The Rust files of a program: all below the folder of its `main.rs`, or the file alone if other
/// programs are beside it. Sorted by path.
pub(crate) fn files_of(main: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    match main.parent() {
        Some(folder) if main.ends_with("main.rs") => collect(folder, &mut found),
        _ => found.push(main.to_path_buf()),
    }
    found.sort();
    found
}

/// Adds the Rust files below a folder. Other programs of the package and linked folders are left
/// out.
fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type());
        match kind {
            Ok(kind) if kind.is_dir() && entry.file_name() != "bin" => collect(&path, found),
            Ok(kind) if kind.is_file() && path.extension().is_some_and(|end| end == "rs") => {
                found.push(path);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(line: &str) -> Vec<u16> {
        let mut findings = Findings::default();
        findings.read("a.rs", line);
        findings.ports.into_iter().map(|found| found.value).collect()
    }

    #[test]
    fn port_is_found_in_each_spelling() {
        for line in [
            r#"let listener = TcpListener::bind("0.0.0.0:3000").await?;"#,
            r#"let addr = "[::1]:3000".parse()?;"#,
            r#"HttpServer::new(app).bind(("127.0.0.1", 3000))?"#,
            "let addr = SocketAddr::from(([127, 0, 0, 1], 3000));",
            "let addr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 3000);",
            "const PORT: u16 = 3000;",
            r#"#[arg(long = "port", default_value_t = 3000)]"#,
            r#"let port = env::var("PORT").unwrap_or("3000".into());"#,
            r#"let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_string());"#,
        ] {
            assert_eq!(ports(line), [3000], "{line}");
        }
    }

    #[test]
    fn called_addresses_are_no_ports_of_the_program() {
        let mut findings = Findings::default();
        findings.read("a.rs", "let c = Client::connect(\"http://[::1]:50051\").await?;\n");
        findings.read("b.rs", "const URL: &str = \"postgres://app@localhost:5432/app\";");
        assert_eq!(findings.ports, []);
        let place = |place: &str, value| Found { value, place: place.to_owned() };
        assert_eq!(findings.calls, [place("a.rs:1", 50051), place("b.rs:1", 5432)]);
    }

    #[test]
    fn comments_and_unit_tests_are_not_read() {
        let unread = "// const PORT: u16 = 3000;\n#[cfg(test)]\nconst PORT: u16 = 4000;";
        assert_eq!(ports(unread), Vec::<u16>::new());
        assert_eq!(ports("let retries = 3000;"), Vec::<u16>::new());
    }

    #[test]
    fn variables_and_probes_are_found() {
        let mut findings = Findings::default();
        findings.read(
            "a.rs",
            "let url = std::env::var(\"AUTH_URL\")?;\n#[arg(long, env = \"BIND\")]\n",
        );
        findings.read("a.rs", ".route(\"/healthz\", get(ok)).route(\"/items\", get(items))");
        let names: Vec<_> = findings.variables.iter().map(|found| &*found.value).collect();
        assert_eq!(names, ["AUTH_URL", "BIND"]);
        assert_eq!(findings.variable("BIND").unwrap().place, "a.rs:2");
        assert_eq!(findings.probes.len(), 1);
        assert_eq!(findings.probes[0].value, "/healthz");
    }
}
