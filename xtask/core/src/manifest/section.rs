//! Decodes one section: `[package.metadata.service]`, one of `services`, or an overlay.
//!
//! It checks the keys of one section against each other. The model checks them across
//! sections.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::TextAt;
use super::declare::Declared;
use super::keys::Settings;
use super::reader::Reader;
use super::value::{Table, ValueKind};
use crate::problem::{Code, Problem};

/// A section that declares a service.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    /// The service's name: at `name`, or else at the section's own key.
    pub(crate) name: TextAt,
    /// The index of the package that declares it, none for the workspace.
    pub(crate) package: Option<usize>,
    /// The folder that relative paths start from, absolute.
    pub(crate) folder: String,
    pub(crate) settings: Settings,
    /// Whether it sets a program that could not be read, which is reported.
    pub(crate) mistaken_program: bool,
    /// `with.NAME`.
    pub(crate) overlays: Vec<(TextAt, Settings)>,
}

/// Reads the keys of a section; `what` names the section in messages, and `more` are
/// keys that the caller reads itself. `path` is the keys that lead here.
pub(crate) fn settings(
    reader: &mut Reader<'_>,
    table: &Table,
    path: &[&str],
    what: &str,
    more: &[&str],
) -> Settings {
    let known: Vec<&str> = more.iter().copied().chain(Settings::names()).collect();
    reader.known_keys(table, &known, what);
    exclusive(reader, table);
    let mut out = Settings::read_all(reader, table);
    for edge in &mut out.depends_on {
        edge.table = path.iter().map(|key| (*key).to_string()).collect();
    }
    twice(reader, &out);
    out
}

/// Reports keys of one section that exclude each other.
fn exclusive(reader: &mut Reader<'_>, table: &Table) {
    let set =
        |name: &str| table.entry(name).filter(|(_, value)| value.kind != ValueKind::Boolean(false));
    for group in [&["port", "ports"][..], &["bin", "command", "image", "external"]] {
        for (index, first) in group.iter().enumerate() {
            for second in &group[index + 1..] {
                if let (Some((a, _)), Some((b, _))) = (set(first), set(second)) {
                    let message = format!("`{first}` and `{second}` exclude each other");
                    let problem = Problem::error(Code::BothForms, message)
                        .at(reader.span(&b.bytes), "")
                        .context(reader.span(&a.bytes), "");
                    reader.problem(problem.hint(format!("keep one of them: remove `{second}`")));
                }
            }
        }
    }
}

/// Reports services that are in both `depends-on` and `uses`.
fn twice(reader: &mut Reader<'_>, settings: &Settings) {
    for used in &settings.uses {
        if let Some(waited) = settings.depends_on.iter().find(|d| d.on.value == used.value) {
            let message = format!("`{}` is in both `depends-on` and `uses`", used.value);
            let problem = Problem::error(Code::BothForms, message)
                .at(used.span.clone(), "does not wait")
                .context(waited.on.span.clone(), "waits");
            reader.problem(problem.hint("remove one of them"));
        }
    }
}
