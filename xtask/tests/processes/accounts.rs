//! What another account of the machine leaves in folders that both can write to.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

use xtask_test_support::Fixture;
use xtask_test_support::stand::{SERVE, stand};

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        xtask_client::harness::skipped("root");
    }
    is_root
}

/// Makes the folder of all state one that other users can write to, as `/tmp` is.
fn open_state(fixture: &Fixture) {
    fs::set_permissions(fixture.state(), Permissions::from_mode(0o1777)).unwrap();
}

#[test]
fn state_behind_a_link_of_another_user_stays() {
    if !is_root() {
        return;
    }
    let fixture = stand(&[("plain", SERVE, "port = 0\n")]).write();
    open_state(&fixture);
    let place = fixture.state().join(xtask_client::workspace_name(&fixture.root()));
    let precious = fixture.root().join("elsewhere");
    fs::create_dir_all(precious.join("dev/data")).unwrap();
    fs::write(precious.join("dev/data/kept"), "").unwrap();
    fs::write(precious.join("dev/lock"), "").unwrap();
    symlink(&precious, &place).unwrap();
    lchown(&place, Some(65534), Some(65534)).unwrap();
    for args in [&["down", "--data"][..], &["up", "-d"], &["status"], &["logs"]] {
        fixture.xtask(args).ends_with(2).says("another user");
    }
    fixture.xtask(&["down", "--all"]).ends_with(0).says("no stack");
    assert!(precious.join("dev/data/kept").exists());
    fs::remove_file(place).unwrap();

    // The link may also be that of one stack.
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    let stack = fixture.state().join(xtask_client::workspace_name(&fixture.root())).join("dev");
    fs::remove_dir_all(&stack).unwrap();
    symlink(precious.join("dev"), &stack).unwrap();
    fixture.xtask(&["down", "--data"]).ends_with(2);
    assert!(precious.join("dev/data/kept").exists());
    fs::remove_file(stack).unwrap();
}

#[test]
fn links_to_own_folders_are_no_workspaces() {
    let (fixture, other) = (stand(&[("plain", SERVE, "port = 0\n")]), Fixture::new("other"));
    let (fixture, other) = (fixture.write(), other.write());
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let own = fixture.state().join(xtask_client::workspace_name(&fixture.root()));
    symlink(own, other.state().join("planted")).unwrap();
    other.xtask(&["status", "--all"]).ends_with(7).says("no stack of any workspace");
    other.xtask(&["down", "--all"]).ends_with(0).says("no stack");
    assert_eq!(fixture.status()["state"], "ready");
    fixture.xtask(&["down"]).ends_with(0);
}
