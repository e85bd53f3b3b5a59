//! Services that run as another account.

use xtask_core::stack::Effect;
use xtask_core::stack::effect::RunAs;
use xtask_core::terms::Placement;

use crate::scenario::Scenario;
use crate::support::{With, service};

/// The account of the last start.
fn user(s: &Scenario) -> Option<RunAs> {
    let started = s.all.iter().rev().find_map(|effect| match effect {
        Effect::Spawn { command, .. } => Some(command.user.clone()),
        _ => None,
    });
    started.flatten()
}

#[test]
fn account_owns_a_folder_only_with_data() {
    let mut db = service("db");
    db.user = Some("postgres".to_owned());
    let account = "postgres".to_owned();
    let s = Scenario::of([db.clone()]);
    assert_eq!(user(&s), Some(RunAs { account: account.clone(), folder: None }));
    let s = Scenario::of([db.clone().arg("-D").arg("/data/db")]);
    let folder = Some("/data/db".to_owned());
    assert_eq!(user(&s), Some(RunAs { account, folder }));
    db.placement = Placement::Container;
    assert_eq!(user(&Scenario::of([db])), None, "the image decides");
}

#[test]
fn other_account_replaces_the_run() {
    let mut db = service("db");
    let mut s = Scenario::up([db.clone()]);
    db.user = Some("postgres".to_owned());
    s.apply([db]);
    assert_eq!(s.signalled(), ["db"]);
}
