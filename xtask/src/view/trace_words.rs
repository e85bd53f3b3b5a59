//! Events and effects as one line of text each, for readers of a trace.
//!
//! The texts are not stable; programs read the record itself.

use xtask_core::plan::Port;
use xtask_core::stack::event::InspectionResult;
use xtask_core::stack::{BindFailure, Command, Effect, Event, Exit, Fault, Report, Signal};
use xtask_core::terms::Name;
use xtask_core::terms::secret::{self, MASK};

use xtask::view::words::{list, quoted};
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Apply { plan } => {
            let services = plan.services.iter().map(|service| &service.name);
            format!("apply a plan of {}", names(services))
        }
        Event::TakeDown { services, only: false } => format!("take down {}", names(services)),
        Event::TakeDown { services, only: true } => format!("take down only {}", names(services)),
        Event::Restart { services } => format!("restart {}", names(services)),
        Event::Fault { service, fault } => format!("{} {service}, as a fault", fault_verb(*fault)),
        Event::Replace { services } => format!("replace {}", names(services)),
        Event::HolderInspected { service, result } => {
            format!("looked {service}: {}", found(result))
        }
        Event::PortsChecked { service, failures } if failures.is_empty() => {
            format!("ports are free for {service}")
        }
        Event::PortsChecked { service, failures } => {
            format!("ports are not free for {service}: {}", list(failures.iter().map(bind_failure)))
        }
        Event::LogTrouble { service, trouble: Some(trouble) } => {
            format!("the log of {service} fails: {trouble}")
        }
        Event::LogTrouble { service, trouble: None } => {
            format!("the log of {service} is written again")
        }
        Event::Shutdown => "shut down".to_string(),
        Event::KillNow => "kill everything now".to_string(),
        Event::Linked { service, program } => format!("linked {service}: {}", program.path),
        Event::Accepted { service, artifact } => {
            format!("accepted {service}: {} (content {:016x})", artifact.path, artifact.content)
        }
        Event::BuildFailed { service, message } => format!("build failed {service}: {message}"),
        Event::BuildEnded { ok: true } => "build succeeded".to_string(),
        Event::BuildEnded { ok: false } => "build failed".to_string(),
        Event::BuildInterrupted => "build interrupted".to_string(),
        Event::Bound { service, ports } => {
            format!("bound {service}: {}", list(ports.iter().map(ToString::to_string)))
        }
        Event::BindFailed { service, failure, others } => {
            let all = core::iter::once(failure).chain(others).map(bind_failure);
            format!("bind failed {service}: {}", list(all))
        }
        Event::Started { service, run, pid } => format!("started {service}, run {run}: pid {pid}"),
        Event::StartFailed { service, run, error } => {
            format!("start failed {service}, run {run}: {error}")
        }
        Event::PortsLost { service, run } => format!("ports lost {service}, run {run}"),
        Event::ProbePassed { service, run, probe } => {
            format!("probe passed {service}, run {run}: probe {probe}")
        }
        Event::ProbeSeen { service, run, probe, seen } => {
            format!("probe saw {service}, run {run}: probe {probe}: {seen}")
        }
        Event::Status { service, run, status } => format!("status {service}, run {run}: {status}"),
        Event::ExtendTimeout { service, run, by } => {
            format!("extend timeout {service}, run {run}: by {by:?}")
        }
        Event::WatchdogPing { service, run } => format!("watchdog ping {service}, run {run}"),
        Event::HealthChecked { service, run, failure } => {
            let seen = failure.as_deref().unwrap_or("healthy");
            format!("health checked {service}, run {run}: {seen}")
        }
        Event::Exited { service, run, exit, clue: _ } => {
            let how = match exit {
                Exit::Code(code) => format!("status {code}"),
                Exit::Signal(signal) => format!("signal {signal}"),
                Exit::Unknown => "status unknown".to_string(),
            };
            format!("exited {service}, run {run}: {how}")
        }
        Event::Gone { service, run } => format!("gone {service}, run {run}"),
        Event::Calls { calls, elsewhere } => {
            let at = elsewhere.iter().map(|(name, at)| format!("{name} at {}", at.join(", ")));
            let at = at.fold(String::new(), |all, one| format!("{all}; listening: {one}"));
            format!("seen {} calls{at}", calls.len())
        }
        Event::Tick => "tick".to_string(),
    }
}
pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Accept { service, program, image } => {
            let image = if image.is_some() { ", and make an image of it" } else { "" };
            format!("accept {service}: {}{image}", program.path)
        }
        Effect::Bind { service, ports, listen } => {
            let verb = if *listen { "listen for" } else { "find ports for" };
            format!("{verb} {service}: {}", list(ports.iter().map(port)))
        }
        Effect::CheckPorts { service, ports } => {
            format!("check ports for {service}: {}", list(ports.iter().map(port)))
        }
        Effect::Unbind { service } => format!("close the ports of {service}"),
        Effect::Spawn { service, run, command: what, .. } => {
            format!("start {service}, run {run}: {}", command(what))
        }
        Effect::Probe { service, run, probes, .. } => {
            format!("probe {service}, run {run}: {} probes", probes.len())
        }
        Effect::MarkDone { service } => format!("record that {service} is done"),
        Effect::StopProbes { service, run } => format!("stop probing {service}, run {run}"),
        Effect::CheckHealth { service, run, .. } => {
            format!("check the health of {service}, run {run}")
        }
        Effect::CancelStart { service, run } => format!("cancel the start of {service}, run {run}"),
        Effect::InspectHolder { service, ports, .. } => {
            format!("find the port holder of {service}: {}", list(ports.iter().map(port)))
        }
        Effect::Adopt { service, run, pid, .. } => format!("adopt {service}, run {run}: pid {pid}"),
        Effect::Release { service, run } => format!("release {service}, run {run}"),
        Effect::Signal { service, run, signal } => {
            let signal = match signal {
                Signal::Stop(name) => name.as_str(),
                Signal::Kill => "SIGKILL",
                Signal::Pause => "SIGSTOP",
                Signal::Resume => "SIGCONT",
            };
            format!("{signal} to {service}, run {run}")
        }
        Effect::Report(content) => report(content),
        Effect::End => "the end".to_string(),
    }
}

