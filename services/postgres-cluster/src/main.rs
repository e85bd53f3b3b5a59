//! `postgres-cluster`: makes a PostgreSQL cluster with its databases, and serves it.
//!
//! What serves is PostgreSQL's own program: it takes this one's place, so signals, groups and
//! its end are its own. This program waits for nothing and restarts nothing.

use std::error::Error;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use postgres_cluster::Cluster;
use postgres_cluster::cluster::{Durability, Made};

const USAGE: &str = "usage: `postgres-cluster make FOLDER DATABASE...`, or \
     `HOST=127.0.0.1 PORT=5432 postgres-cluster serve FOLDER`";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["make", folder, ref databases @ ..] => make(folder, databases),
        ["serve", folder] => serve(folder),
        _ => {
            eprintln!("postgres-cluster: it is not clear what to do\nhint: {USAGE}");
            return ExitCode::from(2);
        }
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    eprintln!("postgres-cluster: {text}");
    ExitCode::FAILURE
}

fn make(folder: &str, databases: &[&str]) -> Result<(), Box<dyn Error>> {
    match Cluster::at(folder)?.make(databases, Durability::Synced)? {
        Made::Cluster { version } => {
            println!("a cluster of PostgreSQL {version} was made in {folder}");
        }
        Made::Databases(names) => println!("the databases {} were made", names.join(", ")),
        Made::Nothing => println!("the cluster was made before, nothing to do"),
    }
    Ok(())
}

fn serve(folder: &str) -> Result<(), Box<dyn Error>> {
    let setting =
        |name: &str| std::env::var(name).map_err(|_| format!("`{name}` is not set\nhint: {USAGE}"));
    let port = setting("PORT")?;
    let port = port.parse().map_err(|_| format!("`PORT` is `{port}`, expected a port"))?;
    let mut server = Cluster::at(folder)?.serve(&setting("HOST")?, port)?;
    // It comes back only when that failed.
    let error = server.exec();
    Err(format!("starting `{}`: {error}", server.get_program().display()).into())
}
