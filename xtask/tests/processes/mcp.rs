//! `mcp` as an agent meets it: lines of JSON on standard input and output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use xtask_test_support::stand::{SERVE, stand};
use xtask_test_support::{Fixture, eventually};

/// A client with its server, which ends with it.
struct Client {
    server: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    last_id: u64,
}

impl Client {
    /// Starts the server and agrees on a version of the protocol.
    fn start(fixture: &Fixture) -> Self {
        let mut command = fixture.command();
        command.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let input = server.stdin.take();
        let output = BufReader::new(server.stdout.take().unwrap());
        let mut client = Self { server, input, output, last_id: 0 };
        let client_info = json!({ "name": "test", "version": "1" });
        let version = "2025-06-18";
        let answer = client.ask(
            "initialize",
            &json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": client_info }),
        );
        assert_eq!(answer["result"]["serverInfo"]["name"], "cargo-services");
        client.tell("notifications/initialized", &json!({}));
        client
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    fn tell(&mut self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn begin(&mut self, method: &str, params: &Value) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    /// The answer to a request.
    #[track_caller]
    fn ask(&mut self, method: &str, params: &Value) -> Value {
        let id = self.begin(method, params);
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the server ended");
            let answer: Value = serde_json::from_str(&line).unwrap();
            if answer["id"] == id {
                return answer;
            }
        }
    }

    /// The result of a tool.
    #[track_caller]
    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let params = json!({ "name": tool, "arguments": arguments });
        self.ask("tools/call", &params)["result"].clone()
    }

    /// Ends the input, after which the server must end with success.
    fn end(mut self) {
        drop(self.input.take());
        assert!(self.server.wait().unwrap().success());
    }
}

fn text(result: &Value) -> String {
    let parts = result["content"].as_array().unwrap();
    parts.iter().map(|part| part["text"].as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn agent_starts_inspects_and_stops_a_stack() {
    let fixture =
        stand(&[("front", &format!("{SERVE} --stderr hello-agent"), "port = 0\n")]).write();
    let mut client = Client::start(&fixture);
    let tools = client.ask("tools/list", &json!({}));
    let tools = tools["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["status", "logs", "explain", "up", "restart", "down", "test-e2e"]);
    assert!(tools.iter().all(|tool| tool["inputSchema"]["type"] == "object"));

    let nothing = client.call("status", &json!({}));
    assert_eq!(nothing["isError"], true);
    assert!(text(&nothing).contains("ended with 7"), "{nothing}");

    let up = client.call("up", &json!({}));
    assert_eq!(up["isError"], false, "{up}");
    assert!(text(&up).contains("front"), "{up}");
    let status = client.call("status", &json!({}));
    assert_eq!(status["structuredContent"]["services"][0]["phase"], "ready", "{status}");
    let explained = client.call("explain", &json!({ "service": "front" }));
    assert_eq!(explained["isError"], false, "{explained}");
    let logs = client.call("logs", &json!({ "services": ["front"], "grep": "hello" }));
    assert!(text(&logs).contains("hello-agent"), "{logs}");

    let before = fixture.service("front")["pid"].clone();
    assert_eq!(client.call("restart", &json!({ "services": ["front"] }))["isError"], false);
    assert_ne!(fixture.service("front")["pid"], before);
    assert_eq!(client.call("down", &json!({}))["isError"], false);
    client.end();
    fixture.is_quiet();
}

#[test]
fn wrong_calls_are_answered_with_what_is_known() {
    let fixture = stand(&[("front", "", "")]).write();
    let mut client = Client::start(&fixture);
    let unknown = client.ask("tools/call", &json!({ "name": "delete", "arguments": {} }));
    let message = unknown["error"]["message"].as_str().unwrap();
    assert!(message.contains("known: status, logs"), "{message}");
    let wrong = client.call("down", &json!({ "services": ["--data"] }));
    assert_eq!(wrong["isError"], true);
    assert!(text(&wrong).contains("which is no name"), "{wrong}");
    client.end();
}

#[test]
fn client_that_leaves_interrupts_its_command() {
    let settings = "ready = { command = [\"false\"] }\nstart-timeout = \"600s\"\n";
    let fixture = stand(&[("stuck", "--stderr began", settings)]).write();
    let mut client = Client::start(&fixture);
    client.begin("tools/call", &json!({ "name": "up", "arguments": {} }));
    let patience = Duration::from_secs(60);
    eventually(patience, "the stack", || {
        let status = fixture.xtask(&["status", "--json"]);
        status.stdout.contains("starting").then_some(())
    });
    client.end();
    eventually(patience, "the end of the stack", || fixture.processes().is_empty().then_some(()));
}
