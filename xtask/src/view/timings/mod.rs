//! A start as one HTML page without scripts, fonts or images, for a browser that is offline.
//!
//! The page follows the light or dark mode of the browser. Every text of the workspace is escaped.

use std::fmt::Write as _;

use xtask_control::timings::{ServiceStart, Start, Step, StepKind};
use xtask_core::terms::duration::measured;

const STYLE: &str = include_str!("style.css");

/// The most lines of the time axis.
const MOST_TICKS: u64 = 8;

/// The page about the last of these starts of a stack. None without a start.
pub(crate) fn page(stack: &str, starts: &[Start]) -> Option<String> {
    let start = starts.last()?;
    let (stack, at) = (escaped(stack), escaped(&start.at));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Start of {stack}: {total}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Start of stack {stack}</h1><time datetime=\"{at}\">{at}</time></header>\n\
         <p class=\"total\">{total} <small>from the command until everything was ready</small></p>\n",
        total = measured(start.ready_ms),
    );
    out.push_str(&path(start));
    out.push_str(&chart(start));
    out.push_str(&table(start));
    out.push_str(&history(starts));
    out.push_str("</body>\n</html>\n");
    Some(out)
}

/// The critical path as a list.
fn path(start: &Start) -> String {
    if start.critical_path.is_empty() {
        return String::new();
    }
    let mut out = "<ol class=\"path\" aria-label=\"Critical path\">\n".to_owned();
    for step in &start.critical_path {
        let (service, took) = (escaped(&step.service), measured(step.took_ms()));
        let _ = match step.kind {
            StepKind::Build => writeln!(out, "<li class=\"build\">build {service} {took}</li>"),
            StepKind::Start => writeln!(out, "<li>{service} ready {took}</li>"),
        };
    }
    out.push_str("</ol>\n");
    out
}

fn chart(start: &Start) -> String {
    let end = start.ready_ms.max(1);
    let mut out = "<section>\n<h2>Timeline</h2>\n<p class=\"legend\">\
         <span><i style=\"background:var(--build)\"></i>build: from the start of cargo</span>\
         <span><i style=\"background:var(--wait)\"></i>wait: for a dependency or a port</span>\
         <span><i style=\"background:var(--start)\"></i>start: until ready</span>\
         <span><i style=\"border:2px solid var(--mark)\"></i>critical path</span></p>\n\
         <div class=\"chart\">\n<div class=\"axis\">"
        .to_owned();
    let ticks = ticks(end);
    for tick in &ticks {
        let at = percent(*tick, end);
        let last = if at > 96.0 { " class=\"last\"" } else { "" };
        let _ = write!(out, "<span{last} style=\"left:{at:.2}%\">{}</span>", seconds(*tick));
    }
    out.push_str("</div>\n");
    for one in &start.services {
        out.push_str(&row(start, one, &ticks, end));
    }
    out.push_str("</div>\n</section>\n");
    out
}

fn row(start: &Start, one: &ServiceStart, ticks: &[u64], end: u64) -> String {
    let name = escaped(&one.service);
    let on_path = |kind| {
        let mut steps = start.critical_path.iter();
        steps.any(|step: &Step| step.service == one.service && step.kind == kind)
    };
    let is_critical = on_path(StepKind::Build) || on_path(StepKind::Start);
    let class = if is_critical { "name critical" } else { "name" };
    let mut out = format!("<div class=\"{class}\" title=\"{name}\">{name}</div>");
    out.push_str(if one.kept { "<div class=\"track kept\">" } else { "<div class=\"track\">" });
    for tick in ticks.iter().skip(1) {
        let _ = write!(out, "<u style=\"left:{:.2}%\"></u>", percent(*tick, end));
    }
    if one.kept {
        out.push_str("<span>ran before</span></div>\n");
        return out;
    }
    let [build, wait, begun] = parts(start, one);
    let bars = [
        ("wait", wait, false, "waited"),
        ("build", build, on_path(StepKind::Build), "built after"),
        (
            "start",
            begun,
            on_path(StepKind::Start),
            if one.job { "done after" } else { "ready after" },
        ),
    ];
    for (class, part, critical, verb) in bars {
        let Some((from, to)) = part else { continue };
        let (left, width) = (percent(from, end), percent(to.saturating_sub(from), end));
        let marked = if critical { " critical" } else { "" };
        let title = format!("{name}: {verb} {}", measured(to.saturating_sub(from)));
        let _ = write!(
            out,
            "<div class=\"bar {class}{marked}\" role=\"img\" title=\"{title}\" \
             aria-label=\"{title}\" style=\"left:{left:.2}%;width:{width:.2}%\"></div>"
        );
    }
    out.push_str("</div>\n");
    out
}

