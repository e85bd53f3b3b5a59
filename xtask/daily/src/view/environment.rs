//! The variables of a service with their real values, for `env` alone.

use xtask_core::sorted::SortedMap;

use xtask_core::plan::{Piece, Service};

use super::setting::Values;

/// The variables of a service.
pub struct Variables {
    pub set: SortedMap<String, String>,
    /// Those that hold a port which the stack has not chosen yet.
    pub unknown: Vec<String>,
    /// Those of `set` whose names no shell accepts.
    pub odd: Vec<String>,
}

impl Variables {
    pub fn of(values: &Values<'_>, service: &Service) -> Self {
        let (mut set, mut unknown) = (SortedMap::new(), Vec::new());
        for (name, setting) in &service.env {
            let is_known = |piece: &Piece| match piece {
                Piece::Literal(_) => true,
                Piece::Port { service, port } => values.port(service, *port).is_some(),
            };
            match setting.value.pieces.iter().all(is_known) {
                true => drop(set.insert(name.clone(), values.unmasked(&setting.value))),
                false => unknown.push(name.clone()),
            }
        }
        let odd = set.keys().filter(|name| !is_shell_name(name)).cloned().collect();
        Self { set, unknown, odd }
    }
}

/// A line `export NAME='VALUE'` for each variable with a name that a shell accepts.
pub(crate) fn shell_lines(set: &SortedMap<String, String>) -> String {
    let line = |(name, value): (&String, &String)| {
        format!("export {name}='{}'\n", value.replace('\'', "'\\''"))
    };
    set.iter().filter(|(name, _)| is_shell_name(name)).map(line).collect()
}

fn is_shell_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_quoted_for_a_shell() {
        let lines = |name: &str, value: &str| {
            shell_lines(&SortedMap::from([(name.to_owned(), value.to_owned())]))
        };
        assert_eq!(lines("A", "$HOME `ls` \\"), "export A='$HOME `ls` \\'\n");
        assert_eq!(lines("A_1", "it's"), "export A_1='it'\\''s'\n");
        assert_eq!(lines("A", "one\ntwo"), "export A='one\ntwo'\n");
        assert_eq!(lines("A", "********"), "export A='********'\n");
        assert_eq!(lines("odd-name", "x"), "");
        assert_eq!(lines("1A", "x"), "");
    }
}
