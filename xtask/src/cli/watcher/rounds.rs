//! The loop of a watcher: wait for edits, plan, build, apply. One build at a time.
//!
//! Edits during a build wait for its end; the build continues, because its result is newer than
//! what runs. The build ends before anything changes, so a mistake leaves all runs serving. The
//! supervisor compares the new programs with the running ones, and keeps those that are byte for
//! byte the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use xtask_control::StackPaths;
use xtask_control::connection::{self, update};
use xtask_control::protocol::{Reply, Request};
use xtask_control::sources;
use xtask_core::plan::{KeptFlags, Service};
use xtask_core::snapshot::{Failure, State, WatchState};
use xtask_core::terms::Name;

use super::cargo::{BuiltProgram, CargoBuild, CargoEvent, Ended};
use super::planned::{self, Mistake, WatchPlan};
use crate::view::watch as view;
use crate::watch::contents::{Contents, ScriptTime};
use crate::watch::events::{Changes, Events};
use crate::watch::sources::{Affected, Sources};
use xtask::cli::restart::{apply, is_up};
use xtask::cli::up::watch::{WatchLog, WatchSettings};
use xtask::session::connect::{Session, connect};
use xtask::view::progress::ProgressLine;

/// Which file a program is: inode, size, and the time of its last write.
type Stamp = (u64, u64, i64, i64);

/// Why the watcher ends without an error.
struct Over;

/// What a step ends with: `Err(Over)` if the stack ended or another watcher began.
type Step<T> = anyhow::Result<Result<T, Over>>;

struct Watcher {
    settings: WatchSettings,
    /// The folder of the command that started the watcher.
    folder: PathBuf,
    session: Session,
    events: Events,
    log: WatchLog,
    sources: Sources,
    contents: Contents,
    planned: Option<WatchPlan>,
    flags: KeptFlags,
    /// Each service as it was applied last.
    applied: BTreeMap<Name, Service>,
    /// Services that were stopped because the metadata did not declare them.
    dropped: BTreeSet<Name>,
    stamps: BTreeMap<String, Stamp>,
    /// The output of the failed build or plan, until one succeeds.
    broken: Option<String>,
    /// Cargo's warnings about the workspace that were shown.
    warnings: BTreeSet<String>,
    polls: bool,
}

/// What a build left.
struct Built {
    programs: Vec<BuiltProgram>,
    /// None if the plan has nothing to build.
    ended: Option<Ended>,
    /// What it wrote for the user.
    text: String,
    /// The line about the changed files, if it is not written yet.
    head: Option<ProgressLine>,
}

/// Lines of one build. Nothing is written before the first one that a user needs.
struct Report<'a> {
    log: &'a mut WatchLog,
    head: Option<ProgressLine>,
    /// Written at the end, if it differs from the last failure.
    held: Option<String>,
    text: String,
}

impl Report<'_> {
    fn say(&mut self, line: &str) {
        self.text.extend([line, "\n"]);
        match &mut self.held {
            Some(held) => held.extend([line, "\n"]),
            None => {
                self.head();
                self.log.say(line);
            }
        }
    }

    /// Writes which files changed, once.
    fn head(&mut self) {
        if let Some(head) = self.head.take() {
            self.log.progress(&head);
        }
    }
}

/// Watches a stack until it ends, or another watcher takes the place of this one.
pub(super) async fn watch(paths: &StackPaths, settings: WatchSettings) -> anyhow::Result<()> {
    let session = connect(paths, || {}).await?.context("the stack has ended")?;
    let events = Events::new(&settings.root, &settings.outputs);
    let mut watcher = Watcher {
        folder: std::env::current_dir().unwrap_or_else(|_| settings.root.clone()),
        applied: settings.applied.iter().map(|s| (s.name.clone(), s.clone())).collect(),
        settings,
        session,
        events,
        log: WatchLog::new(paths),
        sources: Sources::default(),
        contents: Contents::default(),
        planned: None,
        flags: KeptFlags::default(),
        dropped: BTreeSet::new(),
        stamps: BTreeMap::new(),
        broken: None,
        warnings: BTreeSet::new(),
        polls: false,
    };
    match watcher.run().await {
        // The supervisor exited, or another watcher began.
        Err(error) if is_end(&error) => Ok(()),
        result => result,
    }
}

