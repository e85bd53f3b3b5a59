//! Joins paths as text.
//!
//! It does not read the file system: `..` is folded as text, and links are not followed.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// `path` seen from `folder`, `.` and `..` folded.
pub(crate) fn join(folder: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_string() } else { format!("{folder}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `path` relative to `root` where it lies below it.
pub(crate) fn relative(root: &str, path: &str) -> String {
    let below = path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/'));
    below.unwrap_or(path).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_path_starts_from_the_folder() {
        assert_eq!(join("/a/b", "."), "/a/b");
        assert_eq!(join("/a/b", "../c/./d"), "/a/c/d");
        assert_eq!(join("/a/b", "/c"), "/c");
        assert_eq!(join("/a", "../../.."), "/");
        assert_eq!(relative("/a", "/a/b/c"), "b/c");
        assert_eq!(relative("/a", "/ab/c"), "/ab/c");
    }
}
