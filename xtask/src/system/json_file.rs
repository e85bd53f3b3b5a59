//! Files of JSON that whoever reads them never sees half of, also when their writer is killed or
//! the disk is full.

use std::io;
use std::path::Path;

use serde::Serialize;

/// Writes a file of JSON, or leaves the one that is there as it was: the new one is written
/// beside it and renamed into its place.
///
/// # Errors
/// What the system says.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let fresh = path.with_added_extension("new");
    std::fs::write(&fresh, serde_json::to_vec(value)?)?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_anew_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("note.json");
        write_json(&path, &"first").unwrap();
        write_json(&path, &"second").unwrap();
        // Nothing can be written in the place of a folder.
        std::fs::create_dir(folder.path().join("note.json.new")).unwrap();
        write_json(&path, &"third").unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"second\"");
    }
}