fn is_end(error: &anyhow::Error) -> bool {
    use connection::Error::{Gone, Refused};
    matches!(error.downcast_ref::<connection::Error>(), Some(Gone | Refused(_)))
}

impl Watcher {
    async fn run(&mut self) -> anyhow::Result<()> {
        let (pid, keep) = (std::process::id(), self.settings.keep);
        let polls = self.events.polls().map(str::to_owned);
        self.session.request(Request::BeginWatching { pid, keep, polls }).await?;
        // Edits since the build of the command that started the watcher.
        let mut affected = Affected::everything();
        let mut scripts = None;
        let mut is_first = true;
        loop {
            self.report_polling();
            if !affected.is_nothing() {
                match self.round(&affected, is_first).await? {
                    Ok(ran) => scripts = ran,
                    Err(Over) => return Ok(()),
                }
                is_first = false;
            }
            let changes = tokio::select! {
                changes = self.events.next() => changes,
                () = ended(&mut self.session) => return Ok(()),
            };
            affected = self.count(changes, scripts.take());
        }
    }

    fn report_polling(&mut self) {
        if let Some(reason) = self.events.polls().filter(|_| !self.polls) {
            self.polls = true;
            self.log.progress(&view::polls(reason));
        }
    }

    /// What changes affect. Files that a build wrote, and writes of the same content, do not count.
    fn count(&mut self, changes: Changes, scripts: Option<ScriptTime>) -> Affected {
        if changes.lost {
            return Affected::everything();
        }
        let mut found = BTreeMap::new();
        for (path, change) in changes.files {
            let affected = self.sources.affected(&path, change, self.broken.is_some());
            if !affected.is_nothing() && self.contents.has_changed(&path) {
                found.insert(path, affected);
            }
        }
        let changed = found.keys().cloned().collect();
        let (counting, generated) = self.contents.after_build(changed, scripts);
        if !generated.is_empty() {
            self.log.progress(&view::generated(&self.settings.root, &generated));
        }
        let mut out = Affected::default();
        for (_, affected) in found.into_iter().filter(|(path, _)| counting.contains(path)) {
            out.add(affected);
        }
        out
    }

    /// Plans if needed, builds, and applies what changed. Returns when build scripts ran.
    async fn round(&mut self, affected: &Affected, is_first: bool) -> Step<Option<ScriptTime>> {
        self.return_to_folder();
        let Reply::Flags { flags, running } = self.session.connection.call(Request::Flags).await?
        else {
            return Ok(Err(Over));
        };
        if affected.plan || self.planned.is_none() || *flags != self.flags {
            self.flags = *flags.clone();
            let plan = planned::plan(&self.settings, &self.session.paths, *flags, running);
            match plan {
                Ok(planned) => self.take_plan(planned),
                Err(mistake) => {
                    self.report_mistake(affected, &mistake);
                    let state = self.state(WatchState::Broken { message: mistake.message });
                    return Ok(state.await?.map(|()| None));
                }
            }
        }
        if let Err(over) = self.state(WatchState::Building).await? {
            return Ok(Err(over));
        }
        let Built { programs, ended, text, head } = match self.build(affected, is_first).await? {
            Ok(built) => built,
            Err(over) => return Ok(Err(over)),
        };
        let scripts = ended.as_ref().map(|ended| ended.scripts);
        if let Some(Ended { error, .. }) = ended.filter(|ended| !ended.ok) {
            let message = error.unwrap_or_else(|| "error: cargo failed".to_owned());
            if self.broken.as_ref() != Some(&text) {
                self.log.progress(&view::kept("build"));
            }
            self.broken = Some(text);
            let state = self.state(WatchState::Broken { message }).await?;
            return Ok(state.map(|()| scripts));
        }
        self.list(&programs);
        self.apply(affected, programs, head).await?;
        if self.broken.take().is_some() {
            self.log.progress(&view::mended());
        }
        let state = self.state(WatchState::Idle).await?;
        Ok(state.map(|()| scripts))
    }

