//! Exported documents, checked by their important parts. Tests of the tool apply them to real
//! engines.

use xtask_core::plan::{
    Dependency, Deploy, Health, Plan, Port, Probe, Program, Setting, Source, Volume,
};
use xtask_core::terms::{Condition, Kind, Name, Place, Placement, Restart};

use super::{Export, File, Images, Target, export};
use crate::sample::plan;

fn setting(value: &str, secret: bool) -> Setting {
    let source = Source::Injected;
    Setting { value: value.into(), source, secret, overrides: Vec::new(), declared: None }
}

fn place() -> Place {
    Place { file: "Cargo.toml".to_owned(), line: 1 }
}

/// `till` waits for `stock`; both are built here, and `stock` keeps something.
fn shop() -> Plan {
    let mut plan = plan(&[("stock", &[]), ("till", &["stock"]), ("clock", &[])]);
    for service in &mut plan.services {
        if &*service.name != "clock" {
            service.program = Program::Artifact {
                package_id: service.name.to_string(),
                package: service.name.to_string(),
                binary: format!("{}d", service.name),
            };
            service.placement = Placement::Container;
            service.restart = Restart::OnFailure;
            service.self_probe = vec!["--probe".to_owned(), "/ready".to_owned()];
            let number = (&*service.name == "till").then_some(7001);
            service.ports = vec![Port {
                name: "http".into(),
                host: "0.0.0.0".into(),
                number,
                declared: place(),
            }];
            service.probes =
                vec![Probe::Http { path: "/ready".into(), status: vec![200], port: 0 }];
        }
    }
    let stock = &mut plan.services[0];
    stock.env.insert("FILE".into(), setting("/data/stock.db", false));
    stock.volumes = vec![Volume { inside: "/data".into(), outside: "/data".into() }];
    stock.deploy = Deploy { replicas: 1, memory_bytes: Some(64 << 20), cpu_millis: Some(500) };
    let till = &mut plan.services[1];
    till.env.insert("PRICE".into(), setting("5$ and $(more)", false));
    till.env.insert("MODE".into(), setting("no", false));
    till.env.insert("API_TOKEN".into(), setting("hush", true));
    till.deploy.replicas = 3;
    plan
}

fn exported(plan: &Plan, target: Target) -> Export {
    let references = ["stock", "till"]
        .into_iter()
        .map(|name| (Name::from(name), format!("localhost/shop/{name}:1")))
        .collect();
    export(plan, &Images { references, program_folder: "/app", user: 10001 }, target)
}

fn said(export: &Export) -> Vec<String> {
    export.differences.iter().map(|d| format!("{}: {}", d.service, d.what)).collect()
}

#[test]
fn secrets_are_kept_out_of_documents_and_repositories() {
    for target in [Target::Compose, Target::Swarm, Target::Kubernetes] {
        let export = exported(&shop(), target);
        let told = |file: &&File| file.text.contains("hush");
        assert!(export.files.iter().any(|file| told(&file)), "{target:?}");
        for file in export.files.iter().filter(told) {
            assert!(file.access.is_secret(), "{target:?}: {file:#?}");
        }
        let ignored = export.files.iter().find(|file| file.path == ".gitignore").unwrap();
        for file in export.files.iter().filter(|file| file.access.is_secret()) {
            assert!(ignored.text.contains(&format!("/{}\n", file.path)), "{}", ignored.text);
        }
    }
}

#[test]
fn secrets_have_distinct_names() {
    let mut shop = shop();
    let [stock, till, ..] = &mut shop.services[..] else { panic!() };
    stock.name = "till-api".into();
    stock.program = till.program.clone();
    stock.env = [("TOKEN".to_owned(), setting("whisper", true))].into();
    let references = ["till", "till-api"].map(|name| (Name::from(name), "image:1".to_owned()));
    let images = Images { references: references.into(), program_folder: "/app", user: 10001 };
    for target in [Target::Compose, Target::Swarm, Target::Kubernetes] {
        let files = export(&shop, &images, target).files;
        for value in ["hush", "whisper"] {
            assert!(files.iter().any(|file| file.text.contains(value)), "{target:?}: {value}");
        }
        let mut paths: Vec<&String> = files.iter().map(|file| &file.path).collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), files.len(), "{target:?}");
    }
}

