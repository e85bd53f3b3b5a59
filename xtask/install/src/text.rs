//! Reads and writes text files whole, and keeps how their lines end.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::Error;

/// The text of a file; `None` if it does not exist.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// Writes a file and creates its folder. With `None` it deletes the file, and its folder if that
/// is empty then.
pub(crate) fn write(path: &Path, text: Option<&[u8]>) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    let Some(text) = text else {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("delete", path)(error));
            }
            _ => {}
        }
        let _ = fs::remove_dir(folder);
        return Ok(());
    };
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    fs::write(path, text).map_err(Error::file("write", path))
}

/// A hash of a file's content, as hexadecimal digits.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An edit of a text with `\n`, applied to one that may have `\r\n`.
pub(crate) fn with_line_ends<E>(
    text: &str,
    edit: impl FnOnce(&str) -> Result<String, E>,
) -> Result<String, E> {
    match text.contains("\r\n") {
        true => Ok(edit(&text.replace("\r\n", "\n"))?.replace('\n', "\r\n")),
        false => edit(text),
    }
}