    /// The folder of the command may have been deleted, and may have come back.
    fn return_to_folder(&self) {
        let mut places = self.folder.ancestors();
        places.find(|place| std::env::set_current_dir(place).is_ok());
    }

    fn take_plan(&mut self, planned: WatchPlan) {
        let read = planned.watch.read.iter().map(PathBuf::from).collect();
        self.sources.declare(planned.packages(), read, &planned.watch.patterns);
        self.planned = Some(planned);
        self.watch_named();
    }

    /// Watches the folders of files that cargo or the metadata names.
    fn watch_named(&mut self) {
        let outputs: Vec<&Path> = self
            .planned
            .iter()
            .flat_map(|planned| {
                [planned.files.target_directory.as_path(), planned.files.build_directory.as_path()]
            })
            .collect();
        let named = self.sources.named();
        let named = named.filter(|path| !outputs.iter().any(|output| path.starts_with(output)));
        let mut folders = BTreeSet::new();
        for path in named {
            let folder = path.parent().unwrap_or(path);
            folders.insert(folder.to_path_buf());
            // The package of a file outside of the workspace.
            if !path.starts_with(&self.settings.root) {
                let mut around = folder.ancestors();
                folders
                    .extend(around.find(|f| f.join("Cargo.toml").exists()).map(Path::to_path_buf));
            }
        }
        self.events.add(folders);
    }

    fn report_mistake(&mut self, affected: &Affected, mistake: &Mistake) {
        if self.broken.as_ref() == Some(&mistake.text) {
            return;
        }
        self.log.progress(&self.head(affected));
        self.log.say(&mistake.text);
        self.log.progress(&view::kept("metadata"));
        self.broken = Some(mistake.text.clone());
    }

    fn head(&self, affected: &Affected) -> ProgressLine {
        let services = affected.services.union(&affected.restart).cloned().collect();
        let files = match affected.files.is_empty() {
            true => &affected.undecided,
            false => &affected.files,
        };
        view::changed(&self.settings.root, files, &services)
    }

    /// Builds the plan.
    async fn build(&mut self, affected: &Affected, is_first: bool) -> Step<Built> {
        let head = (!is_first).then(|| self.head(affected));
        let Self { session, planned, log, warnings, broken, .. } = self;
        let started = match planned {
            Some(planned) => CargoBuild::start(&planned.plan, &planned.files)?,
            None => None,
        };
        let Some(mut cargo) = started else {
            let (programs, text) = (Vec::new(), String::new());
            return Ok(Ok(Built { programs, ended: None, text, head }));
        };
        if let Some(pid) = cargo.pid() {
            session.request(Request::Building { pid }).await?;
        }
        let repeats = broken.is_some() && affected.services.is_empty();
        let held = repeats.then(String::new);
        let mut report = Report { log, head, held, text: String::new() };
        let (mut programs, mut is_blocked) = (Vec::new(), false);
        let ended = loop {
            let event = tokio::select! {
                event = cargo.next() => event?,
                () = ended(session) => return Ok(Err(Over)),
            };
            if is_blocked && matches!(event, CargoEvent::Line(_) | CargoEvent::Program(_)) {
                is_blocked = false;
                session.request(Request::WatchState { state: WatchState::Building }).await?;
            }
            match event {
                CargoEvent::Line(line) => report.say(&line),
                CargoEvent::Warning(line) if warnings.insert(line.clone()) => report.say(&line),
                CargoEvent::Warning(_) => {}
                // The build of the command that started the watcher may still run.
                CargoEvent::Blocked(_) if is_first => {}
                CargoEvent::Blocked(line) => {
                    is_blocked = true;
                    report.say(&line);
                    session.request(Request::WatchState { state: WatchState::Blocked }).await?;
                }
                CargoEvent::Program(program) => programs.push(program),
                CargoEvent::Ended(ended) => break ended,
            }
        };
        if let Some(held) =
            report.held.take().filter(|held| ended.ok || broken.as_ref() != Some(held))
            && !held.is_empty()
        {
            report.head();
            report.log.say(&held);
        }
        let Report { head, text, .. } = report;
        Ok(Ok(Built { programs, ended: Some(ended), text, head }))
    }

