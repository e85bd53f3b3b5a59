//! Finds the shared libraries of the build that a program needs.
//!
//! It reads the lists of needed libraries in the files and runs no loader. Libraries that a program
//! opens by name at run time are not found.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use object::elf::{DT_NEEDED, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader};
use object::{Endianness, FileKind, ReadCache, ReadRef};
use xtask_core::stack::LinkedProgram;

/// The libraries in the program's search path that it or one of them needs, by name.
pub(crate) fn of_build(program: &LinkedProgram) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut unread = vec![PathBuf::from(&program.path)];
    while let Some(file) = unread.pop() {
        for name in needed(&file).unwrap_or_default() {
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

/// The names of the libraries that a file needs; none if it is no ELF file.
fn needed(path: &Path) -> Option<Vec<String>> {
    // Reads only what is asked for: a program has tens of megabytes.
    let cache = ReadCache::new(File::open(path).ok()?);
    match FileKind::parse(&cache).ok()? {
        FileKind::Elf64 => names::<FileHeader64<Endianness>, _>(&cache),
        FileKind::Elf32 => names::<FileHeader32<Endianness>, _>(&cache),
        _ => None,
    }
}

fn names<'a, H, R>(data: R) -> Option<Vec<String>>
where
    H: FileHeader<Endian = Endianness>,
    R: ReadRef<'a>,
{
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, data).ok()?;
    let (entries, strings) = sections.dynamic(endian, data).ok()??;
    let strings = sections.strings(endian, data, strings).ok()?;
    let needed = entries.iter().filter(|entry| entry.tag32(endian) == Some(DT_NEEDED));
    let name = |entry: &H::Dyn| strings.get(entry.val32(endian)?).ok();
    let names = needed.filter_map(name).map(|name| String::from_utf8_lossy(name).into_owned());
    Some(names.collect())
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
