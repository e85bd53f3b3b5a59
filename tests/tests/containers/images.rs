//! The application in containers: the content of its images, the rights of its containers, and its
//! data when the placement changes.
//!
//! `test-e2e --containers` runs all other tests in containers. The images are kept, like those of
//! `up`.

use std::path::Path;
use std::process::{Command, Stdio};

use e2e::{Application, unique};
use serde_json::{Value, json};
use xtask_test_support::{ask, engine};

/// The services that cargo builds and that can run in containers.
const BUILT: [&str; 5] = ["sample-data", "signing-key", "todo", "users", "web"];

/// The limit for the size of an image.
const LIMIT_BYTES: u64 = 25_000_000;

/// The names of shells.
const SHELLS: [&str; 14] = [
    "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "nu", "rbash", "sh", "tcsh",
    "toybox", "zsh",
];

/// A container that is created for inspection and never started; removed on drop.
struct CreatedContainer<'a> {
    engine: &'a Path,
    id: String,
}

impl<'a> CreatedContainer<'a> {
    fn of(engine: &'a Path, image: &str) -> Self {
        let id = ask(engine, &["create", "--network=none", "--pull=never", image]);
        Self { engine, id }
    }

    /// The paths of all its files.
    fn paths(&self) -> Vec<String> {
        let mut export = Command::new(self.engine)
            .args(["export", &self.id])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let list = Command::new("tar").arg("-t").stdin(export.stdout.take().unwrap()).output();
        assert!(export.wait().unwrap().success());
        let list = list.unwrap();
        assert!(list.status.success(), "{list:?}");
        String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for CreatedContainer<'_> {
    fn drop(&mut self) {
        Command::new(self.engine).args(["rm", "--force", &self.id]).output().ok();
    }
}

/// A field of `/proc/PID/status`, such as `CapEff`.
fn process_status(pid: u64, field: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
    lines.find(|(name, _)| *name == field).unwrap().1.to_owned()
}

#[test]
fn images_are_small_and_have_no_shell() {
    let Some(engine) = engine() else { return };
    let application = Application::new("images");
    let images = application.done(&["image", "--json"]);
    let images: Vec<Value> = serde_json::from_str(&images).unwrap();
    let services: Vec<_> = images.iter().map(|image| image["service"].clone()).collect();
    assert_eq!(services, BUILT);
    for (image, service) in images.iter().zip(BUILT) {
        let name = image["image"].as_str().unwrap();
        let size = ask(engine, &["image", "inspect", "--format", "{{.Size}}", name]);
        assert!(size.parse::<u64>().unwrap() < LIMIT_BYTES, "{name} has {size} bytes");
        let paths = CreatedContainer::of(engine, name).paths();
        assert!(paths.iter().any(|path| path.ends_with(&format!("app/{service}"))), "{paths:?}");
        let shells = paths.iter().filter(|path| {
            let last = path.rsplit('/').next().unwrap_or_default();
            SHELLS.contains(&last)
        });
        assert_eq!(shells.collect::<Vec<_>>(), Vec::<&String>::new(), "in {name}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn containers_are_read_only_without_capabilities() {
    let Some(engine) = engine() else { return };
    let application = Application::new("rights");
    application.done(&["up", "-d", "--containers", "--ports", "auto"]);
    let ours = format!("label=xtask.stack={}", application.paths().short_name());
    let ids = ask(engine, &["ps", "--quiet", "--no-trunc", "--filter", &ours]);
    let mut names = Vec::new();
    for id in ids.lines() {
        let about = ask(engine, &["container", "inspect", id]);
        let about = &serde_json::from_str::<Value>(&about).unwrap()[0];
        let name = about["Config"]["Labels"]["xtask.service"].as_str().unwrap();
        names.push(name.to_owned());
        let host = &about["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{name}");
        assert_eq!(host["Privileged"], false, "{name}");
        let user = about["Config"]["User"].as_str().unwrap();
        assert!(!["", "0", "root"].contains(&user.split(':').next().unwrap()), "{name}: {user}");

        // The rights of the running process.
        let pid = application.service(name)["pid"].as_u64().unwrap();
        let users = process_status(pid, "Uid");
        assert!(users.split_whitespace().all(|user| user != "0"), "{name}: {users}");
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let set = process_status(pid, capabilities);
            assert_eq!(u64::from_str_radix(&set, 16), Ok(0), "{name}: {capabilities}");
        }
        assert_eq!(process_status(pid, "NoNewPrivs"), "1", "{name}");
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
        let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
        let options = root.split(' ').nth(3).unwrap();
        assert!(options.split(',').any(|option| option == "ro"), "{name}: {root}");
    }
    names.sort_unstable();
    assert_eq!(names, ["todo", "users", "web"], "the containers of jobs are gone");
}

#[tokio::test]
async fn data_survives_changes_of_placement() {
    if engine().is_none() {
        return;
    }
    let application = Application::new("moves");
    let user = unique("ida");
    let mut written = json!({});
    for (index, place) in [None, Some("--containers"), None].into_iter().enumerate() {
        let up = ["up", "-d", "--ports", "auto", "todo", "users"];
        application.done(&up.into_iter().chain(place).collect::<Vec<_>>());
        let expected = if place.is_some() { "container" } else { "process" };
        for service in ["todo", "users"] {
            assert_eq!(application.service(service)["placement"], expected);
        }
        if index == 0 {
            let person = json!({"username": user, "name": "Ida"});
            application.api("users").post("/users", &person).await.expect(201);
        } else {
            assert_eq!(application.lists(&user).await, written, "after the move to a {expected}");
        }
        let (name, items) = (format!("list {index}"), json!([format!("from a {expected}")]));
        let list = json!({"name": name, "items": items});
        application.api("todo").post(&format!("/lists/{user}"), &list).await.expect(201);
        written[&name] = items;
        assert_eq!(application.lists(&user).await, written);
    }
}
