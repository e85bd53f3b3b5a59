//! `graph` and `explain` as commands; their forms are tested where they are made.

use xtask_test_support::{Fixture, PackageSpec, SERVICE};

fn shop() -> Fixture {
    Fixture::new("shop")
        .package(
            PackageSpec::new("back", "stockroom")
                .bin("stockd", SERVICE)
                .metadata("[package.metadata.service]\nname = \"stock\"\nport = 4001\n"),
        )
        .package(PackageSpec::new("desk", "shopfront").bin("frontd", SERVICE).metadata(
            "[package.metadata.service]\nname = \"front\"\nport = 4000\ndepends-on = [\"stock\"]\n\
             args = [\"--stock\", \"${stock.url}\"]\nenv = { SHOP_TOKEN = \"hunter2\" }\n",
        ))
        .write()
}

#[test]
fn graph_is_drawn_in_every_form() {
    let fixture = shop();
    let drawn = |form: &str| fixture.xtask(&["graph", "--format", form]).ends_with(0).stdout;
    assert_eq!(drawn("text"), "front  http://127.0.0.1:4000\n└── stock  http://127.0.0.1:4001\n");
    assert!(drawn("mermaid").starts_with("flowchart LR\n"));
    assert!(drawn("dot").contains("\"front\" -> \"stock\""));
    assert!(drawn("svg").starts_with("<svg "));
    let json: serde_json::Value = serde_json::from_str(&drawn("json")).unwrap();
    assert_eq!(json["edges"][0]["declared"]["file"], "desk/Cargo.toml");
}

#[test]
fn explain_shows_sources_and_masks_secrets() {
    let fixture = shop();
    let explained = fixture.xtask(&["explain", "front"]).ends_with(0);
    let explained = explained.says("desk/Cargo.toml:").says("STOCK_URL").says("SHOP_TOKEN");
    assert!(!explained.stdout.contains("hunter2"), "{explained}");
}

#[test]
fn dry_run_starts_nothing_and_is_repeatable() {
    let fixture = shop();
    let plan = || fixture.xtask(&["up", "--dry-run", "--json"]).ends_with(0);
    let first = plan();
    assert_eq!(first.json()["services"][0]["name"], "stock");
    assert_eq!(first.stdout, plan().stdout);
    fixture.is_quiet();
}