#[test]
fn service_with_secret_argument_is_not_exported() {
    let mut shop = shop();
    shop.services[1].args = vec![setting("--token=quiet", true)];
    for target in [Target::Compose, Target::Swarm, Target::Kubernetes] {
        let export = exported(&shop, target);
        assert!(export.files.iter().all(|file| !file.text.contains("quiet")), "{target:?}");
        let told = "till: not exported: an argument of it is secret";
        assert!(said(&export).iter().any(|what| what.starts_with(told)), "{:?}", said(&export));
    }
}

#[test]
fn only_services_that_name_the_data_folder_mount_it() {
    for (value, gets) in [
        ("/data/stock.db", true),
        ("sqlite:/data", true),
        ("--in=/data --more", true),
        ("http://db/database", false),
        ("/var/data/x", false),
        ("/data-old", false),
    ] {
        let mut shop = shop();
        shop.services[0].env.insert("FILE".into(), setting(value, false));
        let text = exported(&shop, Target::Compose).files[0].text.clone();
        assert_eq!(text.contains("- data:/data"), gets, "{value}: {text}");
    }
}

#[test]
fn ports_get_distinct_numbers_and_valid_names() {
    let mut shop = shop();
    let port = |name: &str, number| Port {
        name: name.into(),
        host: "0.0.0.0".into(),
        number,
        declared: place(),
    };
    let ports = [
        port("http", None),
        port("administration-a", None),
        port("administration-b", Some(8080)),
        port("Metrics_1", None),
    ];
    shop.services[1].ports = ports.into();
    let text = exported(&shop, Target::Kubernetes).files[0].text.clone();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in [
        "containerPort: 8081 name: http",
        "containerPort: 8082 name: port-1",
        "containerPort: 8080 name: port-2",
        "containerPort: 8083 name: port-3",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in:\n{text}");
    }
}

#[test]
fn compose_contains_conditions_checks_and_limits() {
    let export = exported(&shop(), Target::Compose);
    let text = &export.files[0].text;
    for wanted in [
        "condition: service_healthy",
        "- /app/stockd",
        "FILE: /data/stock.db",
        "- data:/data",
        "PRICE: 5$$ and $$(more)",
        "API_TOKEN_FILE: /run/secrets/till.API_TOKEN",
        "restart: on-failure",
        "read_only: true",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in:\n{text}");
    }
    // As a YAML boolean it would be `false` in the program.
    assert!(text.contains("MODE: \"no\"") || text.contains("MODE: 'no'"), "{text}");
    assert!(!text.contains("version:"), "{text}");
}

#[test]
fn swarm_replaces_copies_one_by_one() {
    let export = exported(&shop(), Target::Swarm);
    let text = &export.files[0].text;
    for wanted in ["version: \"3.8\"", "replicas: 3", "order: start-first", "- 7001:7001"] {
        assert!(text.contains(wanted), "no `{wanted}` in:\n{text}");
    }
    assert!(!text.contains("depends_on"), "{text}");
    let said = said(&export);
    assert!(said.iter().any(|what| what.starts_with("till: starts without waiting for stock")));
}

#[test]
fn kubernetes_probes_http_and_escapes_expansion() {
    let export = exported(&shop(), Target::Kubernetes);
    let text = &export.files[0].text;
    for wanted in [
        "kind: Deployment",
        "kind: PersistentVolumeClaim",
        "readOnlyRootFilesystem: true",
        "runAsNonRoot: true",
        "path: /ready",
        "5$ and $$(more)",
        "enableServiceLinks: false",
        "cpu: 500m",
        // One second of its own, and five before the stop signal.
        "terminationGracePeriodSeconds: 6",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in:\n{text}");
    }
    let pause: Vec<&str> = text.split("preStop:").skip(1).collect();
    assert!(pause[0].trim_start().starts_with("sleep:"), "{text}");
}

