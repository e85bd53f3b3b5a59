//! Reads the head of an ELF file: for which machine it is, and which loader it needs.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind};

use super::{Fault, inspect};

/// The most bytes that are read. The head, and what it points to, is at the begin of a program.
const READ_BYTES: u64 = 64 * 1024;

/// Machines, by their number in the head.
const MACHINES: &[(u16, &str)] = &[
    (elf::EM_386, "x86"),
    (elf::EM_MIPS, "mips"),
    (elf::EM_PPC, "powerpc"),
    (elf::EM_PPC64, "powerpc64"),
    (elf::EM_S390, "s390x"),
    (elf::EM_ARM, "arm"),
    (elf::EM_X86_64, "x86_64"),
    (elf::EM_AARCH64, "aarch64"),
    (elf::EM_RISCV, "riscv"),
    (elf::EM_LOONGARCH, "loongarch64"),
];

/// What the head of a program states.
pub(crate) struct Head {
    kind: u16,
    machine: u16,
    /// The loader that the system starts first; none for a static program.
    pub(crate) loader: Option<PathBuf>,
}

impl Head {
    /// The head of an ELF file; none for other bytes.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        match FileKind::parse(bytes).ok()? {
            FileKind::Elf64 => Self::parse::<FileHeader64<Endianness>>(bytes),
            FileKind::Elf32 => Self::parse::<FileHeader32<Endianness>>(bytes),
            _ => None,
        }
    }

    fn parse<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<Self> {
        let header = H::parse(bytes).ok()?;
        let endian = header.endian().ok()?;
        let (kind, machine) = (header.e_type(endian), header.e_machine(endian));
        let mut loader = None;
        for segment in header.program_headers(endian, bytes).ok()? {
            if let Some(path) = segment.interpreter(endian, bytes).ok()? {
                loader = Some(PathBuf::from(std::str::from_utf8(path).ok()?));
                break;
            }
        }
        Some(Self { kind, machine, loader })
    }

    fn read(path: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        File::open(path).ok()?.take(READ_BYTES).read_to_end(&mut bytes).ok()?;
        Self::of(&bytes)
    }
}

/// Why this machine cannot execute an ELF file; none if nothing is found.
pub(super) fn fault(path: &Path) -> Option<Fault> {
    let head = Head::read(path)?;
    // A program that can be loaded anywhere has the type of a library.
    if !matches!(head.kind, elf::ET_EXEC | elf::ET_DYN) {
        let cause = "it is an object file, which is not linked to a program";
        return Some(Fault::new(cause, "name the linked program"));
    }
    let own = Head::read(Path::new("/proc/self/exe"));
    if let Some(own) = own.filter(|own| own.machine != head.machine)
        // A 64-bit x86 system usually runs 32-bit programs.
        && (own.machine, head.machine) != (elf::EM_X86_64, elf::EM_386)
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
    let loader = head.loader?;
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

    use super::*;

    /// The begin of this program with other bytes at an offset.
    fn changed(folder: &Path, at: usize, bytes: &[u8]) -> PathBuf {
        let mut program = fs::read("/proc/self/exe").unwrap();
        program.truncate(usize::try_from(READ_BYTES).unwrap());
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
        let object = inspect(&changed(folder.path(), 16, &elf::ET_REL.to_ne_bytes())).unwrap();
        assert!(object.cause.contains("object file"), "{object}");
        if !other_systems_run_here() {
            let other = elf::EM_S390.to_ne_bytes();
            let foreign = inspect(&changed(folder.path(), 18, &other)).unwrap();
            assert!(foreign.cause.contains("it is built for s390x"), "{foreign}");
        }
        let own = Head::read(Path::new("/proc/self/exe")).unwrap();
        let Some(loader) = own.loader else { return };
        let program = fs::read("/proc/self/exe").unwrap();
        let at = memchr::memmem::find(&program, loader.as_os_str().as_bytes()).unwrap();
        let missing = inspect(&changed(folder.path(), at, b"/none")).unwrap();
        assert!(missing.cause.contains("its loader `/none"), "{missing}");
    }
}
