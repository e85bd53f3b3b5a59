//! `mcp`: lets an editor or agent use the tool through the Model Context Protocol, on standard
//! input and output.
//!
//! Each call executes a command of this program and returns what it printed. So a call does what a
//! user who types the command gets, and cannot do anything else.

mod tools;

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context as _;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::stdio;
use rmcp::{RoleServer, ServerHandler, ServiceExt as _};
use rustix::process::{Pid, Signal, kill_process};
use xtask::cli::error::Failure;
use xtask::cli::{Exit, Global, block_on};

use tools::{COMMANDS, Command};

/// How many bytes of each output stream a call returns: the last ones.
const OUTPUT: usize = 100_000;

/// What a client should know before its first call.
const ABOUT: &str = "Runs the services of this Cargo workspace. Call `status` first. After an edit, \
                     call `restart` with the services that the edit affects.";

/// The usual cause is that a person started the command.
fn no_client(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Exit::FAILED, "failed to begin the protocol")
        .cause(error)
        .hint("let an agent or editor start it with the command `%xtask% mcp`")
}

pub(crate) fn run(global: &Global) -> anyhow::Result<Exit> {
    let program = std::env::current_exe().context("failed to find the tool's own executable")?;
    let server = Server { program, global: global.clone() };
    block_on(async {
        let running = server.serve(stdio()).await.map_err(no_client)?;
        running.waiting().await.context("failed to serve the protocol")?;
        Ok(Exit::DONE)
    })
}

struct Server {
    program: PathBuf,
    global: Global,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("cargo-services", env!("CARGO_PKG_VERSION")))
            .with_instructions(ABOUT)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(COMMANDS.iter().map(Command::describe).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(command) = COMMANDS.iter().find(|command| command.name == request.name) else {
            let known: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
            let message = format!("unknown tool `{}`; known: {}", request.name, known.join(", "));
            return Err(ErrorData::invalid_params(message, None));
        };
        let words = match command.words(&request.arguments.unwrap_or_default()) {
            Ok(words) => words,
            Err(error) => return Ok(failed(error.to_string()).into()),
        };
        let result = tokio::select! {
            result = self.execute(command, &words) => result,
            () = context.ct.cancelled() => Ok(failed("cancelled".to_owned())),
        };
        match result {
            Ok(result) => Ok(result.into()),
            Err(error) => Ok(failed(format!("{error:#}")).into()),
        }
    }
}

impl Server {
    async fn execute(&self, command: &Command, words: &[String]) -> anyhow::Result<CallToolResult> {
        let mut process = tokio::process::Command::new(&self.program);
        if let Some(path) = &self.global.manifest_path {
            process.arg("--manifest-path").arg(path);
        }
        if command.has_stack {
            process.args(["--stack", &self.global.stack]);
        }
        process.args(words).env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE");
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = process.spawn().context("failed to execute the tool")?;
        let interrupt = Interrupt(child.id());
        let output = child.wait_with_output().await.context("failed to read the tool's output")?;
        interrupt.disarm();
        let (stdout, stderr) = (tail(&output.stdout), tail(&output.stderr));
        let mut content: Vec<ContentBlock> = Vec::new();
        content.extend(
            [&stdout, &stderr]
                .iter()
                .filter(|it| !it.is_empty())
                .map(|it| ContentBlock::text(it.as_str())),
        );
        if !output.status.success() {
            let status =
                output.status.code().map_or("a signal".to_owned(), |code| code.to_string());
            content.push(ContentBlock::text(format!("`{}` ended with {status}", words.join(" "))));
            return Ok(CallToolResult::error(content));
        }
        if content.is_empty() {
            content.push(ContentBlock::text("done"));
        }
        let mut result = CallToolResult::success(content);
        if command.is_json {
            result.structured_content = serde_json::from_str(&stdout).ok();
        }
        Ok(result)
    }
}

/// Interrupts a command whose call was cancelled, or whose client has gone: it stops what it
/// started, as after Ctrl-C.
struct Interrupt(Option<u32>);

impl Interrupt {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(pid) = pid {
            // An error means that it has exited.
            let _ = kill_process(pid, Signal::INT);
        }
    }
}

fn failed(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

/// The last bytes of an output, from the begin of a line, without an outer line end.
fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(OUTPUT);
    let rest = bytes.get(start..).unwrap_or_default();
    let text = String::from_utf8_lossy(rest);
    match start {
        0 => text.trim_end().to_owned(),
        _ => {
            let whole = text.split_once('\n').map_or(&*text, |(_, whole)| whole);
            format!("(earlier output is left out)\n{}", whole.trim_end())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_output_keeps_its_last_lines() {
        let lines: String = (0..40_000).map(|number| format!("{number}\n")).collect();
        let text = tail(lines.as_bytes());
        assert!(text.len() <= OUTPUT + 40 && text.ends_with("\n39999"), "{}", text.len());
        let first = text.lines().nth(1).unwrap();
        assert!(first.len() == 5 && first.parse::<u32>().is_ok(), "{first}");
        assert_eq!(tail(b"one\ntwo\n"), "one\ntwo");
    }
}
