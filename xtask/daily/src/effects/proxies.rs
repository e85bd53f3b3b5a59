//! Keeps callers within a stack from a proxy: adds the hosts of the stack to `NO_PROXY` and
//! `no_proxy`, where a proxy is set.
//!
//! It reads the settings of Docker, which sets a proxy in each container that it creates. Podman
//! passes on the variables of its caller.

use std::path::PathBuf;

use serde_json::Value;

/// The names under which programs read the hosts that need no proxy.
pub(crate) const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Whether a variable sets a proxy.
pub(crate) fn is_proxy(name: &str) -> bool {
    matches!(name.to_ascii_lowercase().as_str(), "http_proxy" | "https_proxy" | "all_proxy")
}

/// The list `before` with these hosts.
pub(crate) fn with_hosts(before: &str, hosts: &[String]) -> String {
    let mut all: Vec<&str> =
        before.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
    if !all.contains(&"*") {
        let missing: Vec<&str> =
            hosts.iter().map(String::as_str).filter(|host| !all.contains(host)).collect();
        all.extend(missing);
    }
    all.join(",")
}

/// What the settings of Docker list as needing no proxy; none if they set no proxy.
pub(crate) fn docker_exceptions() -> Option<String> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker"));
    let file = folder.or_else(home)?.join("config.json");
    exceptions_in(&std::fs::read(file).ok()?)
}

/// The same in the text of a settings file.
fn exceptions_in(settings: &[u8]) -> Option<String> {
    let settings: Value = serde_json::from_slice(settings).ok()?;
    // One entry for each daemon, or `default`.
    let proxies = settings.get("proxies")?.as_object()?;
    let sets_one = |entry: &&Value| {
        ["httpProxy", "httpsProxy", "allProxy"].iter().any(|key| entry.get(key).is_some())
    };
    let entry = proxies.get("default").into_iter().chain(proxies.values()).find(sets_one)?;
    Some(entry.get("noProxy").and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// What the variables of this process list as needing no proxy; none if they set no proxy.
pub(crate) fn own_exceptions() -> Option<String> {
    std::env::vars_os()
        .any(|(name, value)| name.to_str().is_some_and(is_proxy) && !value.is_empty())
        .then(|| EXCEPTIONS.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_added_once() {
        let hosts = ["localhost".to_owned(), "shop".to_owned()];
        assert_eq!(with_hosts("", &hosts), "localhost,shop");
        assert_eq!(with_hosts("shop, .example", &hosts), "shop,.example,localhost");
        assert_eq!(with_hosts("*", &hosts), "*");
    }

    #[test]
    fn settings_of_docker_with_a_proxy_are_recognised() {
        let of = |text: &str| exceptions_in(text.as_bytes());
        let proxy = r#"{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a,b"}}}"#;
        assert_eq!(of(proxy).as_deref(), Some("a,b"));
        let daemon = r#"{"proxies": {"tcp://d:1": {"httpsProxy": "http://p:1"}}}"#;
        assert_eq!(of(daemon).as_deref(), Some(""));
        assert_eq!(of(r#"{"proxies": {"default": {}}, "auths": {}}"#), None);
        assert_eq!(of("{"), None);
    }
}
