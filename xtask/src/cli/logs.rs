//! `logs`: what services printed, also of a stack that no longer runs.
//!
//! It reads the files of the stack's state; the supervisor is not asked.

use clap::Args;
use xtask_client::StackPaths;
use xtask_client::logs::{Line, last_lines};

use super::exit::Exit;
use super::follow::Follower;
use super::{Global, block_on, locate, print};
use crate::view::log::Prefixes;

/// `logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The services [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Go on with what is printed from now on
    #[arg(short, long)]
    follow: bool,
    /// So many lines of each service's end
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 200)]
    lines: usize,
    /// Each line as a JSON object: service, time, run, stream, text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(global: &Global, args: &LogsArgs) -> anyhow::Result<Exit> {
    let paths = locate::stack_paths(global)?;
    let known = services_with_logs(&paths);
    let chosen = if args.services.is_empty() { known.clone() } else { args.services.clone() };
    if let Some(unknown) = chosen.iter().find(|name| !known.contains(name)).cloned()
        && !args.follow
    {
        let message = format!("service `{unknown}` of stack `{}` has no log", paths.stack());
        let hint = match known.is_empty() {
            true => "`cargo xtask up` starts the stack".to_string(),
            false => format!("there are logs of {}", known.join(", ")),
        };
        print::error_with_hint(&message, &hint);
        return Ok(Exit::USAGE);
    }
    if known.is_empty() && !args.follow {
        return Ok(locate::nothing_runs(&paths));
    }
    block_on(show(&paths, &chosen, args))
}

async fn show(paths: &StackPaths, chosen: &[String], args: &LogsArgs) -> anyhow::Result<Exit> {
    // It begins before the past is read: what is printed in between is shown twice
    // rather than never.
    let follower = match args.follow {
        true => Some(Follower::new(paths, &args.services)?),
        false => None,
    };
    let mut past = Vec::new();
    for service in chosen {
        for line in last_lines(&paths.log(service), None, args.lines)? {
            past.push((service, line));
        }
    }
    past.sort_by(|a, b| time(&a.1).cmp(time(&b.1)));
    let mut prefixes = Prefixes::of(chosen.iter().map(String::as_str));
    let mut text = String::new();
    for (service, line) in &past {
        if let Some(line) = Line::parse(line) {
            append(&mut text, &mut prefixes, args.json, service, &line)?;
        }
    }
    print::out(&text)?;
    let Some(mut follower) = follower else { return Ok(Exit::DONE) };
    loop {
        text.clear();
        follower
            .next(|service, line| append(&mut text, &mut prefixes, args.json, service, line))
            .await?;
        print::out(&text)?;
    }
}

fn append(
    out: &mut String,
    prefixes: &mut Prefixes,
    json: bool,
    service: &str,
    line: &Line<'_>,
) -> anyhow::Result<()> {
    if json {
        let event = crate::view::event::LogLine { service, line: *line };
        out.push_str(&serde_json::to_string(&event)?);
        out.push('\n');
    } else {
        prefixes.append(out, service, line);
    }
    Ok(())
}

fn time(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

fn services_with_logs(paths: &StackPaths) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(paths.logs()) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".log").map(str::to_string))
        .collect();
    names.sort();
    names
}
