//! How long the parts of a start took, and the starts before it.
//!
//! `up` writes a start to [`StackPaths::starts`] when everything is ready. `timings` reads it. The
//! types change only by addition. All times are in milliseconds since the command began.

use std::fs::File;
use std::io::Read as _;
use xtask_core::sorted::SortedMap;

use serde::{Deserialize, Serialize};

use crate::paths::StackPaths;

/// How many starts are kept.
pub const MOST_STARTS: usize = 20;

/// How many services all kept starts have together.
const MOST_SERVICES: usize = 4_000;

/// A longer file was not written by this tool.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// The times are rounded, so a dependency may seem to be ready this much after its dependent began.
const ROUNDED_MS: u64 = 2;

/// How many starts are compared with.
const FEWEST_COMPARED: usize = 3;

/// A start of a stack, from the command to ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// When it was ready: RFC 3339 in UTC.
    #[serde(default)]
    pub at: String,
    /// When everything was ready.
    pub ready_ms: u64,
    /// The run of cargo; none if nothing was built.
    #[serde(default)]
    pub build: Option<Build>,
    /// The services, dependencies first.
    pub services: Vec<ServiceStart>,
    /// The steps that ended last, each of which waited for the one before it.
    #[serde(default)]
    pub critical_path: Vec<Step>,
}

/// A run of cargo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// When cargo was started.
    pub from_ms: u64,
    /// When cargo exited.
    pub to_ms: u64,
    /// Whether every program was up to date.
    pub fresh: bool,
}

/// The start of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStart {
    /// The name that the metadata gives it.
    pub service: String,
    /// Whether it is a job, which is ready when it has succeeded.
    #[serde(default)]
    pub job: bool,
    /// Whether it ran before and was kept; then it has no times.
    #[serde(default)]
    pub kept: bool,
    /// When cargo reported its program; none if cargo does not build it.
    #[serde(default)]
    pub built_ms: Option<u64>,
    /// When its process was started.
    #[serde(default)]
    pub started_ms: Option<u64>,
    /// When it was ready.
    #[serde(default)]
    pub ready_ms: Option<u64>,
    /// The services that it waits for.
    #[serde(default)]
    pub depends_on: Vec<String>,
}

/// A part of a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The name of the service that was built or started.
    pub service: String,
    /// What happened.
    pub kind: StepKind,
    /// When it began.
    pub from_ms: u64,
    /// When it ended.
    pub to_ms: u64,
}

/// The kind of a [`Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// From the start of cargo until the program was linked.
    Build,
    /// From the start of the process until it was ready.
    Start,
}

impl Step {
    /// How long it took, in milliseconds.
    pub fn took_ms(&self) -> u64 {
        self.to_ms.saturating_sub(self.from_ms)
    }
}

impl ServiceStart {
    /// From the start of the process to ready, in milliseconds.
    pub fn took_ms(&self) -> Option<u64> {
        Some(self.ready_ms?.saturating_sub(self.started_ms?))
    }
}

impl Start {
    /// Fills in the critical path: from the service that was ready last back to the build.
    #[must_use]
    pub fn with_critical_path(mut self) -> Self {
        for one in &mut self.services {
            // Another command built the program that runs, and cargo found it later.
            one.built_ms = one.built_ms.filter(|built| one.ready_ms >= Some(*built));
        }
        let by_name: SortedMap<&str, &ServiceStart> =
            self.services.iter().map(|one| (one.service.as_str(), one)).collect();
        let mut next = self.services.iter().filter(|s| !s.kept).max_by_key(|s| s.ready_ms);
        let mut path = Vec::new();
        // No service is twice on a path, so this ends even if the dependencies have a cycle.
        while let Some(one) = next.take().filter(|_| path.len() <= 2 * self.services.len()) {
            let (Some(from_ms), Some(to_ms)) = (one.started_ms, one.ready_ms) else { break };
            let step = |kind, from_ms, to_ms| {
                let service = one.service.clone();
                Step { service, kind, from_ms, to_ms }
            };
            path.push(step(StepKind::Start, from_ms, to_ms));
            let ready = |name: &String| by_name.get(name.as_str()).copied();
            let dependency = one.depends_on.iter().filter_map(ready);
            let dependency = dependency
                .filter(|on| !on.kept && on.ready_ms.is_some_and(|at| at <= from_ms + ROUNDED_MS))
                .max_by_key(|on| on.ready_ms);
            let dependency_ms = dependency.and_then(|on| on.ready_ms);
            match (one.built_ms, self.build) {
                (Some(built), Some(build)) if Some(built) > dependency_ms => {
                    path.push(step(StepKind::Build, build.from_ms.min(built), built));
                }
                _ => next = dependency,
            }
        }
        path.reverse();
        self.critical_path = path;
        self
    }

