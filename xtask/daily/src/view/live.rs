//! The live lines of `up`: what is in progress, and the keys.

use std::time::Duration;

use xtask_core::snapshot::{Phase, ServiceSnapshot};

use super::calls;
use super::status::color;
use super::style::{BAD, BOLD, DIM, GOOD, RESET, WARN};

/// How many services in progress have a line of their own.
const MOST: usize = 6;

/// The state that the live lines show.
#[derive(Debug, Default)]
pub(crate) struct Live<'a> {
    pub(crate) stack: &'a str,
    /// The services of the plan, each with the time in its phase.
    pub(crate) services: Vec<(&'a ServiceSnapshot, Duration)>,
    /// Present states other than services: a filter, a running command.
    pub(crate) states: Vec<String>,
    /// The keys that work; none if no keys are read.
    pub(crate) keys: Option<Vec<&'static str>>,
    /// A question, which replaces the keys.
    pub(crate) prompt: Option<String>,
}

/// One line for each service in progress, then one about the stack with the keys. Empty if there is
/// nothing in progress and no key.
pub(crate) fn lines(live: &Live<'_>) -> Vec<String> {
    let mut busy: Vec<_> =
        live.services.iter().filter(|(service, _)| service.phase.is_on_the_way()).collect();
    // What runs is more interesting than what waits for it.
    busy.sort_by_key(|(service, _)| match service.phase {
        Phase::Starting | Phase::Stopping | Phase::Backoff => 0,
        Phase::Building => 1,
        _ => 2,
    });
    let mut lines: Vec<String> = busy.iter().take(MOST).map(|one| line(one)).collect();
    if let Some(more) = busy.len().checked_sub(MOST).filter(|more| *more > 0) {
        lines.push(format!("{:>12} {DIM}and {more} more{RESET}", ""));
    }
    match (&live.prompt, &live.keys) {
        (Some(prompt), _) => lines.push(format!("{BOLD}{:>12}{RESET} {prompt}", live.stack)),
        (None, Some(keys)) => lines.push(summary(live, keys)),
        (None, None) => {}
    }
    lines
}

fn line((service, time): &(&ServiceSnapshot, Duration)) -> String {
    let detail = match service.phase {
        Phase::Waiting if !service.waiting_on.is_empty() => {
            Some(format!("for {}", service.waiting_on.join(", ")))
        }
        Phase::Starting => service.seen.last().or(service.status.as_ref()).cloned(),
        Phase::Backoff | Phase::Stopping => service.reason.clone(),
        _ => None,
    };
    let details: Vec<String> = detail.into_iter().chain(calls::callers(service)).collect();
    let details = details.join("; ");
    let seconds = match time.as_secs() {
        0 => String::new(),
        seconds => format!(" {seconds} s"),
    };
    let (color, phase) = (color(service.phase), service.phase.as_str());
    format!("{color}{phase:>12}{RESET} {}{seconds}  {DIM}{details}{RESET}", service.name)
        .trim_end_matches(&format!("  {DIM}{RESET}"))
        .to_owned()
}

fn summary(live: &Live<'_>, keys: &[&str]) -> String {
    let count = |wanted: &dyn Fn(Phase) -> bool| {
        live.services.iter().filter(|(service, _)| wanted(service.phase)).count()
    };
    let up = count(&|phase| matches!(phase, Phase::Ready | Phase::Succeeded));
    let bad = count(&|phase| matches!(phase, Phase::Failed | Phase::Unhealthy));
    let all = live.services.len();
    let mut parts = vec![match up == all {
        true => format!("{GOOD}{all} ready{RESET}"),
        false => format!("{up} of {all} ready"),
    }];
    if bad > 0 {
        parts.push(format!("{BAD}{bad} failed{RESET}"));
    }
    parts.extend(live.states.iter().map(|state| format!("{WARN}{state}{RESET}")));
    let keys = keys.join("  ");
    format!("{BOLD}{:>12}{RESET} {}  {DIM}{keys}{RESET}", live.stack, parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::service;

    fn plain(live: &Live<'_>) -> Vec<String> {
        lines(live).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn lines_name_what_a_service_waits_for() {
        let mut web = service("web", Phase::Waiting);
        web.waiting_on = vec!["api (starting)".to_owned()];
        let mut api = service("api", Phase::Starting);
        api.seen = vec!["GET /: connection refused".to_owned()];
        api.callers_waiting = Some(2);
        let db = service("db", Phase::Ready);
        let second = Duration::from_secs(1);
        let services = vec![(&web, second * 3), (&api, second), (&db, second)];
        let live = Live {
            stack: "dev",
            services,
            keys: Some(vec!["? help", "q stop"]),
            ..Live::default()
        };
        assert_eq!(
            plain(&live),
            [
                "    starting api 1 s  GET /: connection refused; 2 callers wait for an answer",
                "     waiting web 3 s  for api (starting)",
                "         dev 1 of 3 ready  ? help  q stop",
            ]
        );
    }

    #[test]
    fn ready_stack_without_keys_has_no_lines() {
        let db = service("db", Phase::Ready);
        let live = Live { services: vec![(&db, Duration::ZERO)], ..Live::default() };
        assert_eq!(lines(&live), Vec::<String>::new());
    }

    #[test]
    fn many_services_in_progress_are_counted() {
        let all: Vec<_> = (0..9).map(|n| service(&format!("s{n}"), Phase::Building)).collect();
        let services = all.iter().map(|service| (service, Duration::ZERO)).collect();
        let shown = plain(&Live { services, ..Live::default() });
        assert_eq!(shown.len(), 7);
        assert_eq!(shown[6].trim(), "and 3 more");
    }
}
