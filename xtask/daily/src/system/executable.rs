//! Explains why the system cannot execute a program, and what mends it.
//!
//! The kernel answers with one error number for many causes. This file looks for the cause where
//! the kernel looked: the folder, the mode, the mount, the first bytes of the file.

mod elf;

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags};
use xtask_core::terms::words;

/// As much of a script's first line as the kernel reads, in bytes.
const FIRST_LINE: usize = 256;

/// How many scripts may interpret each other.
const DEPTH: usize = 4;

/// Why a file cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The cause, about the file as "it".
    pub cause: String,
    /// The command or edit that mends it.
    pub edit: String,
    /// Whether the file is only absent, so that a job or another machine may have it.
    pub absent: bool,
}

impl Fault {
    fn new(cause: impl Into<String>, edit: impl Into<String>) -> Self {
        Self { cause: cause.into(), edit: edit.into(), absent: false }
    }

    /// No folder of `PATH` contains a program of this name.
    pub(crate) fn absent(name: &str) -> Self {
        let is_text = name.contains(char::is_whitespace);
        let edit = match is_text {
            true => format!("write `command = {}`", words::command_list(name)),
            false => "install it, or name its path".to_owned(),
        };
        Self { absent: !is_text, ..Self::new("it is in no folder of `PATH`", edit) }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.cause, self.edit)
    }
}

/// Why the program `name` cannot be executed in `cwd`; none if nothing is found. A name without a
/// slash is looked up in `path`.
pub fn fault_of(name: &str, path: Option<&OsStr>, cwd: &Path) -> Option<Fault> {
    if name.contains('/') {
        return inspect(&cwd.join(name).components().collect::<PathBuf>());
    }
    if let Ok(found) = which::which_in(name, path, cwd) {
        return inspect(&found);
    }
    // A file that `PATH` leads to and that cannot be executed is the likely cause.
    let folders = path.map(std::env::split_paths).into_iter().flatten();
    let mut candidates = folders.map(|folder| cwd.join(folder).join(name));
    let unusable = candidates.find(|candidate| candidate.is_file()).and_then(|file| {
        let fault = inspect(&file)?;
        Some(Fault { cause: format!("`{}`: {}", file.display(), fault.cause), ..fault })
    });
    unusable.or_else(|| Some(Fault::absent(name)))
}

/// Why a file cannot be executed; none if nothing is found.
pub(crate) fn inspect(file: &Path) -> Option<Fault> {
    inspect_depth(file, DEPTH)
}

fn inspect_depth(file: &Path, depth: usize) -> Option<Fault> {
    let found = match fs::metadata(file) {
        Ok(found) => found,
        Err(error) => return unreachable_file(file, &error),
    };
    if found.is_dir() {
        return Some(Fault::new("it is a folder", "name the program in it"));
    }
    if !found.is_file() {
        return Some(Fault::new("it is not a regular file", "name a program"));
    }
    let flags = rustix::fs::statvfs(file).map(|mount| mount.f_flag);
    if flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::NOEXEC)) {
        return Some(noexec(file, &found));
    }
    if rustix::fs::access(file, Access::EXEC_OK).is_err() {
        let mode = found.permissions().mode() & 0o7777;
        let cause = format!("its mode {mode:03o} does not allow your user to execute it");
        return Some(Fault::new(cause, format!("run `chmod +x {}`", word(file))));
    }
    let shown = file.display();
    // A program may be executable and not readable.
    let head = head(file)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        return script(file, line, depth);
    }
    if head.starts_with(b"\x7fELF") {
        return elf::fault(file);
    }
    match head.as_slice() {
        [] => Some(Fault::new("it is empty", format!("write a program to `{shown}`"))),
        [0xef, 0xbb, 0xbf, b'#', b'!', ..] => Some(Fault::new(
            "a byte order mark precedes its `#!`",
            format!(
                "save it as UTF-8 without mark: `sed -i '1s/^\\xef\\xbb\\xbf//' {}`",
                word(file)
            ),
        )),
        _ if elf::other_systems_run_here() => None,
        [b'M', b'Z', ..] => Some(built_for("Windows")),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..]
        | [0xfe, 0xed, 0xfa, ..]
        | [0xca, 0xfe, 0xba, 0xbe, ..] => Some(built_for("macOS")),
        text if text.contains(&0) => {
            Some(Fault::new("it is no program of this system", "name a program"))
        }
        _ => Some(Fault::new(
            "its first line names no interpreter",
            format!("add the line `#!/bin/sh`, or write `command = [\"sh\", \"{shown}\"]`"),
        )),
    }
}

