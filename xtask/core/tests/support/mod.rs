//! Short constructors of services and plans for tests.
//!
//! It does not use the reducer. Each test binary uses the part that it needs.

#![allow(dead_code)]

use std::time::Duration;

use xtask_core::plan::{
    Dependency, Health, Plan, Port, Probe, Program, Service, Setting, Source, Stop, Text, Use,
};
use xtask_core::sorted::SortedMap;
use xtask_core::terms::{Adopt, Condition, Kind, Name, Place, Restart};

/// The stop timeout of services made here.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// The start timeout of services made here.
pub(crate) const START: Duration = Duration::from_secs(30);

pub(crate) fn place() -> Place {
    Place { file: "Cargo.toml".to_owned(), line: 1 }
}

/// A text from a file.
pub(crate) fn setting(value: Text) -> Setting {
    Setting {
        value,
        source: Source::File { place: place() },
        secret: false,
        overrides: Vec::new(),
        declared: None,
    }
}

/// A service that runs a program which needs no build, has no port and no probe.
pub(crate) fn service(name: &str) -> Service {
    Service {
        name: Name::from(name),
        kind: Kind::Service,
        once: false,
        declared: place(),
        program: Program::Command { program: setting(Text::from(format!("/bin/{name}"))) },
        args: Vec::new(),
        env: SortedMap::new(),
        cwd: "/".to_owned(),
        user: None,
        manifest_dir: None,
        ports: Vec::new(),
        default_port: None,
        url: None,
        fixed_port: false,
        socket_activation: false,
        depends_on: Vec::new(),
        uses: Vec::new(),
        probes: Vec::new(),
        health: None,
        watchdog: None,
        placement: xtask_core::terms::Placement::Process,
        volumes: Vec::new(),
        open: None,
        self_probe: Vec::new(),
        deploy: Default::default(),
        log: Default::default(),
        restart: Restart::OnFailure,
        stop: Stop { signal: "SIGTERM".to_owned(), timeout: GRACE },
        start_timeout: START,
        adopt: Adopt::Never,
    }
}

/// Changes to a service that read as a sentence.
pub(crate) trait With: Sized {
    fn built(self) -> Self;
    fn job(self) -> Self;
    fn once(self) -> Self;
    fn external(self) -> Self;
    fn port(self, number: Option<u16>) -> Self;
    fn activated(self) -> Self;
    fn after(self, on: &str, condition: Condition) -> Self;
    fn needs(self, on: &str) -> Self;
    fn restarts_with(self, on: &str) -> Self;
    fn using(self, of: &str) -> Self;
    fn probe(self, probe: Probe) -> Self;
    fn policy(self, restart: Restart) -> Self;
    fn arg(self, arg: &str) -> Self;
    fn calls(self, variable: &str, of: &str) -> Self;
    fn watchdog(self, every: Duration) -> Self;
    fn health(self, every: Duration, restart: bool) -> Self;
    fn adopts(self, adopt: Adopt) -> Self;
}

impl With for Service {
    fn built(mut self) -> Self {
        self.program = Program::Artifact {
            package_id: format!("path+file:///{}", self.name),
            package: self.name.to_string(),
            binary: self.name.to_string(),
        };
        self
    }
    fn job(mut self) -> Self {
        self.kind = Kind::Job;
        self.restart = Restart::No;
        self
    }
    fn once(mut self) -> Self {
        self.once = true;
        self.job()
    }
    fn external(mut self) -> Self {
        self.program = Program::External;
        self
    }
    fn port(mut self, number: Option<u16>) -> Self {
        self.ports.push(Port {
            name: if self.ports.is_empty() { "http".to_owned() } else { "other".to_owned() },
            host: "127.0.0.1".to_owned(),
            number,
            declared: place(),
        });
        self.default_port = Some(0);
        let mut url = Text::from("http://127.0.0.1:");
        url.push_port(self.name.clone(), 0);
        self.url = Some(url);
        self
    }
    fn activated(mut self) -> Self {
        self.socket_activation = true;
        self
    }
    fn after(mut self, on: &str, condition: Condition) -> Self {
        self.depends_on.push(Dependency {
            on: Name::from(on),
            condition,
            restart: false,
            declared: place(),
        });
        self
    }
    fn needs(self, on: &str) -> Self {
        self.after(on, Condition::Ready)
    }
    fn restarts_with(self, on: &str) -> Self {
        let mut this = self.needs(on);
        if let Some(edge) = this.depends_on.last_mut() {
            edge.restart = true;
        }
        this
    }
    fn using(mut self, of: &str) -> Self {
        self.uses.push(Use { of: Name::from(of), declared: place(), relaxed: false });
        self
    }
    fn probe(mut self, probe: Probe) -> Self {
        self.probes.push(probe);
        self
    }
    fn policy(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }
    fn arg(mut self, arg: &str) -> Self {
        self.args.push(setting(Text::from(arg)));
        self
    }
    fn calls(mut self, variable: &str, of: &str) -> Self {
        let mut value = Text::default();
        value.push_port(Name::from(of), 0);
        self.env.insert(variable.to_owned(), setting(value));
        self
    }
    fn watchdog(mut self, every: Duration) -> Self {
        self.watchdog = Some(every);
        self
    }
    fn health(mut self, every: Duration, restart: bool) -> Self {
        let probe = Probe::Http { path: "/healthz".to_owned(), status: Vec::new(), port: 0 };
        self.health = Some(Health { probe, every, restart });
        self
    }
    fn adopts(mut self, adopt: Adopt) -> Self {
        self.adopt = adopt;
        self
    }
}

/// A plan of these services, all of them wanted. The order is as given.
pub(crate) fn plan(services: impl Into<Vec<Service>>) -> Plan {
    let services = services.into();
    Plan {
        version: Plan::VERSION,
        workspace: "/repo".to_owned(),
        stack: "dev".to_owned(),
        data: "/data".to_owned(),
        build: None,
        base_image: None,
        faults: xtask_core::plan::Faults::default(),
        wanted: services.iter().map(|service| service.name.clone()).collect(),
        services,
        declared: None,
        replace: false,
        restart: Vec::new(),
        done: Default::default(),
        context: 0,
    }
}
