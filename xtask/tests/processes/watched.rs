//! A watched stack for tests: edits, and waits for what follows from them. No tests.

use std::time::Duration;

use serde_json::Value;
use xtask_test_support::{Fixture, PackageSpec, SERVICE, eventually};

/// A build beside other tests is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// `shop` and `stock` are made of the library `shared`, and `desk` is not.
pub(crate) fn shared_and_services() -> Fixture {
    let shared = PackageSpec::new("libs/shared", "shared")
        .lib("pub fn word() -> &'static str { \"one\" }\n");
    let with_shared = SERVICE.replace("\"listening\"", "\"listening {}\", shared::word()");
    let service = |name: &str, source: &str, dependencies: &str| {
        PackageSpec::new(&format!("apps/{name}"), name)
            .bin(&format!("{name}d"), source)
            .manifest(dependencies)
            .metadata("[package.metadata.service]\nport = 0\nsocket-activation = true\n")
    };
    let on_shared = "[dependencies]\nshared = { path = \"../../libs/shared\" }\n";
    Fixture::new("watched")
        .package(shared)
        .package(service("shop", &with_shared, on_shared))
        .package(service("stock", &with_shared, on_shared))
        .package(service("desk", SERVICE, ""))
        .write()
}

pub(crate) struct Watched {
    pub(crate) fixture: Fixture,
}

impl Watched {
    /// Starts the stack with `up -d --watch`.
    #[track_caller]
    pub(crate) fn detached(fixture: Fixture) -> Self {
        fixture.xtask(&["up", "-d", "--watch"]).ends_with(0).says("Watching");
        let watched = Self { fixture };
        watched.is_idle();
        watched
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        self.fixture.file(path, text);
    }

    #[track_caller]
    pub(crate) fn edit(&self, path: &str, old: &str, new: &str) {
        self.fixture.edit(path, old, new);
    }

    /// The number of the present run of each service.
    #[track_caller]
    pub(crate) fn runs(&self, names: &[&str]) -> Vec<u64> {
        names.iter().map(|name| self.fixture.service(name)["run"].as_u64().unwrap()).collect()
    }

    fn service(&self, name: &str) -> Option<Value> {
        let status = self.fixture.status();
        status["services"].as_array()?.iter().find(|s| s["name"] == name).cloned()
    }

    /// Waits until a service is ready in a later run.
    #[track_caller]
    pub(crate) fn replaced(&self, name: &str, before: u64) {
        eventually(PATIENCE, &format!("a new run of `{name}`"), || {
            let now = self.service(name)?;
            (now["phase"] == "ready" && now["run"].as_u64()? > before).then_some(())
        });
    }

    #[track_caller]
    pub(crate) fn ready(&self, name: &str) {
        eventually(PATIENCE, &format!("`{name}` ready"), || {
            (self.service(name)?["phase"] == "ready").then_some(())
        });
    }

    #[track_caller]
    pub(crate) fn gone(&self, name: &str) {
        eventually(PATIENCE, &format!("the end of `{name}`"), || {
            let now = self.service(name);
            now.is_none_or(|now| now["pid"].is_null() && now["wanted"] == false).then_some(())
        });
    }

    /// What the watcher does.
    pub(crate) fn state(&self) -> Option<Value> {
        let watch = self.fixture.status()["watch"].clone();
        (!watch.is_null()).then_some(watch)
    }

    /// Waits until no build runs and the last one succeeded.
    #[track_caller]
    pub(crate) fn is_idle(&self) {
        eventually(PATIENCE, "an idle watcher", || {
            (self.state()?["state"]["phase"] == "idle").then_some(())
        });
    }

    /// Waits until the last build failed, and returns its first error.
    #[track_caller]
    pub(crate) fn broken(&self) -> String {
        eventually(PATIENCE, "a broken build", || {
            let state = self.state()?["state"].clone();
            let is_broken = state["phase"] == "broken";
            is_broken.then(|| state["message"].as_str().unwrap().to_owned())
        })
    }

    /// Waits for a text in the log of the watcher.
    #[track_caller]
    pub(crate) fn log(&self, text: &str) {
        eventually(PATIENCE, &format!("`{text}` in the log of the watcher"), || {
            self.whole_log().contains(text).then_some(())
        });
    }

    pub(crate) fn whole_log(&self) -> String {
        let ran = self.fixture.xtask(&["logs", "+watch"]);
        if ran.code == Some(0) { ran.stdout } else { String::new() }
    }

    /// Waits until the watcher has handled all edits so far: it handles them in order, and the
    /// one that this function makes is the last.
    #[track_caller]
    pub(crate) fn settled(&self) {
        let number = self.whole_log().matches("Changed Cargo.toml").count();
        let mark = format!("\n[workspace.metadata.settled]\nnumber = {number}\n");
        let text = self.fixture.text("Cargo.toml");
        let text =
            text.split("\n[workspace.metadata.settled]").next().unwrap_or_default().to_owned();
        self.write("Cargo.toml", &format!("{text}{mark}bad"));
        self.broken();
        self.write("Cargo.toml", &format!("{text}{mark}"));
        self.is_idle();
    }
}
