//! `signing-key`: a job that makes the key for signed tokens, before the services that use it.
//!
//! The key is random, and only the owner of the file can read it. An existing key is kept, because
//! a new one would make all tokens invalid. The key is never printed.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kit::auth::random_secret;
use kit::service::{self, Fatal};
use kit::{Settings, settings::SettingError};

/// The key file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write `{}`, which `SIGNING_KEY_FILE` names", path.display())]
struct KeyError {
    path: PathBuf,
    source: io::Error,
}

fn main() -> ExitCode {
    service::run_job("signing-key", run)
}

async fn run(settings: Settings) -> Result<(), Fatal> {
    println!("{}", ensure(&settings)?);
    Ok(())
}

/// Makes the key unless it exists, and describes what was done.
fn ensure(settings: &Settings) -> Result<String, Fatal> {
    let path = match settings.text("SIGNING_KEY") {
        Ok(Some(_)) => return Ok("the signing key is set already".to_owned()),
        Err(SettingError::Unreadable { path, source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            path
        }
        Err(error) => return Err(error.into()),
        // Unset, or an empty file.
        Ok(None) => {
            let path = settings.required("SIGNING_KEY_FILE", "the path of a file", "/tmp/key")?;
            fs::remove_file(&path).map_err(|source| failed(Path::new(&path), source))?;
            path.into()
        }
    };
    write(&path, &random_secret()?).map_err(|source| failed(&path, source))?;
    Ok(format!("made the signing key `{}`", path.display()))
}

/// Writes a new file that appears complete or not at all, and never replaces one.
fn write(path: &Path, key: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let written = writeln!(file, "{key}").and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&unfinished, path));
    fs::remove_file(&unfinished)?;
    linked?;
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, source: io::Error) -> Fatal {
    KeyError { path: path.to_owned(), source }.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn settings(path: &Path) -> Settings {
        Settings::from_pairs([("SIGNING_KEY_FILE", path.to_str().unwrap())])
    }

    #[test]
    fn key_is_private_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/signing-key");
        let said = ensure(&settings(&path)).unwrap();
        let key = fs::read_to_string(&path).unwrap();
        assert!(key.trim().len() == 64 && !said.contains(key.trim()), "{said}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        ensure(&settings(&path)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), key);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn empty_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing-key");
        fs::write(&path, "").unwrap();
        ensure(&settings(&path)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().trim().len(), 64);
    }

    #[test]
    fn key_in_the_environment_needs_no_file() {
        let settings = Settings::from_pairs([("SIGNING_KEY", "given")]);
        assert_eq!(ensure(&settings).unwrap(), "the signing key is set already");
    }

    #[test]
    fn unusable_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = ensure(&settings(&file.join("signing-key"))).unwrap_err().to_string();
        assert!(error.contains("SIGNING_KEY_FILE"), "{error}");
    }
}