    /// Takes cargo's lists of what each program is made of.
    fn list(&mut self, programs: &[BuiltProgram]) {
        for BuiltProgram { services, program, .. } in programs {
            self.sources.list(services, sources::listed(Path::new(&program.path)));
        }
        self.watch_named();
    }

    /// Applies the services that changed.
    async fn apply(
        &mut self,
        affected: &Affected,
        programs: Vec<BuiltProgram>,
        head: Option<ProgressLine>,
    ) -> anyhow::Result<()> {
        let built = self.replaced(&programs);
        let Some(planned) = &self.planned else { return Ok(()) };
        let plan = &planned.plan;
        let snapshot = &self.session.snapshot;
        let declared = plan.declared.clone().unwrap_or_default();
        let undeclared =
            snapshot.services.iter().filter(|s| s.wanted && !declared.contains(&s.name));
        let dropped: Vec<Name> = undeclared.map(|service| service.name.clone()).collect();
        let changes = |service: &Service| {
            let name = &service.name;
            let known = snapshot.service(name);
            if known.is_some_and(|known| !known.wanted) && !self.dropped.contains(name) {
                // The user took it down.
                return false;
            }
            known.is_none_or(|known| !known.wanted || known.failure == Some(Failure::Build))
                || built.contains(name)
                || affected.restart.contains(name)
                || self.applied.get(name).is_some_and(|applied| applied != service)
        };
        let mut names: BTreeSet<Name> = BTreeSet::new();
        let mut open: Vec<&Service> = plan.services.iter().filter(|s| changes(s)).collect();
        while let Some(service) = open.pop() {
            if names.insert(service.name.clone()) {
                let needed = service.depends_on.iter().map(|edge| &edge.on);
                let needed = needed.filter(|name| !is_up(snapshot, name));
                open.extend(needed.filter_map(|name| plan.service(name)));
            }
        }
        let mut part = plan.clone();
        for service in &plan.services {
            self.applied.entry(service.name.clone()).or_insert_with(|| service.clone());
        }
        if names.is_empty() && dropped.is_empty() {
            return Ok(());
        }
        part.services.retain(|service| names.contains(&service.name));
        part.restart = affected.restart.intersection(&names).cloned().collect();
        for service in &part.services {
            self.applied.insert(service.name.clone(), service.clone());
        }
        self.dropped.retain(|name| !names.contains(name));
        self.dropped.extend(dropped);
        if let Some(head) = head {
            self.log.progress(&head);
        }
        let programs =
            programs.into_iter().filter_map(|BuiltProgram { mut services, program, .. }| {
                services.retain(|service| names.contains(service));
                (!services.is_empty()).then_some((services, program))
            });
        apply(&mut self.session, part, programs.collect()).await
    }

    /// The services whose programs cargo linked, or that another cargo call linked since the last
    /// build.
    fn replaced(&mut self, programs: &[BuiltProgram]) -> BTreeSet<Name> {
        let mut names = BTreeSet::new();
        for BuiltProgram { services, program, fresh } in programs {
            let Some(stamp) = stamp(Path::new(&program.path)) else { continue };
            let before = self.stamps.insert(program.path.clone(), stamp);
            if !fresh || before.is_some_and(|before| before != stamp) {
                names.extend(services.iter().cloned());
            }
        }
        names
    }

    /// Publishes what the watcher does.
    async fn state(&mut self, state: WatchState) -> Step<()> {
        self.session.request(Request::WatchState { state }).await?;
        Ok(if is_over(&self.session) { Err(Over) } else { Ok(()) })
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

fn is_over(session: &Session) -> bool {
    let is_other = |pid| pid != std::process::id();
    session.snapshot.state == State::Stopping
        || session.snapshot.watch.as_ref().is_none_or(|watch| is_other(watch.pid))
}

/// Waits until the stack ends, or another watcher takes the place of this one. Cancel safe.
async fn ended(session: &mut Session) {
    while !is_over(session) {
        match session.connection.next().await {
            Ok(Some(answer)) => drop(update(&mut session.snapshot, answer.reply)),
            Ok(None) | Err(_) => return,
        }
    }
}
