//! `logs`: what services printed, also of a stack that no longer runs.
//!
//! It reads the files of the stack's state, and the supervisor does not notice whether this
//! is slow. It is asked only where there is no file.

use clap::Args;
use regex::bytes::Regex;
use xtask_client::StackPaths;
use xtask_client::escapes::{Keep, strip};
use xtask_client::logs::{Line, More, Start};
use xtask_core::terms::duration;

use super::exit::Exit;
use super::follow::{Extent, Follower, services_with_logs};
use super::{Global, block_on, color, locate, print};
use crate::view::event::LogLine;
use crate::view::log::{Plain, Prefixes};
use crate::view::style::WARN;
use crate::view::words::command_for;

/// How many lines of each service are shown if nothing says which.
const LAST_LINES: usize = 200;

/// `logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Go on with what is printed from now on
    #[arg(short, long)]
    follow: bool,
    /// So many lines of each service's end [default: 200, or all with `--since` or `--grep`]
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<usize>,
    /// Lines from this time on: `5m` ago, or `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<String>,
    /// Lines that match this regular expression, colours apart
    #[arg(long, value_name = "REGEX")]
    grep: Option<Regex>,
    /// Each line as a JSON object: time, service, run, stream, text
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Byte by byte as it was printed, nothing added and nothing taken out
    #[arg(long)]
    raw: bool,
}

/// How lines are written.
enum Form {
    Prefixed(Prefixes),
    Json,
    Raw(Plain),
}

pub(crate) fn run(global: &Global, args: &LogsArgs) -> anyhow::Result<Exit> {
    let paths = locate::stack_paths(global)?;
    let known = services_with_logs(&paths)?;
    if let Some(exit) = explain_silence(&paths, args, &known)? {
        return Ok(exit);
    }
    let shown = if args.services.is_empty() { known } else { args.services.clone() };
    let mut form = match (args.json, args.raw) {
        (true, _) => Form::Json,
        (false, true) => Form::Raw(Plain::default()),
        (false, false) => {
            Form::Prefixed(Prefixes::of(color::kept(), shown.iter().map(String::as_str)))
        }
    };
    block_on(show(&paths, args, &mut form))
}

/// Says why there is no log of what is asked for; how to end, unless there is something to
/// show or to wait for.
fn explain_silence(
    paths: &StackPaths,
    args: &LogsArgs,
    known: &[String],
) -> anyhow::Result<Option<Exit>> {
    let unknown: Vec<_> = args.services.iter().filter(|name| !known.contains(name)).collect();
    if unknown.is_empty() && !known.is_empty() {
        return Ok(None);
    }
    let stack = paths.stack();
    let running = block_on(locate::status(paths))?;
    for name in unknown {
        let runs = running.as_ref().is_some_and(|running| running.service(name).is_some());
        if runs {
            print::tell(&format!("service `{name}` of stack `{stack}` has printed nothing yet"));
        } else if args.follow {
            let text = format!("for a log of `{name}`: stack `{stack}` has no such service now");
            print::say(WARN, "Waiting", &text);
        } else {
            let message = format!("service `{name}` of stack `{stack}` has no log");
            let hint = match known.is_empty() {
                true => format!("{} starts the stack", command_for(&stack, "up")),
                false => format!("there are logs of {}", known.join(", ")),
            };
            print::error_with_hint(&message, &hint);
            return Ok(Some(Exit::USAGE));
        }
    }
    Ok(match running {
        _ if args.follow || !known.is_empty() => None,
        None => Some(locate::nothing_runs(paths)),
        Some(_) => {
            if args.services.is_empty() {
                print::tell(&format!("stack `{stack}` has printed nothing yet"));
            }
            Some(Exit::DONE)
        }
    })
}

async fn show(paths: &StackPaths, args: &LogsArgs, form: &mut Form) -> anyhow::Result<Exit> {
    let since = args.since.as_deref();
    let wanted = |line: &Line<'_>| {
        since.is_none_or(|since| line.time >= since)
            && args
                .grep
                .as_ref()
                .is_none_or(|regex| regex.is_match(&strip(line.text, Keep::Nothing)))
    };
    let all = args.since.is_some() || args.grep.is_some();
    let start = match (args.lines, since) {
        (None, Some(since)) => Start::Since(since),
        (None, None) if all => Start::Beginning,
        (count, since) => {
            let count = count.unwrap_or(LAST_LINES);
            Start::Last { count, since, wanted: &wanted }
        }
    };
    let extent = if args.follow { Extent::Future } else { Extent::Present };
    let mut follower = Follower::new(paths, &args.services, &start, extent)?;
    let mut out = Vec::new();
    let mut take = |out: &mut Vec<u8>, service: &str, line: &Line<'_>| {
        if wanted(line) {
            form.append(out, service, line);
        }
    };
    loop {
        out.clear();
        let more = follower.rest(&mut |service, line| take(&mut out, service, line))?;
        print::bytes(&out)?;
        if more == More::No {
            break;
        }
    }
    if !args.follow {
        return Ok(Exit::DONE);
    }
    loop {
        out.clear();
        follower.next(&mut |service, line| take(&mut out, service, line)).await?;
        print::bytes(&out)?;
    }
}

impl Form {
    fn append(&mut self, out: &mut Vec<u8>, service: &str, line: &Line<'_>) {
        match self {
            Self::Prefixed(prefixes) => prefixes.append(out, service, line),
            Self::Raw(plain) => plain.append(out, service, line),
            Self::Json => LogLine::new(service, line).append(out),
        }
    }
}

/// A time as it stands in the files: RFC 3339 in UTC with milliseconds.
fn since(text: &str) -> Result<String, String> {
    let time = match (text.parse::<jiff::Timestamp>(), duration::parse(text)) {
        (Ok(time), _) => time,
        (Err(_), Ok(ago)) => {
            let ago = jiff::SignedDuration::try_from(ago).map_err(|error| error.to_string())?;
            jiff::Timestamp::now().checked_sub(ago).map_err(|error| error.to_string())?
        }
        (Err(_), Err(why)) => {
            return Err(format!(
                "as a duration such as `5m` it {why}, and it is no time such as \
                 `2026-01-31T08:00:00Z`"
            ));
        }
    };
    Ok(format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_so_long_ago() {
        assert_eq!(since("2026-01-31T09:00:00+01:00").unwrap(), "2026-01-31T08:00:00.000Z");
        let minute_ago = since("1m").unwrap();
        assert!(minute_ago < since("0s").unwrap() && minute_ago > since("2m").unwrap());
        for wrong in ["", "m", "5x", "5", "-5m", "yesterday"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
