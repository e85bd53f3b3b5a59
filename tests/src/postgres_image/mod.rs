//! A PostgreSQL image made from the installed Debian packages, for tests without a registry. To a
//! stack it behaves like the published image.
//!
//! It supports only the variables that the tests use, and has the version of this machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of Debian's packages, with one subfolder per version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The programs that the entry point runs, other than PostgreSQL's.
const TOOLS: [&str; 5] = ["/bin/sh", "/usr/bin/id", "/bin/mkdir", "/bin/chown", "/usr/bin/setpriv"];

const ENTRY: &str = include_str!("entrypoint.sh");

/// The accounts. The file is writable, because a container may run as an unknown user and adds it.
const ACCOUNTS: &str = "root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/:/bin/sh\n";

/// Creates an image of that name. Without the Debian packages it returns false and reports the test
/// as skipped.
///
/// # Panics
/// When the packages are installed but the image cannot be created.
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
    // The JIT compiler would add a hundred megabytes.
    tar.args(["--exclude=*llvmjit*", "--exclude=*/bitcode", "--directory", "/"]);
    tar.args(files(&version).iter().map(|file| file.strip_prefix("/").expect("an absolute path")));
    run(tar.arg("--directory").arg(&own).args(["entrypoint.sh", "etc", "tmp"]));

    let path = format!("PATH={}:/usr/bin:/bin", version.join("bin").display());
    // One variable per line: Podman's import reads the rest of a line as the value of the first.
    let changes = [
        format!("ENV {path}"),
        "ENV PGDATA=/var/lib/postgresql/data".to_owned(),
        "ENV POSTGRES_INITDB_ARGS=".to_owned(),
        "ENTRYPOINT [\"/entrypoint.sh\"]".to_owned(),
    ];
    let before =
        Command::new(engine).args(["image", "inspect", "--format={{.Id}}", image]).output();
    let before = before.expect("the engine starts");
    let mut import = Command::new(engine);
    import.arg("import").args(changes.iter().flat_map(|change| ["--change", change]));
    run(import.arg(&archive).arg(image));
    if before.status.success() {
        // The old image has lost its name. The engine keeps it while a container uses it.
        let id = String::from_utf8_lossy(&before.stdout);
        Command::new(engine).args(["image", "rm", id.trim()]).output().ok();
    }
    true
}

/// The files that come from no package.
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
    write().unwrap_or_else(|error| panic!("failed to write to `{}`: {error}", own.display()));
}

/// The files from packages: PostgreSQL, the tools, and the libraries that they load.
fn files(version: &Path) -> BTreeSet<PathBuf> {
    let number = version.file_name().expect("a folder named after the version");
    let programs =
        ["postgres", "initdb", "pg_ctl", "psql"].map(|name| version.join("bin").join(name));
    let mut files: BTreeSet<PathBuf> =
        programs.into_iter().chain(TOOLS.map(PathBuf::from)).collect();
    for program in files.clone() {
        let output = Command::new("ldd").arg(&program).output().expect("`ldd` starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        files.extend(text.split_whitespace().filter(|w| w.starts_with('/')).map(PathBuf::from));
    }
    files.insert(version.join("lib"));
    files.insert(Path::new("/usr/share/postgresql").join(number));
    files.insert("/usr/share/zoneinfo/UTC".into());
    files
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
