//! The order of the rooms of a crate, read from the paths that its files name.
//!
//! A room is a folder of modules below `src`, or a file directly in it. The rooms directly
//! below `src` have a total order: a file may name its own room and those on lower levels.
//! Rooms inside a room have no order, but no circle either. Parent and child may name each
//! other. Code under `#[cfg(test)]` counts like any other; `main.rs` and `lib.rs` do not, since
//! they only declare the rooms.

use std::collections::{BTreeMap, BTreeSet};

use crate::rules::File;
use crate::source::Source;

/// Levels of rooms, highest first. Rooms of one level do not name each other.
pub(crate) type Order = [&'static [&'static str]];

/// The folder of the core, and the order of its rooms.
pub(crate) const CORE: (&str, &Order) = (
    "xtask/core/src",
    &[
        &["record"],
        &["stack"],
        &["plan"],
        &["graph"],
        &["model"],
        &["manifest"],
        &["snapshot"],
        &["calls", "problem"],
        &["terms"],
        &["sorted"],
    ],
);

/// The folder of the tool, and the order of its rooms. `sample` holds values for unit tests.
pub(crate) const TOOL: (&str, &Order) = (
    "xtask/daily/src",
    &[
        &["cli"],
        &["view", "session"],
        &["supervisor"],
        &["driver"],
        &["effects"],
        &["workspace"],
        &["system"],
        &["sample"],
    ],
);

/// The folder of the rare commands, and the order of its rooms.
pub(crate) const RARE: (&str, &Order) =
    ("xtask/src", &[&["cli"], &["view", "setup"], &["watch", "workspace"], &["sample"]]);

/// A room: its modules from the root of the crate.
type Room = Vec<String>;

/// Which room names which, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    arrows: BTreeMap<(Room, Room), Vec<String>>,
}

impl Graph {
    /// Reads those of the files that are below `src`.
    pub(crate) fn read(src: &str, files: &[File]) -> Self {
        let inside: Vec<(Room, &File)> = files
            .iter()
            .filter_map(|file| {
                let path = file.path.strip_prefix(src)?.strip_prefix('/')?.strip_suffix(".rs")?;
                let parts: Room = path.split('/').map(str::to_owned).collect();
                (!matches!(path, "main" | "lib")).then_some((parts, file))
            })
            .collect();
        let rooms: BTreeSet<Room> = inside
            .iter()
            .flat_map(|(path, _)| (1..path.len().max(2)).map(|depth| path[..depth].to_vec()))
            .collect();
        // Names that no room has stay visible as a room of their own, directly below `src`.
        let room = |path: &[String]| {
            let known = (2..=path.len()).rev().find(|depth| rooms.contains(&path[..*depth]));
            path[..known.unwrap_or(1)].to_vec()
        };
        let mut graph = Self::default();
        for (path, file) in &inside {
            let from = room(path);
            for named in Source::read(&file.text).paths() {
                let full = named.absolute(&file.path);
                let [root, rest @ ..] = full.as_slice() else { continue };
                if root != "crate" || rest.is_empty() {
                    continue;
                }
                let to = room(rest);
                if to != from {
                    let place = format!("{}:{}: `{}`", file.path, named.line, full.join("::"));
                    graph.arrows.entry((from.clone(), to)).or_default().push(place);
                }
            }
        }
        graph
    }

    /// Whether any room names another.
    pub(crate) fn is_empty(&self) -> bool {
        self.arrows.is_empty()
    }

    /// The arrows against the order, each with the places that make it.
    pub(crate) fn against(&self, order: &Order) -> Vec<String> {
        let level = |room: &Room| order.iter().position(|rooms| rooms.contains(&room[0].as_str()));
        let mut wrong = Vec::new();
        for ((from, to), places) in &self.arrows {
            if from[0] == to[0] {
                continue;
            }
            let reason = match (level(from), level(to)) {
                (Some(from), Some(to)) if from < to => continue,
                (Some(_), Some(_)) => "is against the order",
                (None, _) => "starts at a room without a place in the order",
                (_, None) => "ends at a room without a place in the order",
            };
            wrong.push(format!("{} -> {} {reason}:", from.join("::"), to.join("::")));
            wrong.extend(places.iter().map(|place| format!("    {place}")));
        }
        wrong
    }

    /// The circles between rooms that share a parent: for each pair that reaches one another,
    /// the arrows between the two.
    pub(crate) fn circles(&self) -> Vec<String> {
        let mut next: BTreeMap<(&[String], &str), BTreeSet<&str>> = BTreeMap::new();
        for (from, to) in self.arrows.keys() {
            let shared = from.iter().zip(to).take_while(|(from, to)| from == to).count();
            if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
                next.entry((&from[..shared], one)).or_default().insert(other);
            }
        }
        let mut wrong = Vec::new();
        for ((parent, from), named) in &next {
            for to in named {
                let (mut seen, mut open) = (BTreeSet::new(), vec![*to]);
                while let Some(room) = open.pop() {
                    if seen.insert(room) {
                        open.extend(next.get(&(*parent, room)).into_iter().flatten());
                    }
                }
                if seen.contains(from) {
                    let parent = parent.iter().map(|part| format!("{part}::")).collect::<String>();
                    wrong.push(format!("{parent}{from} -> {parent}{to} is part of a circle"));
                }
            }
        }
        wrong
    }
}

impl std::fmt::Display for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for ((from, to), places) in &self.arrows {
            writeln!(f, "{:24} -> {:24} {:4}", from.join("::"), to.join("::"), places.len())?;
        }
        Ok(())
    }
}
