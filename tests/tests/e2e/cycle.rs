//! A dependency cycle: two services that have each other's address and call each other.
//!
//! The application has no cycle, so this runs the tool on a temporary workspace, whose services use
//! only the standard library.

use e2e::{Api, Workspace};
use serde_json::Value;

/// A service that answers its own name at `/`, and at `/other` the answer of the other service.
const MAIN: &str = r#"
use std::env::var;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() {
    let listener = TcpListener::bind((var("HOST").unwrap(), var("PORT").unwrap().parse().unwrap()));
    for stream in listener.unwrap().incoming().flatten() {
        std::thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) -> Option<()> {
    let mut bytes = [0; 4096];
    let read = stream.read(&mut bytes).ok()?;
    let other = String::from_utf8_lossy(&bytes[..read]).starts_with("GET /other ");
    let text = if other { ask()? } else { env!("CARGO_PKG_NAME").to_owned() };
    let length = text.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}").ok()
}

fn ask() -> Option<String> {
    let (host, port) = (var("OTHER_HOST").ok()?, var("OTHER_PORT").ok()?.parse().ok()?);
    let mut stream = TcpStream::connect((host, port)).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.to_owned())
}
"#;

fn manifest(name: &str, edge: &str, other: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [package.metadata.service]\nport = 0\n{edge} = [\"{other}\"]\n\
         env = {{ OTHER_HOST = \"${{{other}.host}}\", OTHER_PORT = \"${{{other}.port}}\" }}\n"
    )
}

fn workspace(edge_of_tock: &str) -> Workspace {
    Workspace::new(&[
        ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"tick\", \"tock\"]\n"),
        ("tick/Cargo.toml", &manifest("tick", "depends-on", "tock")),
        ("tick/src/main.rs", MAIN),
        ("tock/Cargo.toml", &manifest("tock", edge_of_tock, "tick")),
        ("tock/src/main.rs", MAIN),
    ])
}

/// Asserts that each service answers and reaches the other one.
async fn assert_both_reachable(workspace: &Workspace) {
    let (status, _) = workspace.expect(&["status", "--json"], 0);
    let status: Value = serde_json::from_str(&status).unwrap();
    for service in status["services"].as_array().unwrap() {
        assert_eq!(service["phase"], "ready", "{service}");
        let name = service["name"].as_str().unwrap();
        let api = Api::new(service["url"].as_str().unwrap());
        assert_eq!(api.get("/").await.expect(200).text, name);
        let other = if name == "tick" { "tock" } else { "tick" };
        assert_eq!(api.get("/other").await.expect(200).text, other);
    }
    assert_eq!(status["services"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn cycle_with_a_uses_edge_starts() {
    let workspace = workspace("uses");
    workspace.expect(&["up", "--detach"], 0);
    assert_both_reachable(&workspace).await;
    workspace.expect(&["down"], 0);
}

#[tokio::test]
async fn waiting_cycle_is_rejected_unless_relaxed() {
    let workspace = workspace("depends-on");
    let (_, stderr) = workspace.expect(&["up", "--detach"], 2);
    for place in ["tick/Cargo.toml:8", "tock/Cargo.toml:8"] {
        assert!(stderr.contains(place), "{place} in {stderr}");
    }
    let (_, stderr) = workspace.expect(&["up", "--detach", "--cycles", "relax"], 0);
    assert!(stderr.contains("warning[cycle]"), "{stderr}");
    assert_both_reachable(&workspace).await;
    workspace.expect(&["down"], 0);
}
