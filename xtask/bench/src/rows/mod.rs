//! The groups of rows.

mod again;
mod clone;
mod edit;
mod idle;
mod kill;
mod logs;
mod peers;
mod scale;
mod start;
mod watch;

use crate::Bench;
use crate::row::Row;

/// Rows that are measured together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Whether it takes minutes, and is measured only if it is named.
    pub(crate) is_long: bool,
    pub(crate) measure: fn(&Bench) -> anyhow::Result<Vec<Row>>,
}

const fn group(
    name: &'static str,
    what: &'static str,
    measure: fn(&Bench) -> anyhow::Result<Vec<Row>>,
) -> Group {
    Group { name, what, is_long: false, measure }
}

pub(crate) const GROUPS: &[Group] = &[
    group("chain", "start of a chain of 50 services that notify", start::chain),
    group("wide", "start and stop of 100 services, 99 of them after the first", start::wide),
    group("layered", "start of 10 layers of 20 services", start::layered),
    group("ports", "the same three graphs, with polled ports", start::ports),
    group("sockets", "a chain of 50 and 100 services with inherited sockets", start::sockets),
    group("thousand", "start and stop of 1,000 services", start::thousand),
    group("scale", "status and logs of 1,000 services, and what each costs", scale::measure),
    group("idle", "memory and processor time of an idle stack", idle::measure),
    group("logs", "a million log lines", logs::measure),
    group("kill", "services that survive `kill -9` of the supervisor", kill::measure),
    group("again", "`up -d` when all runs already", again::measure),
    group("edit", "from an edit to an answer of the new code", edit::measure),
    Group {
        name: "watch",
        what: "100 edits under `up --watch`, and the requests meanwhile",
        is_long: true,
        measure: watch::measure,
    },
    Group {
        name: "clone",
        what: "from a clean clone to ready",
        is_long: true,
        measure: clone::measure,
    },
];
