//! Parts of a plan: a service alone with what it declares, and with one dependency absent.

#![allow(clippy::unwrap_used)]

#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use support::{With, plan, service};
use xtask_core::plan::{Inseparable, Piece, Plan, Probe, Program};
use xtask_core::terms::{Name, Restart};

const LIMIT: Duration = Duration::from_secs(5);

/// `web` waits for `api` and `db`, `api` for `db`; `mail` has nothing to do with them.
fn shop() -> Plan {
    let api = service("api").port(None).needs("db").calls("DB_PORT", "db");
    let web = service("web").port(None).probe(Probe::Tcp { port: 0 });
    let web = web.needs("api").needs("db").calls("DB_PORT", "db").calls("API_PORT", "api");
    plan([service("db").port(Some(5432)), api, service("mail").port(None), web.using("mail")])
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.services.iter().map(|service| &*service.name).collect()
}

fn without(plan: &Plan, of: &str, dependency: &str) -> Result<Plan, Inseparable> {
    plan.alone_without(&of.into(), &dependency.into(), LIMIT, |_| 9)
}

#[test]
fn service_alone_has_all_its_dependencies() {
    let shop = shop();
    assert_eq!(names(&shop.alone(&"api".into())), ["db", "api"]);
    assert_eq!(names(&shop.alone(&"web".into())), ["db", "api", "mail", "web"]);
    assert_eq!(shop.alone(&"api".into()).wanted, [Name::from("api")]);
}

#[test]
fn absent_dependency_has_an_address_without_listener() {
    let part = without(&shop(), "web", "api").unwrap();
    assert_eq!(names(&part), ["api-absent", "db", "mail", "web"]);
    let absent = part.service("api-absent").unwrap();
    assert_eq!((&absent.program, absent.ports[0].number), (&Program::External, Some(9)));
    assert_eq!((absent.probes.len(), absent.depends_on.len()), (0, 0));
    let web = part.service("web").unwrap();
    let port = Piece::Port { service: "api-absent".into(), port: 0 };
    assert_eq!(web.env["API_PORT"].value.pieces, [port]);
    assert_eq!(web.depends_on.iter().map(|edge| &*edge.on).collect::<Vec<_>>(), ["db"]);
    assert_eq!((web.restart, web.start_timeout), (Restart::No, LIMIT));
}

#[test]
fn what_others_need_too_stays_for_them() {
    let part = without(&shop(), "web", "db").unwrap();
    assert_eq!(names(&part), ["db-absent", "db", "api", "mail", "web"]);
    let named = |of: &str| part.service(of).unwrap().env["DB_PORT"].value.pieces.clone();
    assert_eq!(named("web"), [Piece::Port { service: "db-absent".into(), port: 0 }]);
    assert_eq!(named("api"), [Piece::Port { service: "db".into(), port: 0 }]);
}

#[test]
fn what_would_show_nothing_is_not_tried() {
    assert_eq!(without(&shop(), "api", "db"), Err(Inseparable::ReadyAtOnce));
    let job = || service("migrate").job();
    let probed = |name: &str| service(name).port(None).probe(Probe::Tcp { port: 0 });
    let shared = [job(), probed("a").needs("migrate"), probed("b").needs("a").needs("migrate")];
    assert_eq!(without(&plan(shared), "b", "migrate"), Err(Inseparable::Shared));
    let own = [job(), probed("a"), probed("b").needs("a").needs("migrate")];
    assert_eq!(names(&without(&plan(own), "b", "migrate").unwrap()), ["migrate-absent", "a", "b"]);
}

#[test]
fn rings_of_a_part_contain_only_its_services() {
    let a = service("a").port(None).probe(Probe::Tcp { port: 0 }).needs("b");
    let pair = plan([service("b").port(None).using("a"), a]);
    assert_eq!(pair.alone(&"a".into()).rings(), [["b", "a"].map(Name::from).each_ref()]);
    let part = without(&pair, "a", "b").unwrap();
    assert_eq!(names(&part), ["b-absent", "a"]);
    assert_eq!(part.rings(), [[]; 0] as [[&Name; 0]; 0]);
}
