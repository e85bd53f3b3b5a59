//! The time of a start in one line, and what became slower.

use xtask_control::timings::{Slower, Start, Step, StepKind};
use xtask_core::terms::duration::measured;

/// How many steps of the critical path, and how many slower parts, are named.
const MOST: usize = 4;

/// The time until everything was ready, and the steps of the critical path that took longest.
pub(crate) fn line(start: &Start) -> String {
    let mut longest: Vec<&Step> = start.critical_path.iter().collect();
    longest.sort_by_key(|step| std::cmp::Reverse(step.took_ms()));
    longest.truncate(MOST);
    let shown = start.critical_path.iter().filter(|step| longest.contains(step));
    let shown = shown.map(step).collect::<Vec<_>>().join(" -> ");
    let more = match start.critical_path.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" (and {more} shorter steps)"),
    };
    let path = if shown.is_empty() { shown } else { format!("; longest: {shown}{more}") };
    format!("in {}{path}", measured(start.ready_ms))
}

fn step(step: &Step) -> String {
    let took = measured(step.took_ms());
    match step.kind {
        StepKind::Build => format!("build {} {took}", step.service),
        StepKind::Start => format!("{} ready {took}", step.service),
    }
}

/// What became slower; none if nothing did.
pub(crate) fn slower(parts: &[Slower]) -> Option<String> {
    let text = |part: &Slower| {
        let (now, usual) = (measured(part.now_ms), measured(part.usual_ms));
        match &part.service {
            Some(service) => format!("{service} was ready after {now}, usually {usual}"),
            None => format!("cargo took {now}, usually {usual}"),
        }
    };
    let texts: Vec<String> = parts.iter().take(MOST).map(text).collect();
    (!texts.is_empty()).then(|| format!("than the starts before: {}", texts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(service: &str, kind: StepKind, from_ms: u64, to_ms: u64) -> Step {
        Step { service: service.to_owned(), kind, from_ms, to_ms }
    }

    #[test]
    fn line_names_the_longest_steps_in_order() {
        let mut critical_path = vec![
            step("api", StepKind::Build, 100, 2_200),
            step("api", StepKind::Start, 2_200, 2_210),
            step("web", StepKind::Start, 2_210, 3_010),
        ];
        let start = |critical_path| Start { ready_ms: 3_200, critical_path, ..Start::default() };
        assert_eq!(
            line(&start(critical_path.clone())),
            "in 3.2 s; longest: build api 2.1 s -> api ready 10 ms -> web ready 800 ms"
        );
        let chain = (0..6).map(|n| step(&format!("s{n}"), StepKind::Start, 0, 300 + n));
        critical_path.extend(chain);
        let text = line(&start(critical_path));
        assert!(text.starts_with("in 3.2 s; longest: build api 2.1 s -> web ready"), "{text}");
        assert!(text.ends_with("s5 ready 305 ms (and 5 shorter steps)"), "{text}");
        assert_eq!(line(&start(Vec::new())), "in 3.2 s");
    }

    #[test]
    fn slower_parts_are_compared_with_the_usual_time() {
        let part = |service: Option<&str>| Slower {
            service: service.map(str::to_owned),
            now_ms: 2_400,
            usual_ms: 300,
        };
        assert_eq!(
            slower(&[part(Some("api")), part(None)]).as_deref(),
            Some(
                "than the starts before: api was ready after 2.4 s, usually 300 ms; \
                 cargo took 2.4 s, usually 300 ms"
            )
        );
        assert_eq!(slower(&[]), None);
    }
}
