//! What a run printed that explains its end, and the dependency that its service may miss.

use std::fmt::Write as _;
use xtask_core::sorted::SortedSet;

use xtask_core::plan::Plan;
use xtask_core::terms::Name;
use xtask_logs::Record;
use xtask_logs::escapes::{self, Keep};

use super::log::excerpt;
use super::style::{BOLD, RESET};

/// The ends of the variables with which a service receives an address.
const ADDRESS: [&str; 3] = ["_URL", "_HOST", "_PORT"];

/// The closing lines of a run, and an edit that may mend its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cause {
    /// Records of its log.
    pub(crate) records: Vec<String>,
    pub(crate) hint: Option<String>,
}

impl Cause {
    /// `known` are all services of the workspace, also those outside the plan.
    pub(crate) fn of(plan: &Plan, known: &[Name], service: &Name, records: Vec<String>) -> Self {
        let hint = undeclared_dependency(plan, known, service, &texts(&records));
        Self { records, hint }
    }

    /// The lines without escapes.
    pub(crate) fn lines(&self) -> Vec<String> {
        texts(&self.records)
    }

    /// The lines for a message, indented, and the hint.
    pub(crate) fn text(&self) -> String {
        let mut out = excerpt(&self.records);
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "  {BOLD}hint:{RESET} {hint}");
        }
        out
    }
}

fn texts(records: &[String]) -> Vec<String> {
    let text = |record: &String| {
        let text = Record::parse(record.as_bytes()).map_or(record.as_bytes(), |line| line.text);
        let mut cleaned = Vec::new();
        escapes::append(&mut cleaned, text, Keep::Nothing);
        String::from_utf8_lossy(&cleaned).into_owned()
    };
    records.iter().map(text).collect()
}

/// The edit that declares the service whose address the lines name as a variable, if `service`
/// declares no edge to it.
fn undeclared_dependency(
    plan: &Plan,
    known: &[Name],
    service: &Name,
    lines: &[String],
) -> Option<String> {
    let planned = plan.service(service)?;
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = lines.iter().flat_map(|line| line.split(|c| !is_part(c)));
    let declared: SortedSet<&Name> = planned.edges().chain([service]).collect();
    words
        .filter(|word| ADDRESS.iter().any(|end| word.ends_with(end)))
        .filter(|word| !planned.env.contains_key(*word))
        .find_map(|word| {
            let prefixes = known.iter().map(|name| (name, format!("{}_", name.variable_prefix())));
            let named = prefixes.filter(|(_, prefix)| word.starts_with(prefix));
            // `DB_REPLICA_URL` is about `db-replica`, not about `db`.
            let (on, _) = named.max_by_key(|(_, prefix)| prefix.len())?;
            (!declared.contains(on)).then_some((word, on))
        })
        .map(|(word, on)| {
            // An edge that waits must not close a cycle.
            let key = if reaches(plan, on, service) { "uses" } else { "depends-on" };
            let place = &planned.declared;
            format!(
                "`{word}` is the address of `{on}`, which `{service}` does not declare: \
                 add `{key} = [\"{on}\"]` at {place}"
            )
        })
}

/// Whether a service waits for another, directly or not.
fn reaches(plan: &Plan, from: &Name, to: &Name) -> bool {
    let (mut open, mut seen) = (vec![from], SortedSet::new());
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            let edges = plan.service(name).into_iter().flat_map(|service| &service.depends_on);
            open.extend(edges.map(|edge| &edge.on));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::plan;

    fn hint(plan: &Plan, known: &[&str], service: &str, line: &str) -> Option<String> {
        let known: Vec<Name> = known.iter().map(|name| (*name).into()).collect();
        Cause::of(plan, &known, &service.into(), vec![format!("t 1 e {line}")]).hint
    }

    #[test]
    fn unset_address_proposes_the_dependency() {
        let plan = plan(&[("till", &[])]);
        let found = hint(&plan, &["stock", "till"], "till", "error: `STOCK_URL` is not set");
        assert_eq!(
            found.unwrap(),
            "`STOCK_URL` is the address of `stock`, which `till` does not declare: \
             add `depends-on = [\"stock\"]` at Cargo.toml:1"
        );
        for other in ["`HOME_URL` is not set", "`STOCK_FILE` is not set", "no `TILL_URL`"] {
            assert_eq!(hint(&plan, &["stock", "till"], "till", other), None, "{other}");
        }
    }

    #[test]
    fn longest_name_of_a_service_is_meant() {
        let plan = plan(&[("web", &[])]);
        let found = hint(&plan, &["db", "db-replica", "web"], "web", "DB_REPLICA_PORT missing");
        assert!(found.unwrap().contains("`depends-on = [\"db-replica\"]`"));
    }

    #[test]
    fn declared_dependency_is_not_proposed() {
        let plan = plan(&[("stock", &[]), ("till", &["stock"])]);
        assert_eq!(hint(&plan, &["stock", "till"], "till", "bad `STOCK_URL`"), None);
    }

    #[test]
    fn dependency_that_closes_a_cycle_is_proposed_as_use() {
        let plan = plan(&[("till", &[]), ("stock", &["till"])]);
        let found = hint(&plan, &["stock", "till"], "till", "STOCK_HOST: not set");
        assert!(found.unwrap().contains("add `uses = [\"stock\"]`"));
    }
}
