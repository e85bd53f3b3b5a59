//! The application in Docker Swarm, as `export swarm` writes it: three copies of `todo` on one
//! PostgreSQL server, one copy killed and all of them replaced while it is written to.
//!
//! Swarm's own balancing of published ports is not measured: it needs IPVS, which not every
//! kernel has. Each copy gets a port of its own, names stand for all addresses (`dnsrr`), and
//! the writers go from one healthy copy to the next, as a balancer before a swarm does. What a
//! copy did not do is told by its cause, and by how long after the copy's signal and end.

mod engine;
mod load;

use std::path::Path;

use e2e::harness::{cargo, workspace_of};
use e2e::{Api, postgres_image};
use serde_json::{Value, json};

use self::engine::{Swarm, database_of};
use self::load::{Cause, Load, WRITERS};

/// Copies of `todo`, as the overlay `swarm` of its metadata says.
const COPIES: usize = 3;

/// Who owns the databases.
const ROLE: &str = "app";

/// The job that imports the sample, by way of `users` and `todo`.
const JOB: &str = "sample-data";

/// Writes that must be answered in each part of the test.
const WRITES: usize = 150;

/// Merged by the engine into what was exported.
fn additions(database: &str, root: &Path) -> String {
    let service = |name: &str, port: u16| {
        format!(
            "  {name}:\n    deploy: {{ endpoint_mode: dnsrr }}\n    \
             ports: [{{ target: {port}, mode: host }}]\n"
        )
    };
    let databases = root.join("services/postgres-cluster/image");
    format!(
        "version: \"3.8\"\nservices:\n  postgres:\n    image: {database}\n    \
         deploy: {{ endpoint_mode: dnsrr }}\n    \
         environment: {{ POSTGRES_USER: {ROLE}, POSTGRES_HOST_AUTH_METHOD: trust }}\n    \
         volumes: [\"{}:/docker-entrypoint-initdb.d:ro\"]\n{}{}",
        databases.display(),
        service("todo", 5001),
        service("users", 5000)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_copies_lose_no_acknowledged_write_when_one_is_killed_and_all_are_replaced() {
    let Some(mut swarm) = Swarm::begin() else { return };
    let folder = tempfile::tempdir().unwrap();
    let database = database_of(swarm.name());
    if !postgres_image::make(Path::new("docker"), &database) {
        return;
    }
    swarm.will_remove(&database);
    let root = workspace_of(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let out = folder.path().join("out");
    export(&mut swarm, &root, &out);
    std::fs::write(out.join("additions.yaml"), additions(&database, &root)).unwrap();
    swarm.deploy(&[out.join("stack.yaml"), out.join("additions.yaml")]);
    swarm.await_healthy("todo", COPIES).await;
    swarm.await_healthy("users", 1).await;

    swarm.await_complete(JOB).await;

    let users = Api::new(&format!("http://{}:{}", swarm.address(), swarm.healthy("users")[0].port));
    users.post("/users", &json!({"username": load::USER, "name": "Swarm"})).await.expect(201);
    let load = Load::begin(&swarm);
    load.await_answered(WRITES).await;
    let steady = load.part("steady");

    let victim = swarm.healthy("todo").remove(0);
    swarm.ask(&["kill", &victim.id]);
    swarm.await_replaced("todo", &[victim], COPIES).await;
    load.await_answered(WRITES).await;
    let killed = load.part("one copy killed");

    let old = swarm.healthy("todo");
    let service = format!("{}_todo", swarm.name());
    swarm.ask(&["service", "update", "--detach", "--env-add", "X=1", &service]);
    swarm.await_replaced("todo", &old, COPIES).await;
    load.await_answered(WRITES).await;
    let updated = load.part("rolling update");

    let acknowledged = load.end().await;
    // By way of `users`, which finds the copies by name.
    users.get("/users/luckas").await.expect(200);
    let kept = users.get(&format!("/users/{}/lists", load::USER)).await.expect(200).json();
    let lost: Vec<_> = acknowledged.iter().filter(|name| kept.get(name).is_none()).collect();
    println!("{} writes acknowledged, {} lost", acknowledged.len(), lost.len());
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(steady.failures() + updated.failures(), 0, "{steady:?}, {updated:?}");
    // Whoever waits for an answer of the copy that is killed gets none, and nobody else fails.
    assert!(killed.failures() <= WRITERS, "{killed:?}");
    assert!(killed.failed.keys().all(|cause| *cause == Cause::Cut), "{killed:?}");
}

/// The application as a stack file. Its ports are taken out of it: those of a swarm are open on
/// every address of the machine, and may be taken here by a stack that runs.
fn export(swarm: &mut Swarm, root: &Path, out: &Path) {
    let url = |service: &str| {
        format!("{service}:DATABASE_URL=postgres://{}@postgres:5432/{service}", ROLE)
    };
    let mut command = cargo(root);
    command.args(["xtask", "export", "swarm", "--with", "swarm", "--json", "todo", "users", JOB]);
    command.args(["-e", &url("todo"), "-e", &url("users"), "--output"]).arg(out);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written: Value = serde_json::from_slice(&output.stdout).unwrap();
    for image in written["images"].as_object().unwrap().values() {
        swarm.will_remove(image.as_str().unwrap());
    }
    let file = out.join("stack.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("replicas: {COPIES}")), "{text}");
    let published = ["    ports:", "    - 5000:5000", "    - 5001:5001"];
    let lines = text.lines().filter(|line| !published.contains(line));
    std::fs::write(file, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}
