//! Packages of a generated workspace, and the programs that they are made of.
//!
//! The sources use nothing but the standard library, so that each builds in less than
//! a second and no registry is asked.

use std::fs;
use std::path::Path;

/// A long-running program: an HTTP server that inherits its socket, or binds HOST and
/// PORT, and tells `NOTIFY_SOCKET` when it is ready. It answers `/env/NAME` with a
/// variable, `/args` with its arguments, `/cwd` with its folder, `/status/NNN` with
/// that status, `/exit/N` by ending, `/call/HOST:PORT/PATH` with what that address
/// answers, and everything else with its process id.
pub const SERVICE: &str = r#"
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::FromRawFd;

fn listener() -> Option<TcpListener> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") == Some(std::process::id()) {
        assert!(number("LISTEN_FDS") >= Some(1), "no socket was passed");
        return Some(unsafe { TcpListener::from_raw_fd(3) });
    }
    let host = std::env::var("HOST").unwrap_or("127.0.0.1".into());
    let port = number("PORT")? as u16;
    Some(TcpListener::bind((host.as_str(), port)).expect("cannot bind"))
}

fn notify(message: &str) {
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else { return };
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    match path.strip_prefix('@') {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let to = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
            socket.send_to_addr(message.as_bytes(), &to).unwrap();
        }
        None => drop(socket.send_to(message.as_bytes(), path).unwrap()),
    }
}

fn answer(path: &str) -> (u16, String) {
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    match (parts.next().unwrap_or(""), parts.next()) {
        ("env", Some(name)) => match std::env::var(name) {
            Ok(value) => (200, value),
            Err(_) => (404, String::new()),
        },
        ("args", _) => (200, std::env::args().skip(1).collect::<Vec<_>>().join("\n")),
        ("cwd", _) => (200, std::env::current_dir().unwrap().display().to_string()),
        ("status", Some(status)) => (status.parse().unwrap_or(500), String::new()),
        ("exit", Some(code)) => std::process::exit(code.parse().unwrap_or(1)),
        ("call", Some(address)) => {
            let Ok(mut stream) = TcpStream::connect(address) else { return (502, String::new()) };
            let path = parts.next().unwrap_or("");
            let _ = write!(stream, "GET /{path} HTTP/1.1\r\nconnection: close\r\n\r\n");
            let mut reply = String::new();
            let _ = stream.read_to_string(&mut reply);
            (200, reply.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.into()))
        }
        _ => (200, std::process::id().to_string()),
    }
}

fn serve(mut stream: TcpStream) {
    let mut head = String::new();
    let mut part = [0; 1024];
    while !head.contains("\r\n\r\n") {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return,
            Ok(length) => head.push_str(&String::from_utf8_lossy(&part[..length])),
        }
    }
    let (status, body) = answer(head.split(' ').nth(1).unwrap_or("/"));
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
}

fn main() {
    let listener = listener();
    println!("listening");
    notify("READY=1");
    let Some(listener) = listener else { loop { std::thread::park() } };
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || serve(stream));
    }
}
"#;

/// A program that runs to its end: appends a line to the file named by `JOB_FILE`.
pub const JOB: &str = r#"
use std::io::Write;

fn main() {
    println!("working");
    let Ok(path) = std::env::var("JOB_FILE") else { return };
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    writeln!(file, "done").unwrap();
}
"#;

/// A package to generate.
#[derive(Clone, Debug)]
pub struct PackageSpec {
    folder: String,
    package: String,
    bins: Vec<(String, String)>,
    lib: Option<String>,
    manifest: String,
    metadata: String,
}

impl PackageSpec {
    /// A package of that name in that folder, without any target yet.
    pub fn new(folder: &str, package: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            package: package.to_owned(),
            bins: Vec::new(),
            lib: None,
            manifest: String::new(),
            metadata: String::new(),
        }
    }

    /// Adds a binary; [`SERVICE`] and [`JOB`] are sources for it.
    pub fn bin(mut self, name: &str, source: &str) -> Self {
        self.bins.push((name.to_owned(), source.to_owned()));
        self
    }

    /// Makes it a library too.
    pub fn lib(mut self, source: &str) -> Self {
        self.lib = Some(source.to_owned());
        self
    }

    /// Adds lines to the manifest: tables such as `[dependencies]`.
    pub fn manifest(mut self, toml: &str) -> Self {
        self.manifest.extend([toml, "\n"]);
        self
    }

    /// Adds metadata, tables with their headers: `[package.metadata.service]`.
    pub fn metadata(mut self, toml: &str) -> Self {
        self.metadata.extend([toml, "\n"]);
        self
    }

    /// The folder, relative to the workspace.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Writes manifest and sources below the workspace's root.
    pub fn write(&self, root: &Path) {
        let folder = root.join(&self.folder);
        fs::create_dir_all(folder.join("src/bin")).unwrap();
        let mut manifest = format!(
            "[package]\nname = \"{}\"\nversion = \"0.0.0\"\nedition = \"2024\"\nautobins = false\n\n",
            self.package
        );
        if let Some(source) = &self.lib {
            fs::write(folder.join("src/lib.rs"), source).unwrap();
        }
        for (name, source) in &self.bins {
            fs::write(folder.join(format!("src/bin/{name}.rs")), source).unwrap();
            manifest += &format!("[[bin]]\nname = \"{name}\"\npath = \"src/bin/{name}.rs\"\n\n");
        }
        manifest.extend([self.manifest.as_str(), self.metadata.as_str()]);
        fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    }
}
