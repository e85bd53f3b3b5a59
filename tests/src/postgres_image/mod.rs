//! An image of PostgreSQL made from this machine's Debian packages, for tests where no registry
//! is: what a stack sees of it is what it would see of the published image.
//!
//! It is for tests alone: it knows few of that image's variables, and is of this machine's
//! version.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian has one folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// What the entry point calls beside the programs of PostgreSQL.
const TOOLS: [&str; 5] = ["/bin/sh", "/usr/bin/id", "/bin/mkdir", "/bin/chown", "/usr/bin/setpriv"];

const ENTRY: &str = include_str!("entrypoint.sh");

/// The accounts. Everybody may add one, since a container may be run as any.
const ACCOUNTS: &str = "root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/:/bin/sh\n";

/// Makes an image of that name with this engine. False, said aloud, where the packages are not
/// installed.
///
/// # Panics
/// When they are, and there is no image all the same.
#[must_use]
pub fn make(engine: &Path, image: &str) -> bool {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let found = versions.map(|e| e.path()).filter(|v| v.join("bin/postgres").exists()).max();
    let Some(version) = found else {
        xtask_client::harness::skipped("PostgreSQL of Debian's packages");
        return false;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let own = folder.path().join("own");
    write_own(&own);
    let archive = folder.path().join("image.tar");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--dereference", "--owner=0", "--group=0", "--file"]).arg(&archive);
    // Compiled queries would want a compiler of a hundred megabytes.
    tar.args(["--exclude=*llvmjit*", "--exclude=*/bitcode", "--directory", "/"]);
    tar.args(files(&version).iter().map(|file| file.strip_prefix("/").expect("it is absolute")));
    done(tar.arg("--directory").arg(&own).args(["entrypoint.sh", "etc", "tmp"]));

    let path = format!("PATH={}:/usr/bin:/bin", version.join("bin").display());
    // One variable a line: Podman's import takes all that follows for the value of the first.
    let changes = [
        format!("ENV {path}"),
        "ENV PGDATA=/var/lib/postgresql/data".to_owned(),
        "ENV POSTGRES_INITDB_ARGS=".to_owned(),
        "ENTRYPOINT [\"/entrypoint.sh\"]".to_owned(),
    ];
    let before =
        Command::new(engine).args(["image", "inspect", "--format={{.Id}}", image]).output();
    let before = before.expect("the engine can be run");
    let mut import = Command::new(engine);
    import.arg("import").args(changes.iter().flat_map(|change| ["--change", change]));
    done(import.arg(&archive).arg(image));
    if before.status.success() {
        // It has lost its name; where a container runs of it, the engine keeps it.
        let id = String::from_utf8_lossy(&before.stdout);
        Command::new(engine).args(["image", "rm", id.trim()]).output().ok();
    }
    true
}

/// What no package has as it is wanted here.
fn write_own(own: &Path) {
    let write = || -> std::io::Result<()> {
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        fs::create_dir_all(own.join("etc"))?;
        fs::create_dir(own.join("tmp"))?;
        open(&own.join("tmp"), 0o1777)?;
        fs::write(own.join("etc/passwd"), ACCOUNTS)?;
        open(&own.join("etc/passwd"), 0o666)?;
        fs::write(own.join("etc/group"), "root:x:0:\npostgres:x:999:\n")?;
        fs::write(own.join("entrypoint.sh"), ENTRY)?;
        open(&own.join("entrypoint.sh"), 0o755)
    };
    write().unwrap_or_else(|error| panic!("writing in `{}`: {error}", own.display()));
}

/// The files of packages: PostgreSQL's own, the tools, and every library that these load.
fn files(version: &Path) -> BTreeSet<PathBuf> {
    let number = version.file_name().expect("it is named after its number");
    let programs =
        ["postgres", "initdb", "pg_ctl", "psql"].map(|name| version.join("bin").join(name));
    let mut files: BTreeSet<PathBuf> =
        programs.into_iter().chain(TOOLS.map(PathBuf::from)).collect();
    for program in files.clone() {
        let output = Command::new("ldd").arg(&program).output().expect("`ldd` can be run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        files.extend(text.split_whitespace().filter(|w| w.starts_with('/')).map(PathBuf::from));
    }
    files.insert(version.join("lib"));
    files.insert(Path::new("/usr/share/postgresql").join(number));
    files.insert("/usr/share/zoneinfo/UTC".into());
    files
}

#[track_caller]
fn done(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
