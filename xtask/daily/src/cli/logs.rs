//! `logs`: the output of services, also of a stack that is down.
//!
//! It reads the log files, so that a slow reader never delays the supervisor. It calls the
//! supervisor only if a service has no file.

use std::num::ParseIntError;
use std::pin::pin;
use std::sync::Arc;

use clap_builder::{ArgMatches, Command};
use regex_lite::Regex;
use thiserror::Error;
use xtask_control::StackPaths;
use xtask_control::protocol::Ask;
use xtask_core::terms::duration::{self, BadDuration};
use xtask_logs::escapes::{Keep, strip};
use xtask_logs::{More, Record, Start, Wanted};

use super::arguments::{Arguments, all, flag, option, words};
use super::error::{self, meant_or};
use super::exit::Exit;
use super::{Global, block_on, color, place, print, stack};
use crate::session::follow::{Extent, Follower, services_with_logs};
use crate::system::timestamp::Timestamp;
use crate::view::event::LogLine;
use crate::view::log::{Plain, Prefixes};
use crate::view::style::WARN;
use crate::view::words::command_for;

/// How many lines of each service are shown by default.
const LAST_LINES: usize = 200;

pub(crate) struct LogsArgs {
    services: Vec<String>,
    follow: bool,
    lines: Option<usize>,
    since: Option<String>,
    grep: Option<Regex>,
    json: bool,
    raw: bool,
}

impl Arguments for LogsArgs {
    fn add(command: Command) -> Command {
        command.args([
            words("services", "SERVICE", "Show these services [default: all]"),
            flag("follow", "Keep printing new lines").short('f').short_alias('w').alias("watch"),
            option(
                "lines",
                "LINES",
                "Show the last lines of each service [default: 200, or all with `--since` or \
                 `--grep`]",
            )
            .short('n')
            .alias("tail")
            .value_parser(lines),
            option(
                "since",
                "TIME",
                "Show lines since this time: `5m` ago, or `2026-01-31T08:00:00Z`",
            )
            .value_parser(since),
            option(
                "grep",
                "REGEX",
                "Show lines that match this regular expression; it does not see colours",
            )
            .value_parser(Regex::new),
            flag("json", "Print each line as a JSON object: time, service, run, stream, text")
                .conflicts_with("raw"),
            flag("raw", "Print the bytes of the services unchanged"),
        ])
    }

    fn read(matches: &mut ArgMatches) -> Self {
        Self {
            services: all(matches, "services"),
            follow: matches.get_flag("follow"),
            lines: matches.remove_one("lines"),
            since: matches.remove_one("since"),
            grep: matches.remove_one("grep"),
            json: matches.get_flag("json"),
            raw: matches.get_flag("raw"),
        }
    }
}

enum Form {
    Prefixed(Prefixes),
    Json,
    Raw(Plain),
}

pub(crate) fn run(global: &Global, args: &LogsArgs) -> anyhow::Result<Exit> {
    let paths = place::find_stack(global)?.paths;
    let known = services_with_logs(&paths)?;
    if let Some(exit) = report_missing(&paths, args, &known)? {
        return Ok(exit);
    }
    let shown = if args.services.is_empty() { known } else { args.services.clone() };
    let mut form = match (args.json, args.raw) {
        (true, _) => Form::Json,
        (false, true) => Form::Raw(Plain::default()),
        (false, false) => {
            let prefixes = Prefixes::of(color::kept(), shown.iter().map(String::as_str));
            Form::Prefixed(prefixes.shortening_times(print::is_terminal()))
        }
    };
    block_on(show(&paths, args, &mut form))
}

/// Reports why services have no log. Returns the exit code if there is nothing to show and nothing
/// to wait for.
fn report_missing(
    paths: &StackPaths,
    args: &LogsArgs,
    known: &[String],
) -> anyhow::Result<Option<Exit>> {
    let unknown: Vec<_> = args.services.iter().filter(|name| !known.contains(name)).collect();
    if unknown.is_empty() && !known.is_empty() {
        return Ok(None);
    }
    let stack = paths.stack();
    let running = block_on(stack::status(paths, Ask::No))?;
    for name in unknown {
        let runs = running.as_ref().is_some_and(|running| running.service(name).is_some());
        if runs {
            print::line(&format!("service `{name}` of stack `{stack}` has no output yet"));
        } else if args.follow {
            let text = format!("for a log of `{name}`: stack `{stack}` has no such service");
            print::progress(WARN, "Waiting", &text);
            let services = running.iter().flat_map(|running| &running.services);
            let mut names: Vec<_> = services.map(|service| service.name.to_string()).collect();
            names.extend(
                known.iter().filter(|known| !names.contains(known)).cloned().collect::<Vec<_>>(),
            );
            let other = || match names.is_empty() {
                true => format!("{} starts the stack", command_for(&stack, "up")),
                false => format!("its services are {}", names.join(", ")),
            };
            print::hint(&meant_or(name, &names, other));
        } else {
            let (service, known) = (name.clone(), known.to_vec());
            return Err(error::Error::NoLog { service, stack, known }.into());
        }
    }
    Ok(match running {
        _ if args.follow || !known.is_empty() => None,
        None => return Err(stack::nothing_runs(paths).into()),
        Some(_) => {
            if args.services.is_empty() {
                print::line(&format!("stack `{stack}` has no output yet"));
            }
            Some(Exit::DONE)
        }
    })
}

