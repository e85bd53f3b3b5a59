//! Why this machine cannot execute an ELF file: its kind, its machine, or its loader.

use std::fs;
use std::path::Path;

use super::{Fault, inspect};
use crate::system::elf::{Elf, PROGRAM, SHARED};

const X86: u16 = 3;
const X86_64: u16 = 62;

/// Machines, by their number in the head.
const MACHINES: &[(u16, &str)] = &[
    (X86, "x86"),
    (8, "mips"),
    (20, "powerpc"),
    (21, "powerpc64"),
    (22, "s390x"),
    (40, "arm"),
    (X86_64, "x86_64"),
    (183, "aarch64"),
    (243, "riscv"),
    (258, "loongarch64"),
];

/// Why this machine cannot execute an ELF file; none if nothing is found.
pub(super) fn fault(path: &Path) -> Option<Fault> {
    let head = Elf::open(path)?;
    // A program that can be loaded anywhere has the type of a library.
    if !matches!(head.kind, PROGRAM | SHARED) {
        let cause = "it is an object file, which is not linked to a program";
        return Some(Fault::new(cause, "name the linked program"));
    }
    let own = Elf::open(Path::new("/proc/self/exe"));
    if let Some(own) = own.filter(|own| own.machine != head.machine)
        // A 64-bit x86 system usually runs 32-bit programs.
        && (own.machine, head.machine) != (X86_64, X86)
        && !other_systems_run_here()
    {
        let name = |machine: u16| {
            let known = MACHINES.iter().find(|(number, _)| *number == machine);
            known.map_or_else(|| format!("machine {machine}"), |(_, name)| (*name).to_owned())
        };
        let (built, here) = (name(head.machine), name(own.machine));
        let cause = format!("it is built for {built}, and this machine is {here}");
        return Some(Fault::new(cause, format!("build or install it for {here}")));
    }
    let loader = head.loader()?;
    let fault = inspect(&loader)?;
    let cause = if fault.absent { "does not exist" } else { "cannot be executed" };
    Some(Fault::new(
        format!("its loader `{}` {cause}", loader.display()),
        "install the C library that it is built for, or build it for this system",
    ))
}

/// Whether the system runs programs of other systems through an emulator.
pub(super) fn other_systems_run_here() -> bool {
    let entries = fs::read_dir("/proc/sys/fs/binfmt_misc").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name != "register" && name != "status")
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// The begin of this program with other bytes at an offset.
    fn changed(folder: &Path, at: usize, bytes: &[u8]) -> PathBuf {
        let mut program = fs::read("/proc/self/exe").unwrap();
        program.truncate(64 * 1024);
        program[at..at + bytes.len()].copy_from_slice(bytes);
        let path = folder.join(format!("at-{at}"));
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn foreign_machine_missing_loader_and_object_file_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let object = inspect(&changed(folder.path(), 16, &1_u16.to_ne_bytes())).unwrap();
        assert!(object.cause.contains("object file"), "{object}");
        if !other_systems_run_here() {
            let other = 22_u16.to_ne_bytes();
            let foreign = inspect(&changed(folder.path(), 18, &other)).unwrap();
            assert!(foreign.cause.contains("it is built for s390x"), "{foreign}");
        }
        let own = Elf::open(Path::new("/proc/self/exe")).unwrap();
        let Some(loader) = own.loader() else { return };
        let program = fs::read("/proc/self/exe").unwrap();
        let at = memchr::memmem::find(&program, loader.as_os_str().as_bytes()).unwrap();
        let missing = inspect(&changed(folder.path(), at, b"/none")).unwrap();
        assert!(missing.cause.contains("its loader `/none"), "{missing}");
    }
}
