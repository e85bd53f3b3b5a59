//! `postgres-cluster`: creates a PostgreSQL cluster with its databases, and serves it.
//!
//! To serve, this process replaces itself with `postgres`, which then receives the signals. This
//! program restarts nothing.

use std::error::Error;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use postgres_cluster::Cluster;
use postgres_cluster::cluster::{Created, Durability};

const USAGE: &str = "usage: `[APP_PASSWORD=...] postgres-cluster make FOLDER [DATABASE...]`, or \
     `HOST=127.0.0.1 PORT=5432 postgres-cluster serve FOLDER`";

/// The databases of this workspace, one a line: those that are created if none is named.
const DATABASES: &str = include_str!("../image/databases");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["make", folder] => create(folder, &DATABASES.lines().collect::<Vec<_>>()),
        ["make", folder, ref databases @ ..] => create(folder, databases),
        ["serve", folder] => serve(folder),
        _ => {
            eprintln!("postgres-cluster: unknown arguments\nhint: {USAGE}");
            return ExitCode::from(2);
        }
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    let causes = std::iter::successors(Some(&*error), |error| (**error).source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    eprintln!("postgres-cluster: {text}");
    ExitCode::FAILURE
}

fn create(folder: &str, databases: &[&str]) -> Result<(), Box<dyn Error>> {
    let password = std::env::var("APP_PASSWORD").ok().filter(|password| !password.is_empty());
    let cluster = Cluster::at(folder)?;
    match cluster.create(databases, password.as_deref(), Durability::Synced)? {
        Created::Cluster { version } => {
            println!("created a cluster of PostgreSQL {version} in {folder}");
        }
        Created::Databases(names) => println!("created the databases {}", names.join(", ")),
        Created::Nothing => println!("the cluster is complete"),
    }
    Ok(())
}

fn serve(folder: &str) -> Result<(), Box<dyn Error>> {
    let setting =
        |name: &str| std::env::var(name).map_err(|_| format!("`{name}` is not set\nhint: {USAGE}"));
    let port = setting("PORT")?;
    let port = port.parse().map_err(|_| format!("`PORT` is `{port}`, expected a port"))?;
    let mut server = Cluster::at(folder)?.serve(&setting("HOST")?, port)?;
    // `exec` returns only when it fails.
    let error = server.exec();
    Err(format!("failed to start `{}`: {error}", server.get_program().display()).into())
}
