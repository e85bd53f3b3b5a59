//! Finds the shared libraries of the build that a program needs.
//!
//! It reads the lists of needed libraries in the files and runs no loader. Libraries that a program
//! opens by name at run time are not found.

use std::path::{Path, PathBuf};
use xtask_core::sorted::SortedMap;

use xtask_core::stack::LinkedProgram;

use crate::system::elf::Elf;

/// The libraries in the program's search path that it or one of them needs, by name.
pub(crate) fn of_build(program: &LinkedProgram) -> SortedMap<String, PathBuf> {
    let mut found = SortedMap::new();
    let mut unread = vec![PathBuf::from(&program.path)];
    while let Some(file) = unread.pop() {
        let needed = Elf::open(&file).and_then(|elf| elf.needed());
        for name in needed.unwrap_or_default() {
            let mut places = program.library_path.iter().map(|place| Path::new(place).join(&name));
            let place = places.find(|place| !found.contains_key(&name) && place.is_file());
            if let Some(place) = place {
                unread.push(place.clone());
                found.insert(name, place);
            }
        }
    }
    found
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn libraries_of_libraries_are_found_in_the_search_path() {
        let folder = tempfile::tempdir().unwrap();
        let text = |path: &str, text: &str| fs::write(folder.path().join(path), text).unwrap();
        let compile = |arguments: &str| {
            let mut compile = Command::new("cc");
            let status = compile.args(arguments.split(' ')).current_dir(folder.path()).status();
            assert!(status.unwrap().success(), "cc {arguments}");
        };
        text("inner.c", "int inner(void) { return 9; }");
        text("outer.c", "int inner(void); int outer(void) { return inner(); }");
        text("main.c", "int outer(void); int main(void) { return outer(); }");
        compile("-shared -fPIC -o libinner.so inner.c");
        compile("-shared -fPIC -o libouter.so outer.c -L. -linner");
        compile("-o tool main.c -L. -louter -Wl,--unresolved-symbols=ignore-all");
        let path = folder.path().join("tool").display().to_string();
        let library_path = vec!["/no/such".to_owned(), folder.path().display().to_string()];
        let found = of_build(&LinkedProgram { path: path.clone(), library_path });
        let found: Vec<_> = found.into_iter().collect();
        let place = |name: &str| (name.to_owned(), folder.path().join(name));
        assert_eq!(found, [place("libinner.so"), place("libouter.so")]);
        assert!(of_build(&path.into()).is_empty(), "libraries of the system");
    }
}
