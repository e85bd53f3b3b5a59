//! The fuzz properties of manifests, templates and control socket lines, checked on the kept
//! corpora and on random changes of them.
//!
//! The properties are those of `xtask/fuzz`, so they and the corpora stay correct without a
//! fuzzer. `XTASK_SEEDS` sets how many changes are tried.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/properties/manifest.rs"]
mod manifest;
#[path = "../fuzz/properties/protocol.rs"]
mod protocol;
#[path = "../fuzz/properties/template.rs"]
mod template;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, TableLike, Value};
use xtask_core::terms::chance::Chance;

fn seeds() -> u64 {
    std::env::var("XTASK_SEEDS").map_or(1_000, |seeds| seeds.parse().unwrap())
}

/// The files of a folder and of those below it, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The kept texts of a fuzz target.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let texts: Vec<_> =
        files(&folder).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(!texts.is_empty(), "no text in `{}`", folder.display());
    texts
}

/// The manifests of the metadata cases, a workspace each with the root's first.
fn workspaces() -> Vec<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let case = entry.unwrap().path();
        let mut manifests = files(&case);
        manifests.retain(|path| path.ends_with("Cargo.toml"));
        manifests.sort_by_key(|path| (path.components().count(), path.clone()));
        found.push(manifests.iter().map(|path| fs::read_to_string(path).unwrap()).collect());
    }
    found.sort();
    found
}

/// Runs a property, and names its input if it does not hold.
#[track_caller]
fn holds<T>(input: impl FnOnce() -> String, property: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(property))
        .unwrap_or_else(|_| panic!("it does not hold for {}", input()))
}

#[test]
fn kept_texts_satisfy_the_fuzz_properties() {
    let name = |path: &Path| path.display().to_string();
    for (path, text) in corpus("manifest") {
        holds(|| name(&path), || manifest::holds(&[std::str::from_utf8(&text).unwrap()]));
    }
    for (path, text) in corpus("template") {
        holds(|| name(&path), || template::holds(std::str::from_utf8(&text).unwrap()));
    }
    for (path, line) in corpus("protocol") {
        holds(|| name(&path), || protocol::holds(&line));
    }
    for workspace in workspaces() {
        let texts: Vec<&str> = workspace.iter().map(String::as_str).collect();
        holds(|| workspace.join("---\n"), || manifest::holds(&texts));
    }
}

#[test]
fn every_fuzz_target_has_property_and_texts() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(fuzz.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    let targets = names("fuzz_targets");
    assert_eq!((&targets, &targets), (&names("properties"), &names("corpus")));
    assert_eq!(targets, ["manifest", "protocol", "template"], "this file knows these");
    for target in targets {
        let file = format!("fuzz_targets/{target}.rs");
        let text = fs::read_to_string(fuzz.join(&file)).unwrap();
        assert!(text.contains(&format!("#[path = \"../properties/{target}.rs\"]")), "{file}");
        assert!(text.contains("property::holds("), "{file}");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("path = \"{file}\"")), "{file}");
    }
}

#[test]
fn changed_manifests_never_panic() {
    let mut all = workspaces();
    let kept = corpus("manifest").into_iter();
    all.extend(kept.map(|(_, text)| vec![String::from_utf8(text).unwrap()]));
    let mut planned: u64 = 0;
    for seed in 0..seeds() {
        let mut chance = Chance::of(seed);
        let mut texts = chance.pick(&all).unwrap().clone();
        for _ in 0..=chance.below(4) {
            let other = chance.pick(&all).unwrap().first().unwrap().clone();
            let place = chance.below(texts.len());
            let text = &mut texts[place];
            *text = match text.parse::<DocumentMut>() {
                Ok(mut document) if chance.below(4) > 0 => {
                    change_value(document.as_table_mut(), &mut chance);
                    document.to_string()
                }
                _ => {
                    let changed = change_bytes(text.as_bytes(), other.as_bytes(), &mut chance);
                    String::from_utf8_lossy(&changed).into_owned()
                }
            };
        }
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let input = || format!("seed {seed}:\n{}", texts.join("---\n"));
        planned += u64::from(holds(input, || manifest::holds(&borrowed)));
    }
    assert!(planned > seeds() / 20, "only {planned} plans were made, too few to prove anything");
}

