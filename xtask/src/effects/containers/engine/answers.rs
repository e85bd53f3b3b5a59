//! Queries to the engine with their answers as values.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use xtask_client::chain;

use super::{Engine, EngineError};

/// The first and the longest pause between two queries for the state of a container.
const PAUSES: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(500));

/// A container that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunningContainer {
    /// The process id of its first process on this machine; 0 if the engine runs elsewhere.
    pub(crate) init: u32,
    /// Its address in the stack's network.
    pub(crate) address: Option<IpAddr>,
}

impl RunningContainer {
    /// Reads state, process id and address; none if the container does not run.
    fn read(answer: &str) -> Option<Self> {
        let mut words = answer.strip_prefix("running ")?.split_whitespace();
        let init = words.next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
        Some(Self { init, address: words.next().and_then(|ip| ip.parse().ok()) })
    }
}

impl Engine {
    /// Waits until a container runs, and reports each other state that lasts.
    pub(crate) async fn wait_until_running(
        &self,
        name: &str,
        report: impl Fn(&str),
    ) -> RunningContainer {
        let (mut pause, longest) = PAUSES;
        let format = "{{.State.Status}} {{.State.Pid}} \
                      {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
        let mut reported = String::new();
        loop {
            tokio::time::sleep(pause).await;
            let state = self.query(&["container", "inspect", "--format", format, name]).await;
            let state = state.unwrap_or_else(|error| chain(&error));
            if let Some(running) = RunningContainer::read(&state) {
                return running;
            }
            // Most containers run before the longest pause.
            if pause == longest && reported != state {
                report(&format!("its container does not run yet: {state}"));
                reported = state;
            }
            pause = (pause * 3 / 2).min(longest);
        }
    }

    /// The address on this machine that the engine publishes for a port of a container.
    pub(crate) async fn published(&self, name: &str, port: u16) -> Option<SocketAddr> {
        let answer = self.query(&["port", name, &format!("{port}/tcp")]).await.ok()?;
        answer.lines().next()?.trim().parse().ok()
    }

    /// Whether a network with this label and name exists: of a start that failed half way,
    /// or because something in it could not be removed.
    pub(crate) async fn has_network(&self, label: &str, name: &str) -> bool {
        let filter = format!("label={label}");
        let list = ["network", "ls", "--filter", &filter, "--format", "{{.Name}}"];
        self.query(&list).await.is_ok_and(|names| names.lines().any(|line| line == name))
    }

    /// Whether the engine runs without root, with networks in a namespace of its own.
    ///
    /// # Errors
    /// As for [`Engine::run`].
    pub(crate) async fn is_rootless(&self) -> Result<bool, EngineError> {
        let format = match self.is_podman() {
            true => "{{if .Host.Security.Rootless}}rootless{{end}}",
            false => "{{.SecurityOptions}}",
        };
        Ok(self.query(&["info", "--format", format]).await?.contains("rootless"))
    }

    /// The IPv4 address of this machine in a network; none if it has no gateway.
    ///
    /// # Errors
    /// As for [`Engine::run`].
    pub(crate) async fn gateway(&self, network: &str) -> Result<Option<IpAddr>, EngineError> {
        let format = match self.is_podman() {
            true => "{{range .Subnets}}{{.Gateway}} {{end}}",
            false => "{{range .IPAM.Config}}{{.Gateway}} {{end}}",
        };
        let answer = self.query(&["network", "inspect", "--format", format, network]).await?;
        let mut addresses = answer.split_whitespace().filter_map(|word| word.parse().ok());
        Ok(addresses.find(IpAddr::is_ipv4))
    }
}