/// A path as a word of a shell command.
fn word(path: &Path) -> String {
    words::shell_word(&path.to_string_lossy()).into_owned()
}

fn built_for(system: &str) -> Fault {
    Fault::new(format!("it is a program for {system}"), "build it for this system")
}

/// The first bytes of a file; none if it cannot be read.
fn head(file: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    File::open(file).ok()?.take(FIRST_LINE as u64).read_to_end(&mut head).ok()?;
    Some(head)
}

/// Why a path leads to no file.
fn unreachable_file(file: &Path, error: &io::Error) -> Option<Fault> {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let target = fs::read_link(file).ok();
            let cause = match target {
                Some(target) => format!("it is a link to `{}`, which is missing", target.display()),
                None => "it does not exist".to_owned(),
            };
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let is_text = name.contains(char::is_whitespace);
            let edit = match is_text {
                true => "write each argument as a text of its own in the list",
                false => "create it, or correct the path",
            };
            Some(Fault { absent: !is_text, ..Fault::new(cause, edit) })
        }
        io::ErrorKind::NotADirectory => {
            Some(Fault::new("a file is where its path has a folder", "correct the path"))
        }
        io::ErrorKind::PermissionDenied => {
            let closed = closed_folder(file)?;
            let cause = format!("your user cannot enter the folder `{}`", closed.display());
            Some(Fault::new(cause, format!("run `chmod +x {}` as its owner", word(closed))))
        }
        _ => None,
    }
}

/// The first folder on the way to a file that this user cannot enter.
fn closed_folder(file: &Path) -> Option<&Path> {
    let folders: Vec<&Path> = file.ancestors().skip(1).collect();
    let mut folders = folders.into_iter().rev().filter(|folder| !folder.as_os_str().is_empty());
    folders.find(|folder| rustix::fs::access(*folder, Access::EXEC_OK).is_err())
}

/// A file on a file system from which nothing may be executed.
fn noexec(file: &Path, found: &Metadata) -> Fault {
    let mount = file
        .ancestors()
        .skip(1)
        .take_while(|folder| fs::metadata(folder).is_ok_and(|folder| folder.dev() == found.dev()));
    let mount = mount.last().unwrap_or(file).display();
    Fault::new(
        format!("the file system at `{mount}` is mounted with `noexec`"),
        "set `XTASK_STATE_DIR` or `CARGO_TARGET_DIR` to a folder of another file system, or \
         mount it with `exec`",
    )
}