fn report(report: &Report) -> String {
    match report {
        Report::AlreadyRunning { service } => format!("report: {service} already runs"),
        Report::Phase { service, run, phase, reason } => {
            let why = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("report: {service} is {}, run {run}{why}", phase.as_str())
        }
        Report::Candidate { service, run, phase, reason } => {
            let why = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("report: the candidate of {service} is {}, run {run}{why}", phase.as_str())
        }
        Report::Fault { service, run, fault } => {
            format!("report: {} {service} was requested, run {run}", fault_verb(*fault))
        }
        Report::Unexpected { what } => format!("report: unexpected: {what}"),
    }
}

fn names<'a>(services: impl IntoIterator<Item = &'a Name>) -> String {
    list(services.into_iter().map(ToString::to_string))
}

fn port(port: &Port) -> String {
    match port.number {
        Some(number) => format!("{} on {}, {number}", port.name, port.host),
        None => format!("{} on {}, any", port.name, port.host),
    }
}

/// Variables are omitted: they are many and may be secret.
fn command(command: &Command) -> String {
    let mut words = vec![quoted(&command.program)];
    let before = std::iter::once(None).chain(command.args.iter().map(|arg| Some(arg.as_str())));
    words.extend(command.args.iter().zip(before).map(|(arg, before)| {
        if secret::argument(arg, before) { MASK.to_string() } else { quoted(arg) }
    }));
    words.join(" ")
}

fn bind_failure(failure: &BindFailure) -> String {
    match failure {
        BindFailure::Held { port, holder: Some(holder), .. } => {
            format!("port {port} is held by {} (pid {})", holder.program, holder.pid)
        }
        BindFailure::Held { port, holder: None, .. } => format!("port {port} is held"),
        BindFailure::Closing { port, remaining } => {
            format!("port {port} is closing for {remaining:?}")
        }
        BindFailure::Other { port, error } => format!("port {port}: {error}"),
    }
}

fn fault_verb(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => "kill",
        Fault::Pause => "pause",
        Fault::Resume => "resume",
    }
}

fn found(result: &InspectionResult) -> String {
    match result {
        InspectionResult::Free => "no process".to_string(),
        InspectionResult::Hidden => "a process that the system hides".to_string(),
        InspectionResult::Process(found) => {
            format!("{} (pid {})", found.holder.program, found.holder.pid)
        }
    }
}