    /// Whether another start did the same work: it started the same services, and also built
    /// programs or not.
    fn is_alike(&self, other: &Self) -> bool {
        let started = |start: &Self| -> Vec<String> {
            let started = start.services.iter().filter(|one| !one.kept);
            started.map(|one| one.service.clone()).collect()
        };
        let is_fresh = |start: &Self| start.build.is_none_or(|build| build.fresh);
        is_fresh(self) == is_fresh(other) && started(self) == started(other)
    }

    /// What made this start much slower than the starts before it, slowest first. Empty if it was
    /// not, or if there are too few starts to compare with.
    pub fn slower_than(&self, before: &[Self]) -> Vec<Slower> {
        let alike: Vec<&Self> = before.iter().filter(|start| self.is_alike(start)).collect();
        let Some(usual_ms) = median(alike.iter().map(|start| start.ready_ms).collect()) else {
            return Vec::new();
        };
        if !is_much(self.ready_ms, usual_ms) {
            return Vec::new();
        }
        let took = |build: Option<Build>| build.map(|b| b.to_ms.saturating_sub(b.from_ms));
        let mut parts = Vec::new();
        if let Some(now_ms) = took(self.build) {
            let before = alike.iter().filter_map(|start| took(start.build)).collect();
            parts.push((None, now_ms, before));
        }
        for one in self.services.iter().filter(|one| !one.kept) {
            let same = alike.iter().flat_map(|start| &start.services);
            let same = same.filter(|other| other.service == one.service);
            let before = same.filter_map(ServiceStart::took_ms).collect();
            parts.extend(one.took_ms().map(|now| (Some(one.service.clone()), now, before)));
        }
        let slower = parts.into_iter().filter_map(|(service, now_ms, before)| {
            let usual_ms = median(before)?;
            is_much(now_ms, usual_ms).then_some(Slower { service, now_ms, usual_ms })
        });
        let mut slower: Vec<Slower> = slower.collect();
        slower.sort_by_key(|part| std::cmp::Reverse(part.now_ms - part.usual_ms));
        slower
    }
}

/// A part that took much longer than usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slower {
    /// The service; none for the build.
    pub service: Option<String>,
    /// How long it took now, in milliseconds.
    pub now_ms: u64,
    /// The median of the starts before, in milliseconds.
    pub usual_ms: u64,
}

/// Half as long again, and a difference that a user notices.
fn is_much(now_ms: u64, usual_ms: u64) -> bool {
    now_ms > usual_ms + (usual_ms / 2).max(200)
}

/// The middle value; none if there are too few.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    (values.len() >= FEWEST_COMPARED).then(|| values[values.len() / 2])
}

/// The content of the file with the starts, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// The starts, oldest first.
    pub starts: Vec<Start>,
}

