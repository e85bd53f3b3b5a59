//! From an edit to an answer of the new code.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::Bench;
use crate::command;
use crate::row::{Limit, Row};
use crate::samples::Samples;
use crate::workspace::Workspace;

/// A service of the standard library alone; its answer has a version.
const MAIN: &str = include_str!("../programs/shop.rs");

/// How long a new version may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A workspace with one built service, `shop`.
pub(crate) fn shop(bench: &Bench) -> anyhow::Result<Workspace> {
    let service = "[package.metadata.service]\nport = 0\nsocket-activation = true\n\
                   ready = { notify = true }\n";
    Workspace::new(&bench.programs.tool, "", service, MAIN)
}

pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let workspace = shop(bench)?;
    workspace.run(&["up", "-d"])?;
    let mut row = Row::new(
        "edit",
        "from saving a file to the new code answering, by `up -d`; ideal: `cargo build` of the edit",
    );
    row.limit = Some(Limit::More(100.0));
    let mut ideal = Samples::default();
    for run in 0..bench.runs {
        edit(&workspace, 2 * run + 1)?;
        ideal.push_time(command::run(workspace.cargo().arg("build"))?.took);
        let version = 2 * run + 2;
        edit(&workspace, version)?;
        let began = Instant::now();
        workspace.run(&["up", "-d"])?;
        wait_for(port(&workspace)?, version)?;
        row.ours.push_time(began.elapsed());
    }
    row.ideal = Some(ideal);
    workspace.down()?;
    Ok(vec![row])
}

/// Makes the service answer with this version, once it is built.
pub(super) fn edit(workspace: &Workspace, version: u32) -> anyhow::Result<()> {
    let text = MAIN.replace("version 0", &format!("version {version}"));
    Ok(fs::write(workspace.main_file(), text)?)
}

/// The port of the service.
pub(super) fn port(workspace: &Workspace) -> anyhow::Result<u16> {
    let port = workspace.status()?["services"][0]["ports"]["http"].as_u64();
    Ok(u16::try_from(port.context("the service has no port")?)?)
}

/// Waits until the service answers with this version.
pub(super) fn wait_for(port: u16, version: u32) -> anyhow::Result<()> {
    let wanted = format!("version {version}\n");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if answer(port).is_ok_and(|answer| answer.ends_with(&wanted)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!("the service does not answer with version {version}")
}

/// The whole answer of the service to one request on a new connection.
pub(super) fn answer(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
