//! Services that root runs as another account.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use xtask_test_support::stand::{phase, pid, stand};
use xtask_test_support::{Fixture, alive, eventually, signal};

const PATIENCE: Duration = Duration::from_secs(60);

/// An account that every system has, and its number.
const OTHER: (&str, u32) = ("daemon", 1);

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `own` runs as the account and writes into its folder; `base` runs as the caller.
fn pair() -> Fixture {
    let script = "id -un; id -gn; echo $HOME $USER; umask 077; echo x > ${stack.data}/own/file; \
                  cat ${stack.data}/secret; exec sleep 600";
    let fixture = stand(&[("base", "", "")]).workspace(&format!(
        "[workspace.metadata.services.own]\nuser = \"{}\"\ncommand = [\"/bin/sh\", \"-c\", \"{}\"]\n\
         ready = {{ command = [\"/bin/sh\", \"-c\", \"test $$(id -u) = 1\"] }}\n",
        OTHER.0,
        script.replace("$HOME $USER", "home $$HOME user $$USER"),
    ));
    let fixture = fixture.write();
    // A path starts with itself: the shared folder keeps its mode.
    let own = |folder: &&Path| folder.parent().is_some_and(|parent| parent.starts_with("/tmp"));
    for folder in fixture.root().ancestors().take_while(own) {
        fs::set_permissions(folder, Permissions::from_mode(0o711)).unwrap();
    }
    fixture
}

fn data(fixture: &Fixture) -> PathBuf {
    let plan = fixture.xtask(&["up", "--dry-run", "--json"]).ends_with(0).json();
    PathBuf::from(plan["data"].as_str().unwrap())
}

#[test]
fn service_of_another_account_owns_its_folder_alone() {
    if !is_root() {
        return xtask_client::harness::skipped("root");
    }
    let fixture = pair();
    let data = data(&fixture);
    fixture.xtask(&["up", "-d", "base"]).ends_with(0);
    fs::write(data.join("secret"), "hidden").unwrap();
    fs::set_permissions(data.join("secret"), Permissions::from_mode(0o600)).unwrap();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let process = fs::metadata(format!("/proc/{}", pid(&fixture, "own"))).unwrap();
    assert_eq!((process.uid(), process.gid()), (OTHER.1, OTHER.1));
    let status = fs::read_to_string(format!("/proc/{}/status", pid(&fixture, "own"))).unwrap();
    let groups = status.lines().find(|line| line.starts_with("Groups:")).unwrap();
    assert_eq!(groups.split_whitespace().collect::<Vec<_>>(), ["Groups:", "1"]);
    let file =
        eventually(PATIENCE, "a file of the account", || data.join("own/file").metadata().ok());
    assert_eq!(file.uid(), OTHER.1);
    let folder = data.join("own").metadata().unwrap();
    assert_eq!((folder.uid(), folder.mode() & 0o777), (OTHER.1, 0o700));
    let outer = data.metadata().unwrap();
    assert_eq!((outer.uid(), outer.gid(), outer.mode() & 0o777), (0, OTHER.1, 0o710));
    let logs = eventually(PATIENCE, "its output", || {
        let logs = fixture.xtask(&["logs", "own"]).stdout;
        logs.contains("secret").then_some(logs)
    });
    assert!(logs.contains("daemon") && logs.contains("user daemon"), "{logs}");
    assert!(logs.contains("Permission denied") && !logs.contains("hidden"), "{logs}");
    fixture.xtask(&["explain", "own"]).ends_with(0).says("account");
    // A later start leaves the way open.
    fixture.xtask(&["down"]).ends_with(0);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    assert_eq!(phase(&fixture, "own"), "ready");
    fixture.xtask(&["down", "--data"]).ends_with(0);
    assert!(!data.exists());
    fixture.is_quiet();
}

#[test]
fn service_of_another_account_dies_with_its_stack() {
    if !is_root() {
        return xtask_client::harness::skipped("root");
    }
    let fixture = pair();
    fixture.xtask(&["up", "-d"]).ends_with(0);
    let own = pid(&fixture, "own");
    let (supervisor, guardian) = (fixture.supervisor(), fixture.guardian());
    signal(guardian, libc::SIGKILL);
    signal(supervisor, libc::SIGKILL);
    eventually(PATIENCE, "its end", || (!alive(own)).then_some(()));
}

#[test]
fn unusable_account_is_refused_with_a_way_out() {
    let service = |user: &str| stand(&[("base", "", &format!("user = \"{user}\"\n"))]).write();
    let fixture = service("no-such-account");
    for command in ["check", "up"] {
        let ran = fixture.xtask(&[command]).ends_with(2);
        ran.says("this machine has no account `no-such-account`").says("useradd");
    }
    let own =
        String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout);
    let fixture = service(own.unwrap().trim());
    fixture.xtask(&["check"]).ends_with(0);
    fixture.xtask(&["up", "-d"]).ends_with(0);
    fixture.xtask(&["down"]).ends_with(0);
    if !is_root() {
        let fixture = service("root");
        for command in ["check", "up"] {
            fixture.xtask(&[command]).ends_with(2).says("only root can run").says("as root");
        }
        return;
    }
    // A folder on the way is closed to the account.
    let fixture = pair();
    fs::set_permissions(fixture.state().parent().unwrap(), Permissions::from_mode(0o700)).unwrap();
    let up = fixture.xtask(&["up", "-d"]).ends_with(4);
    up.says("account `daemon` cannot enter").says("XTASK_STATE_DIR");
}