#[test]
fn external_services_are_omitted_and_named() {
    let export = exported(&shop(), Target::Compose);
    assert!(said(&export).contains(&"clock: not exported: it is not managed".to_owned()));
    assert!(!export.files[0].text.contains("clock"));
}

#[test]
fn job_runs_to_completion_on_every_engine() {
    let mut shop = shop();
    shop.services[0].kind = Kind::Job;
    shop.services[1].depends_on = vec![Dependency {
        on: "stock".into(),
        condition: Condition::Succeeded,
        restart: false,
        declared: place(),
    }];
    let text = |target| exported(&shop, target).files[0].text.clone();
    let compose = text(Target::Compose);
    assert!(compose.contains("condition: service_completed_successfully"), "{compose}");
    assert!(text(Target::Swarm).contains("mode: replicated-job"));
    assert!(text(Target::Kubernetes).contains("kind: Job"));
}

#[test]
fn service_with_underscore_gets_valid_names() {
    let mut shop = shop();
    let [stock, till, ..] = &mut shop.services[..] else { panic!() };
    stock.name = "Stock_room".into();
    stock.env.insert("API_TOKEN".into(), setting("hush", true));
    till.depends_on[0].on = "Stock_room".into();
    till.env.insert("STOCK_URL".into(), setting("http://stock-room:8080", false));
    let references = ["till", "Stock_room"].map(|name| (Name::from(name), "image:1".to_owned()));
    let images = Images { references: references.into(), program_folder: "/app", user: 10001 };
    let text = |target| export(&shop, &images, target).files[0].text.clone();
    for target in [Target::Compose, Target::Swarm] {
        let text = text(target);
        assert!(text.contains("\n  stock-room:\n"), "{text}");
        assert!(text.contains("aliases:\n        - Stock_room\n"), "{text}");
    }
    assert!(text(Target::Compose).contains("depends_on:\n      stock-room:\n"));
    let export = export(&shop, &images, Target::Kubernetes);
    let named = export.files.iter().flat_map(|file| file.text.lines());
    for line in named.filter(|line| line.contains("name: ")) {
        assert!(!line.contains("Stock_room") || line.contains("image:"), "{line}");
    }
    let said = said(&export).join("\n");
    assert!(said.contains("stock-room: is not called `Stock_room`"), "{said}");
}

#[test]
fn health_is_written_for_each_engine() {
    let mut shop = shop();
    let probe = Probe::Http { path: "/healthz".into(), status: Vec::new(), port: 0 };
    let health = Health { probe, every: std::time::Duration::from_secs(7), restart: false };
    shop.services[1].health = Some(health.clone());
    let inside = "test: - CMD - /app/tilld - --probe - /healthz timeout: 5s";
    let probe = "livenessProbe: failureThreshold: 3 httpGet: path: /healthz port: http \
                 periodSeconds: 7 timeoutSeconds: 5";
    for (target, written, difference) in [
        (Target::Compose, inside, "counts as ready when its `health` passes"),
        (Target::Swarm, inside, "is replaced when it is unhealthy"),
        (Target::Kubernetes, probe, "is restarted when it is unhealthy"),
    ] {
        let export = exported(&shop, target);
        let text = export.files[0].text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(written), "no `{written}` in:\n{text}");
        assert!(target == Target::Kubernetes || text.contains("interval: 7s retries: 3"), "{text}");
        let said = said(&export);
        assert!(said.contains(&format!("till: {difference}")), "{said:?}");
    }
    // Without `self-probe` only a shell in the image can ask, and an empty image has none.
    let [stock, till, ..] = &mut shop.services[..] else { panic!() };
    till.program = Program::Image { image: "shop/till:2".into(), ports: vec![7001] };
    stock.health = Some(health);
    (stock.self_probe, till.self_probe) = (Vec::new(), Vec::new());
    let export = exported(&shop, Target::Compose);
    let text = &export.files[0].text;
    assert!(text.contains("http://127.0.0.1:7001/healthz"), "{text}");
    let said = said(&export);
    assert!(said.iter().any(|line| line.starts_with("stock: has no health check")), "{said:?}");
}