#[test]
fn random_templates_survive_a_round_trip() {
    const PIECES: [&str; 16] = [
        "$",
        "$$",
        "${",
        "}",
        "{",
        "a",
        "é",
        "\n",
        ".",
        "self.port",
        "store.url",
        "env.HOME",
        "stack.data",
        "a.port.b",
        " ",
        "-",
    ];
    for seed in 0..10 * seeds() {
        let mut chance = Chance::of(seed);
        let pieces = (0..chance.below(12)).map(|_| *chance.pick(&PIECES).unwrap());
        let text: String = pieces.collect();
        holds(|| format!("seed {seed}: {text:?}"), || template::holds(&text));
    }
}

#[test]
fn changed_control_lines_are_calls_or_errors() {
    let kept: Vec<Vec<u8>> = corpus("protocol").into_iter().map(|(_, line)| line).collect();
    for seed in 0..10 * seeds() {
        let mut chance = Chance::of(seed);
        let mut line = chance.pick(&kept).unwrap().clone();
        for _ in 0..=chance.below(3) {
            let other = chance.pick(&kept).unwrap();
            line = change_bytes(&line, other, &mut chance);
        }
        let input = || format!("seed {seed}: {}", line.escape_ascii());
        holds(input, || protocol::holds(&line));
    }
}

/// One change somewhere: bytes are left out, doubled, put in, or replaced by those of
/// something else.
fn change_bytes(bytes: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let part = |chance: &mut Chance, length: usize| {
        let start = chance.below(length + 1);
        start..start + chance.below((length - start).min(20) + 1)
    };
    let (here, there) = (part(chance, bytes.len()), part(chance, other.len()));
    const SIGNS: &[u8] = b"[]{}\"'=.,#$\\\n\r\0 1-_\xff\xc3";
    let instead: &[u8] = match chance.below(4) {
        0 => &[],
        1 => &other[there],
        2 => std::slice::from_ref(chance.pick(SIGNS).unwrap()),
        _ => return [&bytes[..here.end], &bytes[here.start..]].concat(),
    };
    [&bytes[..here.start], instead, &bytes[here.end..]].concat()
}

/// One change of a value below the table: another value, another key, or none.
fn change_value(table: &mut dyn TableLike, chance: &mut Chance) {
    const KEYS: [&str; 16] = [
        "depends-on",
        "uses",
        "port",
        "ports",
        "ready",
        "args",
        "env",
        "url",
        "host",
        "kind",
        "command",
        "image",
        "stop",
        "name",
        "with",
        "é",
    ];
    let keys: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).collect();
    let Some(key) = chance.pick(&keys) else {
        table.insert(chance.pick(&KEYS).unwrap(), Item::Value(any_value(chance)));
        return;
    };
    if let Some(inner) = table.get_mut(key).and_then(Item::as_table_like_mut)
        && chance.below(8) > 0
    {
        return change_value(inner, chance);
    }
    if let Some(list) = table.get_mut(key).and_then(Item::as_array_mut)
        && chance.below(4) > 0
    {
        let place = chance.below(list.len() + 1);
        if place < list.len() {
            list.remove(place);
        }
        if chance.below(3) > 0 {
            list.insert(place, any_value(chance));
        }
        return;
    }
    match chance.below(4) {
        0 => drop(table.remove(key)),
        1 => {
            if let Some(item) = table.remove(key) {
                table.insert(chance.pick(&KEYS).unwrap(), item);
            }
        }
        _ => drop(table.insert(key, Item::Value(any_value(chance)))),
    }
}

/// A value of any kind; some are right somewhere.
fn any_value(chance: &mut Chance) -> Value {
    const VALUES: [&str; 26] = [
        "0",
        "5000",
        "65536",
        "-1",
        "9223372036854775807",
        "0.5",
        "nan",
        "true",
        "false",
        "2000-01-01",
        "\"\"",
        "\"job\"",
        "\"10s\"",
        "\"shop\"",
        "\"stock\"",
        "\"é${é}\"",
        "\"${self.url}\"",
        "'''\n${shop.port.metrics}\\'''",
        "\"\\u00e9\\t${stock.url}$\"",
        "\"/\"",
        "[]",
        "{}",
        "[\"shop\", \"stock\"]",
        "[[1], { a = 2 }]",
        "{ shop = \"started\", stock = { condition = \"ready\", restart = true } }",
        "{ http = \"/\", status = [200], port = \"http\" }",
    ];
    chance.pick(&VALUES).unwrap().parse().unwrap()
}
