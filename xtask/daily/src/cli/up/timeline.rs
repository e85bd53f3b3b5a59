//! Notes when programs were built and services were ready during an `up`, and keeps the result.

use xtask_core::sorted::SortedMap;

use tokio::time::Instant;
use xtask_control::StackPaths;
use xtask_control::timings::{Build, ServiceStart, Slower, Start, Starts};
use xtask_core::plan::Plan;
use xtask_core::snapshot::{Phase, ServiceSnapshot, Snapshot};
use xtask_core::terms::{Kind, Name};

use crate::system::json_file::write_json;
use crate::system::timestamp::Timestamp;

/// The times of one `up`.
#[derive(Debug)]
pub(super) struct Timeline {
    began: Instant,
    build_from_ms: Option<u64>,
    build: Option<Build>,
    /// Whether every program so far was up to date.
    is_fresh: bool,
    built: SortedMap<Name, u64>,
    ready: SortedMap<Name, Ready>,
}

/// A run that became ready.
#[derive(Clone, Copy, Debug)]
struct Ready {
    run: u64,
    /// When this command received it.
    received_ms: u64,
    /// The supervisor's time of it, since the stack was started. Between services it is exact.
    ready_at_ms: u64,
    took_ms: u64,
}

impl Timeline {
    /// The times of a command that began at `began`.
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            build_from_ms: None,
            build: None,
            is_fresh: true,
            built: SortedMap::new(),
            ready: SortedMap::new(),
        }
    }

    /// Cargo starts now.
    pub(super) fn build_began(&mut self) {
        self.build_from_ms = Some(self.now_ms());
    }

    /// Cargo reports the program of these services now.
    pub(super) fn built(&mut self, services: &[Name], fresh: bool) {
        let now_ms = self.now_ms();
        self.is_fresh &= fresh;
        self.built.extend(services.iter().map(|service| (service.clone(), now_ms)));
    }

    /// Cargo has exited.
    pub(super) fn build_ended(&mut self) {
        let (to_ms, fresh) = (self.now_ms(), self.is_fresh);
        self.build = self.build_from_ms.map(|from_ms| Build { from_ms, to_ms, fresh });
    }

    /// Takes a change of a service.
    pub(super) fn note(&mut self, service: &ServiceSnapshot) {
        let is_ready = matches!(service.phase, Phase::Ready | Phase::Succeeded);
        let known = self.ready.get(&service.name).is_some_and(|ready| ready.run == service.run);
        if is_ready && !known {
            let ready = Ready {
                run: service.run,
                received_ms: self.now_ms(),
                ready_at_ms: service.ready_at_ms.unwrap_or(0),
                took_ms: service.ready_ms.unwrap_or(0),
            };
            self.ready.insert(service.name.clone(), ready);
        }
    }

    /// The start of the services of a plan; none if all of them ran before.
    pub(super) fn start(&self, plan: &Plan, before: &Snapshot) -> Option<Start> {
        // The message that arrived fastest tells best when the supervisor's clock began.
        let lag = |ready: &Ready| i128::from(ready.received_ms) - i128::from(ready.ready_at_ms);
        let lag = self.ready.values().map(lag).min().unwrap_or(0);
        let here = |at_ms: u64| u64::try_from(i128::from(at_ms) + lag).unwrap_or(0);
        let service = |planned: &xtask_core::plan::Service| {
            let ran_before = before.service(&planned.name).map(|service| service.run);
            let times = self.ready.get(&planned.name);
            let times = times.filter(|ready| ran_before != Some(ready.run));
            let ready_ms = times.map(|ready| here(ready.ready_at_ms));
            ServiceStart {
                service: planned.name.to_string(),
                job: planned.kind == Kind::Job,
                kept: times.is_none(),
                built_ms: times.and(self.built.get(&planned.name)).copied(),
                started_ms: ready_ms.zip(times).map(|(at, ready)| at.saturating_sub(ready.took_ms)),
                ready_ms,
                depends_on: planned.depends_on.iter().map(|on| on.on.to_string()).collect(),
            }
        };
        let services: Vec<ServiceStart> = plan.services.iter().map(service).collect();
        if services.iter().all(|service| service.kept) {
            return None;
        }
        let at = Timestamp::now().to_string();
        let ready_ms = services.iter().filter_map(|service| service.ready_ms).max()?;
        let start = Start { at, ready_ms, build: self.build, services, ..Start::default() };
        Some(start.with_critical_path())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Adds a start to those of the stack. Returns what made it slower than those before it. A file
/// that cannot be written is not worth a failed command.
pub(super) fn keep(paths: &StackPaths, start: &Start) -> Vec<Slower> {
    let mut starts = Starts::read(paths);
    let slower = start.slower_than(&starts.starts);
    starts.add(start.clone());
    let _ = write_json(&paths.starts(), &starts);
    slower
}
