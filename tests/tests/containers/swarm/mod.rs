//! The application in Docker Swarm, from `export swarm`: three replicas of `todo` on one PostgreSQL
//! server. Under writes, one replica is killed and then all are replaced.
//!
//! Swarm's own load balancing is not tested: it needs IPVS, which not every kernel has. Each
//! replica has its own port, names resolve to all addresses (`dnsrr`), and the writers rotate over
//! the healthy replicas, as an external load balancer does. A failed write is reported with its
//! cause, and with its time after the replica's signal and exit.

mod engine;
mod load;

use std::collections::BTreeSet;
use std::path::Path;

use e2e::harness::{cargo, workspace_of};
use e2e::{Api, postgres_image};
use serde_json::{Value, json};

use self::engine::{Swarm, database_of};
use self::load::{Cause, Load, WRITERS};

/// The replicas of `todo` in the overlay `swarm` of its metadata.
const REPLICAS: usize = 3;

/// The role that owns the databases.
const ROLE: &str = "app";

/// The password of the role.
const PASSWORD: &str = "known";

/// The job that imports the sample through `users` and `todo`.
/// An export is closed to callers without a token, and the writers have none.
const OPEN: &str = "OPEN_OWNERS=true";

const JOB: &str = "sample-data";

/// The writes that must succeed in each part of the test.
const WRITES: usize = 150;

/// A stack file that the engine merges into the exported one.
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
         environment: {{ APP_PASSWORD: {PASSWORD} }}\n    \
         volumes: [\"{}:/docker-entrypoint-initdb.d:ro\"]\n{}{}",
        databases.display(),
        service("todo", 5001),
        service("users", 5000)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_replicas_lose_no_acknowledged_write() {
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
    swarm.await_healthy("todo", REPLICAS).await;
    swarm.await_healthy("users", 1).await;

    swarm.await_complete(JOB).await;

    let users = Api::new(&format!("http://{}:{}", swarm.address(), swarm.healthy("users")[0].port));
    users.post("/users", &json!({"username": load::USER, "name": "Swarm"})).await.expect(201);
    let load = Load::begin(&swarm);
    load.await_answered(WRITES).await;
    let steady = load.part("steady");

    let victim = swarm.healthy("todo").remove(0);
    swarm.ask(&["kill", &victim.id]);
    swarm.await_replaced("todo", &[victim], REPLICAS).await;
    load.await_answered(WRITES).await;
    let killed = load.part("one replica killed");

    let old = swarm.healthy("todo");
    let service = format!("{}_todo", swarm.name());
    swarm.ask(&["service", "update", "--detach", "--env-add", "X=1", &service]);
    swarm.await_replaced("todo", &old, REPLICAS).await;
    load.await_answered(WRITES).await;
    let updated = load.part("rolling update");

    let acknowledged = load.end().await;
    // `users` finds the replicas of `todo` by name.
    users.get("/users/luckas").await.expect(200);
    users.get(&format!("/users/{}/lists", load::USER)).await.expect(200);
    let todo = Api::new(&format!("http://{}:{}", swarm.address(), swarm.healthy("todo")[0].port));
    let kept = todo.get("/lists").await.expect(200).json();
    let kept: BTreeSet<&str> =
        kept["lists"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !kept.contains(&***name)).collect();
    println!("{} writes acknowledged, {} lost", acknowledged.len(), lost.len());
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(steady.failures() + updated.failures(), 0, "{steady:?}, {updated:?}");
    // Only the requests in flight to the killed replica fail.
    assert!(killed.failures() <= WRITERS, "{killed:?}");
    assert!(killed.failed.keys().all(|cause| *cause == Cause::Cut), "{killed:?}");
}

/// Exports the application as a stack file, and removes its ports: Swarm would open them on every
/// address of the machine, and a running stack may use them.
fn export(swarm: &mut Swarm, root: &Path, out: &Path) {
    let url = |service: &str| {
        format!("{service}:DATABASE_URL=postgres://{ROLE}:{PASSWORD}@postgres:5432/{service}")
    };
    let mut command = cargo(root);
    command.args(["xtask", "export", "swarm", "--with", "swarm", "--json", "todo", "users", JOB]);
    // The test calls the replicas at the address of the machine in the swarm.
    let hosts = format!("ALLOWED_HOSTS={}", swarm.address());
    command
        .args(["-e", &url("todo"), "-e", &url("users"), "-e", &hosts, "-e", OPEN, "--output"])
        .arg(out);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written: Value = serde_json::from_slice(&output.stdout).unwrap();
    for image in written["images"].as_object().unwrap().values() {
        swarm.will_remove(image.as_str().unwrap());
    }
    let file = out.join("stack.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("replicas: {REPLICAS}")), "{text}");
    let published = ["    ports:", "    - 5000:5000", "    - 5001:5001"];
    let lines = text.lines().filter(|line| !published.contains(line));
    std::fs::write(file, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}
