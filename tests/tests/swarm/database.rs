//! An image of PostgreSQL from this machine's Debian package: the server, what it reads, and a
//! cluster made here. It has no shell, as nothing is left to do in it.
//!
//! It is for this test alone: everybody is let in, and the data goes with the container.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::engine::Swarm;

/// Who owns everything.
pub(crate) const ROLE: &str = "app";

/// Where Debian has one folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// PostgreSQL refuses to be root.
const NOBODY: u32 = 65534;

/// Makes the image; false, said aloud, where there is no PostgreSQL or the caller is not root.
pub(crate) fn image(swarm: &mut Swarm, folder: &Path, image: &str) -> bool {
    if fs::metadata(folder).unwrap().uid() != 0 {
        println!("SKIPPED: the files of another account, for PostgreSQL, are made by root only");
        return false;
    }
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let found = versions.map(|e| e.path()).filter(|v| v.join("bin/postgres").exists()).max();
    let Some(version) = found else {
        println!("SKIPPED: no PostgreSQL below `{VERSIONS}`: Debian's package is `postgresql`");
        return false;
    };
    let server = version.join("bin/postgres");
    let cluster = cluster(&version, folder);
    let archive = folder.join("image.tar");
    let share = Path::new("/usr/share/postgresql").join(version.file_name().unwrap());
    let mut files = vec![server.clone(), version.join("lib"), share, cluster.clone()];
    files.push("/usr/share/zoneinfo/UTC".into());
    files.extend(libraries(&server));
    let mut tar = Command::new("tar");
    let moved = format!("s,^{},cluster,", relative(&cluster).display());
    tar.args(["--create", "--dereference", "--directory", "/", "--transform", &moved, "--file"]);
    done(tar.arg(&archive).args(files.iter().map(|file| relative(file))), "");

    let words = [&server.to_string_lossy(), "-D", "/cluster", "-c", "listen_addresses=*", "-c"];
    let words = [&words[..], &["unix_socket_directories=", "-c", "jit=off"]].concat();
    let entry = format!("ENTRYPOINT {}", serde_json::json!(words));
    let user = format!("USER {NOBODY}:{NOBODY}");
    swarm.will_remove(image);
    swarm.ask(&["import", "-c", &entry, "-c", &user, archive.to_str().unwrap(), image]);
    true
}

/// A cluster with a database for each service.
fn cluster(version: &Path, folder: &Path) -> PathBuf {
    let cluster = folder.join("cluster");
    fs::create_dir(&cluster).unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    chown(&cluster, Some(NOBODY), Some(NOBODY)).unwrap();
    let program = |name: &str| {
        let mut command = Command::new(version.join("bin").join(name));
        // The zone is written into its settings, and only this one needs no file.
        command.uid(NOBODY).gid(NOBODY).current_dir("/").env("TZ", "GMT");
        command
    };
    let mut make = program("initdb");
    make.args(["--no-sync", "--locale=C", "--encoding=UTF8", "--auth=trust", "-U", ROLE, "-D"]);
    done(make.arg(&cluster), "");
    for database in ["todo", "users"] {
        let mut server = program("postgres");
        server.args(["--single", "-F", "-D"]).arg(&cluster).arg("postgres");
        done(&mut server, &format!("CREATE DATABASE {database}\n"));
    }
    let mut rules = fs::OpenOptions::new().append(true).open(cluster.join("pg_hba.conf")).unwrap();
    writeln!(rules, "host all all all trust").unwrap();
    cluster
}

/// The shared libraries of a program and its loader.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap()
}

#[track_caller]
fn done(command: &mut Command, input: &str) {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
