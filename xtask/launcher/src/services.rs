//! The packages of the services that the first `up` starts, so that one cargo call builds them and
//! the tool. All cores are then busy while the tool's own packages wait for each other.
//!
//! This is a guess from the words of `cargo metadata`: overlays and binaries with names of their
//! own are left to the plan. The tool builds what is missing, and a wrong guess costs only time.

use std::collections::BTreeMap;

/// The options of `up` with which another profile or another workspace is built, or nothing.
const OTHER_BUILDS: [&str; 6] =
    ["--release", "--profile", "--manifest-path", "--dry-run", "--no-build", "--help"];

/// Options of `up` that cargo understands too.
const FOR_CARGO: [&str; 2] = ["--offline", "--locked"];

/// The arguments of `cargo build` that add the services of this `up`. Empty if the command is
/// another one, or its services are unknown.
pub(crate) fn arguments(args: &[&str], metadata: impl FnOnce() -> Option<String>) -> Vec<String> {
    let first = args.iter().position(|word| !word.starts_with('-'));
    let is_up = first.is_some_and(|first| args[first] == "up");
    let is_other = |word: &str| {
        let option = word.split_once('=').map_or(word, |(option, _)| option);
        OTHER_BUILDS.contains(&option) || option == "-h"
    };
    if !is_up || args.iter().any(|word| is_other(word)) {
        return Vec::new();
    }
    let mut packages = metadata().and_then(|text| packages(&text, args)).unwrap_or_default();
    if !packages.is_empty() {
        let flags = FOR_CARGO.iter().filter(|flag| args.contains(flag));
        packages.extend(flags.map(|flag| (*flag).to_owned()));
    }
    packages
}

/// `--package ID` for each package of the wanted services and their dependencies.
fn packages(metadata: &str, args: &[&str]) -> Option<Vec<String>> {
    let mut text = Text(metadata.trim());
    let root = text.value()?;
    let mut services: BTreeMap<&str, Service<'_>> = BTreeMap::new();
    for package in root.get("packages")?.items() {
        let (name, id) = (package.get("name")?.text()?, package.get("id")?.text()?);
        let Some(metadata) = package.get("metadata") else { continue };
        if let Some(table) = metadata.get("service") {
            let name = table.get("name").and_then(Value::text).unwrap_or(name);
            services.insert(name, Service { id, table });
        }
        for (name, table) in metadata.get("services").map_or(&[][..], Value::entries) {
            services.insert(name, Service { id, table });
        }
    }
    let declared = root.get("metadata").and_then(|metadata| metadata.get("xtask")?.get("default"));
    let named: Vec<&str> = args.iter().copied().filter(|arg| services.contains_key(arg)).collect();
    let mut open = match declared {
        _ if !named.is_empty() => named,
        Some(default) => default.items().iter().filter_map(Value::text).collect(),
        None => services.keys().copied().collect(),
    };
    let (mut found, mut arguments) = (Vec::new(), Vec::new());
    while let Some(name) = open.pop() {
        let Some(service) = services.remove(name) else { continue };
        if !found.contains(&service.id) {
            found.push(service.id);
            arguments.extend(["--package".to_owned(), service.id.to_owned()]);
        }
        for key in ["depends-on", "uses"] {
            if let Some(edges) = service.table.get(key) {
                open.extend(edges.items().iter().filter_map(Value::text));
                open.extend(edges.entries().iter().map(|(name, _)| name.as_str()));
            }
        }
    }
    Some(arguments)
}

/// A service as its package declares it.
struct Service<'a> {
    id: &'a str,
    table: &'a Value,
}

/// A value in JSON. Numbers and words have no use here.
enum Value {
    Text(String),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
    Other,
}

impl Value {
    fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    fn entries(&self) -> &[(String, Self)] {
        if let Self::Table(entries) = self { entries } else { &[] }
    }
}

/// What is left of a text in JSON.
struct Text<'a>(&'a str);

impl Text<'_> {
    fn value(&mut self) -> Option<Value> {
        self.0 = self.0.trim_start();
        Some(match self.0.as_bytes().first()? {
            b'"' => Value::Text(self.text()?),
            b'[' => Value::List(self.members(']', Self::value)?),
            b'{' => Value::Table(self.members('}', |text| {
                text.0 = text.0.trim_start();
                let key = text.text()?;
                text.0 = text.0.trim_start().strip_prefix(':')?;
                Some((key, text.value()?))
            })?),
            _ => {
                let end = self.0.find([',', ']', '}']).unwrap_or(self.0.len());
                self.0 = &self.0[end..];
                Value::Other
            }
        })
    }

    /// What is between a bracket and the one that closes it, separated by commas.
    fn members<T>(
        &mut self,
        close: char,
        member: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut members = Vec::new();
        self.0 = self.0[1..].trim_start();
        loop {
            if let Some(rest) = self.0.strip_prefix(close) {
                self.0 = rest;
                return Some(members);
            }
            members.push(member(self)?);
            self.0 = self.0.trim_start();
            self.0 = self.0.strip_prefix(',').unwrap_or(self.0).trim_start();
        }
    }

    /// A text in quotes. Escapes of letters outside ASCII are kept as they are.
    fn text(&mut self) -> Option<String> {
        let mut rest = self.0.strip_prefix('"')?.char_indices();
        let mut text = String::new();
        loop {
            match rest.next()? {
                (at, '"') => {
                    self.0 = &self.0[at + 2..];
                    return Some(text);
                }
                (_, '\\') => match rest.next()?.1 {
                    'u' => text.push_str("\\u"),
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    other => text.push(other),
                },
                (_, other) => text.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"packages": [
        {"name": "shop", "id": "shop@1", "metadata": {"service": {"depends-on": ["stock", "key"]}}},
        {"name": "till", "id": "till@1", "metadata": {"service": {"name": "desk", "uses": []}}},
        {"name": "base", "id": "base@1", "metadata": {"services": {
            "stock": {"depends-on": {"key": {"condition": "ready"}}, "args": ["a\"],[\\", 1.5e3]},
            "spare": {"port": 1}
        }}},
        {"name": "key", "id": "path+file:///a b#key@1", "metadata": {"service": {}}},
        {"name": "lib", "id": "lib@1", "metadata": null}
    ], "metadata": {"xtask": {"default": ["shop"]}}}"#;

    fn found(args: &str, metadata: &str) -> String {
        let args: Vec<&str> = args.split_whitespace().collect();
        let mut found = arguments(&args, || Some(metadata.to_owned()));
        found.retain(|word| word != "--package");
        found.sort();
        found.join(" ")
    }

    #[test]
    fn packages_of_wanted_services_and_dependencies_are_built() {
        for args in ["up", "up -d --with x", "--color never up", "--stack=a up"] {
            let expected = if args == "--color never up" {
                ""
            } else {
                "base@1 path+file:///a b#key@1 shop@1"
            };
            assert_eq!(found(args, METADATA), expected, "{args}");
        }
        assert_eq!(found("up desk --offline", METADATA), "--offline till@1");
        let all = METADATA.replace("default", "other");
        assert_eq!(found("up", &all), "base@1 path+file:///a b#key@1 shop@1 till@1");
    }

    #[test]
    fn other_commands_and_profiles_build_the_tool_alone() {
        for args in ["", "status", "up --release", "up --profile=x", "restart", "up -h", "--help"] {
            assert_eq!(found(args, METADATA), "", "{args}");
        }
        for cut in 0..METADATA.len() {
            assert_eq!(found("up", &METADATA[..cut]), "", "{cut}");
        }
    }
}
