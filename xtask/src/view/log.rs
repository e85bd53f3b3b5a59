//! A service's log lines, prefixed with its name.
//!
//! What a service prints may hold any terminal escape; only colours get through, so
//! that no log line moves the cursor or renames the window.

use std::collections::BTreeMap;
use std::fmt::Write;

use xtask_client::escapes::{Keep, strip};
use xtask_client::logs::Line;

use super::style::{DIM, RESET, SERVICES};

/// Prefixes for a set of services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefixes {
    colors: BTreeMap<String, &'static str>,
    width: usize,
}

impl Prefixes {
    /// Prefixes of one width for these services. Others can still come.
    pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut prefixes = Self::default();
        for name in names {
            prefixes.color(name);
        }
        prefixes
    }

    /// Appends a line with its prefix to `out`.
    pub(crate) fn append(&mut self, out: &mut String, service: &str, line: &Line<'_>) {
        let color = self.color(service);
        let width = self.width;
        let _ = write!(out, "{color}{service:width$} |{RESET} ");
        colors_only(out, line.text);
        out.push('\n');
    }

    fn color(&mut self, service: &str) -> &'static str {
        if let Some(color) = self.colors.get(service) {
            return color;
        }
        let color = SERVICES[self.colors.len() % SERVICES.len()];
        self.colors.insert(service.to_string(), color);
        self.width = self.width.max(service.chars().count());
        color
    }
}

/// The end of a service's log, as it stands in messages: indented and without prefix.
pub(crate) fn excerpt(lines: &[String]) -> String {
    let mut out = String::new();
    for line in lines {
        let text = Line::parse(line).map_or(line.as_str(), |line| line.text);
        let _ = write!(out, "      {DIM}|{RESET} ");
        colors_only(&mut out, text);
        out.push('\n');
    }
    out
}

/// Appends `text` without control characters and escapes, colours excepted. Colours
/// that may have been left open are closed.
fn colors_only(out: &mut String, text: &str) {
    let kept = strip(text.as_bytes(), Keep::Colours);
    out.push_str(&String::from_utf8_lossy(&kept));
    if kept.contains(&0x1b) {
        out.push_str(RESET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        let mut out = String::new();
        colors_only(&mut out, text);
        out
    }

    #[test]
    fn only_colours_get_through() {
        assert_eq!(cleaned("plain"), "plain");
        assert_eq!(cleaned("\x1b[31mred\x1b[0m"), "\x1b[31mred\x1b[0m\x1b[0m");
        assert_eq!(cleaned("a\x1b[2Jb\x1b[10;3Hc"), "abc");
        assert_eq!(cleaned("\x1b]0;title\x07x\x1b]8;;u\x1b\\y"), "xy");
        assert_eq!(cleaned("50%\r100%\x08\x07"), "50%100%");
    }

    #[test]
    fn prefixes_have_one_width() {
        let mut prefixes = Prefixes::of(["a", "long"]);
        let mut out = String::new();
        let line = Line { time: "", run: 1, stream: "out", text: "hello" };
        prefixes.append(&mut out, "a", &line);
        prefixes.append(&mut out, "long", &line);
        let plain = anstream::adapter::strip_str(&out).to_string();
        assert_eq!(plain, "a    | hello\nlong | hello\n");
    }
}
