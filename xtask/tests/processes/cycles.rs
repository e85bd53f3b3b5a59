//! Cycles: refused with every line, mended on request, started with a `uses` in them.

use xtask_test_support::{Fixture, PackageSpec, SERVICE, get_at};

/// Three packages; two of them wait for each other.
fn ring() -> Fixture {
    let package = |name: &str, on: &str| {
        PackageSpec::new(name, &format!("{name}-package")).bin(name, SERVICE).metadata(&format!(
            "[package.metadata.service]\nname = \"{name}\"\nport = 0\n\
             # Needed at every request.\ndepends-on = [{on}] # really\n"
        ))
    };
    Fixture::new("ring")
        .package(package("chicken", "\"egg\""))
        .package(package("egg", "\"chicken\""))
        .package(package("omelette", "\"egg\""))
        .write()
}

fn line_of(fixture: &Fixture, file: &str, text: &str) -> String {
    let place = fixture.text(file).lines().position(|line| line.contains(text)).unwrap();
    format!("{file}:{}", place + 1)
}

#[test]
fn cycle_is_refused_with_its_repair() {
    let fixture = ring();
    let up = fixture.xtask(&["up", "-d"]).ends_with(2).says("check --fix");
    for file in ["chicken/Cargo.toml", "egg/Cargo.toml"] {
        let up = up.clone().says(&line_of(&fixture, file, "depends-on"));
        up.says(fixture.text(file).lines().find(|line| line.contains("depends-on")).unwrap());
    }
    assert!(!up.stderr.contains("omelette/Cargo.toml"), "it is no part of the cycle\n{up}");
    fixture.is_quiet();
}

#[test]
fn check_fix_breaks_the_cycle_and_keeps_comments() {
    let fixture = ring();
    fixture.xtask(&["check"]).ends_with(2);
    let fixed = fixture.xtask(&["check", "--fix"]).ends_with(0).says("`chicken/Cargo.toml`");
    assert!(!fixed.stderr.contains(&*fixture.root().to_string_lossy()), "{fixed}");
    let mended = fixture.text("chicken/Cargo.toml");
    assert!(mended.contains("# Needed at every request.\nuses = [\"egg\"] # really\n"), "{mended}");
    assert!(fixture.text("egg/Cargo.toml").contains("depends-on = [\"chicken\"] # really\n"));
    fixture.xtask(&["check"]).ends_with(0);

    fixture.xtask(&["up", "-d"]).ends_with(0);
    let egg = fixture.service("egg")["url"].as_str().unwrap().to_owned();
    let chicken = fixture.service("chicken")["url"].as_str().unwrap().to_owned();
    assert_eq!(get_at(&chicken, "/env/EGG_URL").unwrap().body, egg);
    assert_eq!(get_at(&egg, "/env/CHICKEN_URL").unwrap().body, chicken);
}

/// A table of the root lies on top of the package's.
#[test]
fn check_fix_edits_both_declaring_tables() {
    let fixture = ring();
    for (name, on) in [("chicken", "egg"), ("egg", "chicken")] {
        let overlay = format!("[workspace.metadata.services.{name}]\ndepends-on = [\"{on}\"]\n");
        fixture.file("Cargo.toml", &(fixture.text("Cargo.toml") + &overlay));
    }
    fixture.xtask(&["check", "--fix"]).ends_with(0).says("`Cargo.toml`").says("`chicken/");
    let mended = ["Cargo.toml", "chicken/Cargo.toml", "egg/Cargo.toml"].map(|f| fixture.text(f));
    let again = fixture.xtask(&["check", "--fix"]).ends_with(0);
    assert!(!again.stderr.contains("Changed"), "{again}");
    let still = ["Cargo.toml", "chicken/Cargo.toml", "egg/Cargo.toml"].map(|f| fixture.text(f));
    assert_eq!(mended, still);
}

#[test]
fn check_fix_prints_edits_that_lose_comments() {
    let fixture = ring();
    for (file, name) in [("chicken/Cargo.toml", "egg"), ("egg/Cargo.toml", "chicken")] {
        let list = format!("depends-on = [\n    \"{name}\", # why\n]\nuses = []");
        let text = fixture.text(file).replace(&format!("depends-on = [\"{name}\"]"), &list);
        fixture.file(file, &text);
    }
    let before = fixture.text("chicken/Cargo.toml");
    let fixed = fixture.xtask(&["check", "--fix"]).ends_with(2);
    fixed.says("`chicken/Cargo.toml` is not changed").says("-    \"egg\", # why\n");
    assert_eq!(fixture.text("chicken/Cargo.toml"), before);
}

#[test]
fn cycle_can_be_relaxed_once() {
    let fixture = ring();
    fixture.xtask(&["up", "-d", "--cycles", "relax"]).ends_with(0).says("warning");
    assert_eq!(fixture.service("omelette")["phase"], "ready");
    assert!(fixture.text("chicken/Cargo.toml").contains("depends-on"), "the file is as it was");
    fixture.xtask(&["up", "-d"]).ends_with(2);
}