/// Why the kernel cannot start the interpreter of a script; `line` is what follows `#!`.
fn script(file: &Path, line: &[u8], depth: usize) -> Option<Fault> {
    let shown = file.display();
    let end = line.iter().position(|&byte| byte == b'\n').unwrap_or(line.len());
    let line = &line[..end];
    if line.ends_with(b"\r") {
        return Some(Fault::new(
            "its first line ends with CR LF, and the system takes the CR as a part of the \
             interpreter's name",
            format!("run `sed -i 's/\\r$//' {}`", word(file)),
        ));
    }
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let Some(name) = words.next().map(|name| Path::new(OsStr::from_bytes(name))) else {
        return Some(Fault::new(
            "its first line names no interpreter after `#!`",
            format!("write `#!/bin/sh` into the first line of `{shown}`"),
        ));
    };
    let fault = match depth.checked_sub(1) {
        None => Fault::new("too many scripts interpret each other", "name a program after `#!`"),
        Some(depth) => inspect_depth(name, depth)?,
    };
    let name = name.display();
    if fault.absent {
        return Some(Fault::new(
            format!("its first line names the interpreter `{name}`, which does not exist"),
            format!("install it, or correct the first line of `{shown}`"),
        ));
    }
    let cause = format!("its interpreter `{name}` cannot be executed: {}", fault.cause);
    Some(Fault { cause, ..fault })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &tempfile::TempDir, name: &str, mode: u32, content: &[u8]) -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn each_unusable_file_has_a_cause_and_an_edit() {
        let folder = tempfile::tempdir().unwrap();
        let bad = b"#!/bin/none\n";
        file(&folder, "bad", 0o755, bad);
        let nested = format!("#!{}\n", folder.path().join("bad").display());
        let mode = b"#!/bin/sh\n";
        for (name, mode, content, cause, edit) in [
            ("mode", 0o644, &mode[..], "mode 644", "chmod +x"),
            ("crlf", 0o755, b"#!/bin/sh\r\necho\r\n", "CR LF", "sed -i"),
            ("env", 0o755, b"#!/usr/bin/env sh\r\n", "CR LF", "sed -i"),
            ("plain", 0o755, b"echo hello\n", "names no interpreter", "#!/bin/sh"),
            ("unnamed", 0o755, b"#! \n", "no interpreter after", "#!/bin/sh"),
            ("missing", 0o755, bad, "`/bin/none`, which does not exist", "install"),
            ("nested", 0o755, nested.as_bytes(), "cannot be executed: its first line", "install"),
            ("mark", 0o755, b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark", "sed -i"),
            ("empty", 0o755, b"", "it is empty", "write a program"),
        ] {
            let path = file(&folder, name, mode, content);
            let fault = inspect(&path).unwrap_or_else(|| panic!("{name}"));
            assert!(fault.cause.contains(cause), "{name}: {fault}");
            assert!(fault.edit.contains(edit), "{name}: {fault}");
            assert!(!fault.absent, "{name}: {fault}");
        }
        assert!(inspect(folder.path()).unwrap().cause.contains("folder"));
        assert!(inspect(&folder.path().join("none")).unwrap().absent);
        assert!(inspect(&file(&folder, "ok", 0o755, b"#!/bin/sh\n")).is_none());
        let own = std::env::current_exe().unwrap();
        assert_eq!(inspect(&own), None);
    }

    #[test]
    fn path_in_an_edit_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, content) in [(0o644, &b"#!/bin/sh\n"[..]), (0o755, b"#!/bin/sh\r\n")] {
            let path = file(&folder, "it's a tool", mode, content);
            let edit = inspect(&path).unwrap().edit;
            assert!(edit.ends_with(r"/it'\''s a tool'`"), "{edit}");
        }
    }

    #[test]
    fn program_is_looked_up_as_a_start_does() {
        let folder = tempfile::tempdir().unwrap();
        file(&folder, "tool", 0o644, b"#!/bin/sh\n");
        let path = Some(folder.path().as_os_str());
        let cwd = folder.path();
        let fault = |name: &str| fault_of(name, path, cwd).unwrap();
        assert!(fault("tool").to_string().contains("chmod +x"), "{}", fault("tool"));
        assert!(fault("./tool").cause.contains("mode 644"));
        assert!(fault("other").absent);
        assert_eq!(fault("sleep 600").edit, r#"write `command = ["sleep", "600"]`"#);
        assert!(fault("./tool --x").edit.contains("text of its own"));
        file(&folder, "good", 0o755, b"#!/bin/sh\n");
        assert_eq!(fault_of("good", path, cwd), None);
    }
}
