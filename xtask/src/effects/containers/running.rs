//! Whether a container runs, as the engine says when it is asked.

use std::net::IpAddr;
use std::time::Duration;

use super::engine::Engine;

/// The first and the longest pause between two questions whether it runs.
const PAUSES: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(500));

/// A container that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunningContainer {
    /// Its first process, by the number that it has here; 0 where the engine runs elsewhere.
    pub(crate) init: u32,
    /// Its address in the stack's network.
    pub(crate) address: Option<IpAddr>,
}

impl RunningContainer {
    /// From the engine's words: state, process and address; none if it does not run.
    fn read(said: &str) -> Option<Self> {
        let mut words = said.strip_prefix("running ")?.split_whitespace();
        let init = words.next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
        Some(Self { init, address: words.next().and_then(|ip| ip.parse().ok()) })
    }
}

/// Waits until the container runs, and tells what it does instead.
pub(crate) async fn wait_until_running(
    engine: &Engine,
    name: &str,
    tell: impl Fn(&str),
) -> RunningContainer {
    let (mut pause, longest) = PAUSES;
    let format = "{{.State.Status}} {{.State.Pid}} \
                  {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let mut told = String::new();
    loop {
        tokio::time::sleep(pause).await;
        let said = engine.query(&["container", "inspect", "--format", format, name]).await;
        let said = match said {
            Ok(said) => said,
            Err(error) => error.to_string(),
        };
        if let Some(running) = RunningContainer::read(&said) {
            return running;
        }
        // Most run at once, and nobody has to hear of what comes before.
        if pause == longest && told != said {
            tell(&format!("its container does not run yet: {said}"));
            told = said;
        }
        pause = (pause * 3 / 2).min(longest);
    }
}