async fn show(paths: &StackPaths, args: &LogsArgs, form: &mut Form) -> anyhow::Result<Exit> {
    let (since, grep) = (args.since.clone(), args.grep.clone());
    let wanted: Wanted = Arc::new(move |line| {
        since.as_deref().is_none_or(|since| line.time >= since)
            && grep.as_ref().is_none_or(|regex| {
                let text = strip(line.text, Keep::Nothing);
                regex.is_match(&String::from_utf8_lossy(&text))
            })
    });
    let since = args.since.as_deref();
    let all = args.since.is_some() || args.grep.is_some();
    let start = match (args.lines, since) {
        (None, Some(since)) => Start::Since(since),
        (None, None) if all => Start::Beginning,
        (count, since) => {
            let count = count.unwrap_or(LAST_LINES);
            Start::Last { count, since, wanted: &*wanted }
        }
    };
    let extent = if args.follow { Extent::Future } else { Extent::Present };
    let only = Arc::clone(&wanted);
    let mut follower = Follower::only(only, paths, &args.services, &start, extent)?;
    let mut out = Vec::new();
    let mut shown = false;
    loop {
        out.clear();
        let more = follower.rest(&mut |service, line| form.append(&mut out, service, line))?;
        shown |= !out.is_empty();
        print::bytes(&out)?;
        if more == More::No {
            break;
        }
    }
    if !args.follow {
        if let Some(text) = no_line(paths, args).filter(|_| !shown) {
            print::line(&text);
        }
        return Ok(Exit::DONE);
    }
    let mut gone = pin!(print::reader_gone());
    loop {
        out.clear();
        let mut take = |service: &str, line: &Record<'_>| form.append(&mut out, service, line);
        tokio::select! {
            read = follower.next(&mut take) => read?,
            () = &mut gone => return Ok(Exit::DONE),
        }
        print::bytes(&out)?;
    }
}

/// The message that no line passed the filters; none if there are no filters.
fn no_line(paths: &StackPaths, args: &LogsArgs) -> Option<String> {
    let filters = [
        args.grep.as_ref().map(|regex| format!("matches `{regex}`")),
        args.since.as_ref().map(|since| format!("is from {since} or later")),
    ];
    let filters: Vec<String> = filters.into_iter().flatten().collect();
    if filters.is_empty() || args.lines == Some(0) {
        return None;
    }
    let of = match args.services.as_slice() {
        [] => format!("stack `{}`", paths.stack()),
        names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    Some(format!("no line of {of} {}", filters.join(" and ")))
}

impl Form {
    fn append(&mut self, out: &mut Vec<u8>, service: &str, line: &Record<'_>) {
        match self {
            Self::Prefixed(prefixes) => prefixes.append(out, service, line),
            Self::Raw(plain) => plain.append(out, service, line),
            Self::Json => LogLine::new(service, line).append(out),
        }
    }
}

/// A value of `--since` that is no time.
#[derive(Debug, Error)]
#[error("neither a duration such as `5m` ({0}) nor a time such as `2026-01-31T08:00:00Z`")]
struct BadTime(BadDuration);

/// A number of lines; `all` is a word of other tools.
fn lines(text: &str) -> Result<usize, ParseIntError> {
    if text == "all" { Ok(usize::MAX) } else { text.parse() }
}

/// A time in the format of the log files: RFC 3339 in UTC with milliseconds.
fn since(text: &str) -> Result<String, BadTime> {
    if let Some(time) = Timestamp::parse(text) {
        return Ok(time.to_string());
    }
    let ago = duration::parse(text).map_err(BadTime)?;
    Ok(Timestamp::now().before(ago).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_accepts_times_and_durations() {
        assert_eq!(since("2026-01-31T09:00:00+01:00").unwrap(), "2026-01-31T08:00:00.000Z");
        let minute_ago = since("1m").unwrap();
        assert!(minute_ago < since("0s").unwrap() && minute_ago > since("2m").unwrap());
        for wrong in ["", "m", "5x", "5", "-5m", "yesterday"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