/// From and to of build, wait and start, in milliseconds.
fn parts(start: &Start, one: &ServiceStart) -> [Option<(u64, u64)>; 3] {
    let build =
        start.build.zip(one.built_ms).map(|(build, built)| (build.from_ms.min(built), built));
    let wait_from = one.built_ms.or(start.build.map(|build| build.from_ms)).unwrap_or(0);
    let wait = one.started_ms.map(|started| (wait_from.min(started), started));
    [build, wait, one.started_ms.zip(one.ready_ms)]
}

fn table(start: &Start) -> String {
    let mut out =
        "<section>\n<h2>Numbers</h2>\n<div class=\"scroll\"><table>\n<tr><th>service</th>\
         <th>build</th><th>wait</th><th>start</th><th>ready at</th></tr>\n"
            .to_owned();
    for one in &start.services {
        let _ = write!(out, "<tr><td>{}</td>", escaped(&one.service));
        for part in parts(start, one) {
            let text = part.filter(|_| !one.kept);
            let text = text.map(|(from, to)| measured(to.saturating_sub(from)));
            let _ = write!(out, "<td>{}</td>", text.unwrap_or_default());
        }
        let ready = one.ready_ms.map(measured).unwrap_or_else(|| "ran before".to_owned());
        let _ = writeln!(out, "<td>{ready}</td></tr>");
    }
    out.push_str("</table></div>\n</section>\n");
    out
}

/// The starts that are kept, the oldest first.
fn history(starts: &[Start]) -> String {
    if starts.len() < 2 {
        return String::new();
    }
    let longest = starts.iter().map(|start| start.ready_ms).max().unwrap_or(0).max(1);
    let mut out = format!(
        "<section>\n<h2>Last {} starts</h2>\n<p class=\"legend\">\
         <span><i style=\"background:var(--build)\"></i>with a build</span>\
         <span><i style=\"background:var(--start)\"></i>programs were up to date</span>\
         <span>longest: {}</span></p>\n<div class=\"history\">\n",
        starts.len(),
        measured(longest)
    );
    for (index, start) in starts.iter().enumerate() {
        let built = if start.build.is_some_and(|build| !build.fresh) { " built" } else { "" };
        let now = if index + 1 == starts.len() { " now" } else { "" };
        let _ = writeln!(
            out,
            "<div class=\"one{built}{now}\" title=\"{}: {}\" style=\"height:{:.1}%\"></div>",
            escaped(&start.at),
            measured(start.ready_ms),
            percent(start.ready_ms, longest)
        );
    }
    out.push_str("</div>\n</section>\n");
    out
}

/// The times of the axis: multiples of 1, 2 or 5 times a power of ten.
fn ticks(end: u64) -> Vec<u64> {
    let mut step = 1;
    let factors = [2, 5, 10];
    for round in 0.. {
        if end / step <= MOST_TICKS {
            break;
        }
        let power = 10_u64.pow(round / 3);
        step = power * factors[(round % 3) as usize];
    }
    (0..=end / step).map(|tick| tick * step).collect()
}

fn seconds(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => measured(ms),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use xtask_control::timings::Build;

    use super::*;

    fn service(name: &str, on: &[&str], times: Option<(u64, u64, u64)>) -> ServiceStart {
        ServiceStart {
            service: name.to_owned(),
            job: false,
            kept: times.is_none(),
            built_ms: times.map(|times| times.0),
            started_ms: times.map(|times| times.1),
            ready_ms: times.map(|times| times.2),
            depends_on: on.iter().map(|on| (*on).to_owned()).collect(),
        }
    }

    fn start() -> Start {
        let services = vec![
            service("api", &[], Some((2_000, 2_010, 2_500))),
            service("<web>", &["api"], Some((900, 2_501, 3_000))),
            service("db", &[], None),
        ];
        let build = Some(Build { from_ms: 50, to_ms: 2_200, fresh: false });
        let at = "2026-01-31T08:00:00Z".to_owned();
        Start { at, ready_ms: 3_000, build, services, ..Start::default() }.with_critical_path()
    }

    #[test]
    fn page_is_whole_and_loads_nothing() {
        let html = page("dev", &[start(), start()]).unwrap();
        for text in [
            "<li class=\"build\">build api 1.9 s</li>",
            "<li>&lt;web&gt; ready 499 ms</li>",
            "class=\"bar build critical\"",
            "ran before",
            "Last 2 starts",
            "prefers-color-scheme: dark",
        ] {
            assert!(html.contains(text), "`{text}`\n{html}");
        }
        for banned in ["<web>", "http:", "https:", "<script", "src=", "url(", "@import"] {
            assert!(!html.contains(banned), "`{banned}`");
        }
        assert_eq!(page("dev", &[]), None);
    }

    #[test]
    fn axis_has_few_round_times() {
        assert_eq!(ticks(3_000), [0, 500, 1_000, 1_500, 2_000, 2_500, 3_000]);
        assert_eq!(ticks(1), [0, 1]);
        for end in [7, 99, 1_234, 59_999, 10_000_000] {
            assert!((2..=9).contains(&ticks(end).len()), "{end}: {:?}", ticks(end));
        }
    }
}