impl Starts {
    /// The starts of a stack; none if the file is missing or damaged.
    pub fn read(paths: &StackPaths) -> Self {
        let mut text = Vec::new();
        let read = File::open(paths.starts())
            .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text));
        match read {
            Ok(length) if length as u64 <= MOST_BYTES => {
                serde_json::from_slice(&text).unwrap_or_default()
            }
            Ok(_) | Err(_) => Self::default(),
        }
    }

    /// Adds a start, and drops the oldest ones.
    pub fn add(&mut self, start: Start) {
        self.starts.push(start);
        let services =
            |starts: &[Start]| starts.iter().map(|start| start.services.len()).sum::<usize>();
        while self.starts.len() > MOST_STARTS
            || (self.starts.len() > 1 && services(&self.starts) > MOST_SERVICES)
        {
            self.starts.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, on: &[&str], built: u64, started: u64, ready: u64) -> ServiceStart {
        ServiceStart {
            service: name.to_owned(),
            job: false,
            kept: false,
            built_ms: Some(built),
            started_ms: Some(started),
            ready_ms: Some(ready),
            depends_on: on.iter().map(|on| (*on).to_owned()).collect(),
        }
    }

    fn start(services: Vec<ServiceStart>) -> Start {
        let ready_ms = services.iter().filter_map(|one| one.ready_ms).max().unwrap_or(0);
        let build = Some(Build { from_ms: 50, to_ms: 2_200, fresh: false });
        Start { ready_ms, build, services, ..Start::default() }
    }

    fn path(start: Start) -> Vec<(String, StepKind)> {
        let path = start.with_critical_path().critical_path;
        path.into_iter().map(|step| (step.service, step.kind)).collect()
    }

    #[test]
    fn critical_path_leads_from_the_build_to_the_last() {
        let api = service("api", &[], 2_000, 2_010, 2_500);
        let web = service("web", &["api"], 900, 2_501, 3_000);
        let quick = service("quick", &[], 800, 801, 820);
        let (build, ready) = (StepKind::Build, StepKind::Start);
        let steps = |steps: &[(&str, StepKind)]| -> Vec<(String, StepKind)> {
            steps.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
        };
        let found = path(start(vec![api.clone(), web.clone(), quick]));
        assert_eq!(found, steps(&[("api", build), ("api", ready), ("web", ready)]));
        // A program that is linked after its dependency was ready begins the path.
        let late = ServiceStart { built_ms: Some(2_499), ..web.clone() };
        let early = ServiceStart { ready_ms: Some(2_100), ..api.clone() };
        assert_eq!(path(start(vec![early, late])), steps(&[("web", build), ("web", ready)]));
        let elsewhere = ServiceStart { built_ms: Some(9_000), ..api.clone() };
        assert_eq!(path(start(vec![elsewhere])), steps(&[("api", ready)]));
        let kept = ServiceStart { kept: true, ..api };
        let alone = ServiceStart { built_ms: None, ..web };
        assert_eq!(path(start(vec![kept, alone])), steps(&[("web", ready)]));
    }

    #[test]
    fn circle_of_dependencies_ends_the_path() {
        let a = service("a", &["b"], 0, 100, 100);
        let b = service("b", &["a"], 0, 100, 100);
        assert!(path(start(vec![a, b])).len() < 9);
    }

    #[test]
    fn slower_start_names_what_became_slower() {
        let usual = |ms: u64| start(vec![service("api", &[], 2_000, 2_000, 2_000 + ms)]);
        let before: Vec<Start> = [100, 120, 110].into_iter().map(usual).collect();
        let now = usual(3_000);
        let api = Slower { service: Some("api".to_owned()), now_ms: 3_000, usual_ms: 110 };
        assert_eq!(now.slower_than(&before), [api]);
        assert_eq!(now.slower_than(&before[1..]), []);
        assert_eq!(usual(200).slower_than(&before), []);
        // Another amount of work is no comparison.
        let fresh = Start { build: None, ..now };
        assert_eq!(fresh.slower_than(&before), []);
    }

    #[test]
    fn damaged_history_is_empty_and_new_one_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let paths = StackPaths::at(folder.path().join("shop/dev"));
        std::fs::create_dir_all(paths.folder()).unwrap();
        assert_eq!(Starts::read(&paths), Starts::default());
        for damaged in ["", "{", "[]", "{\"starts\": [{\"ready_ms\": -1}]}", "\u{0}"] {
            std::fs::write(paths.starts(), damaged).unwrap();
            assert_eq!(Starts::read(&paths), Starts::default(), "{damaged:?}");
        }
        let mut starts = Starts::default();
        for ready_ms in 0..50 {
            starts.add(Start { ready_ms, ..Start::default() });
        }
        assert_eq!(starts.starts.len(), MOST_STARTS);
        assert_eq!(starts.starts.last().map(|start| start.ready_ms), Some(49));
        let services = vec![service("api", &[], 1, 2, 3); MOST_SERVICES];
        starts.add(Start { services, ..Start::default() });
        assert_eq!(starts.starts.len(), 1 + MOST_STARTS - 1);
        std::fs::write(paths.starts(), serde_json::to_vec(&starts).unwrap()).unwrap();
        assert_eq!(Starts::read(&paths), starts);
    }
}
