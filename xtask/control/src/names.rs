//! The names of stacks and workspaces, as they appear in the paths of their files.

use std::path::Path;

/// Why a text cannot be the name of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StackNameError {
    /// Empty, or too long for the name of a folder.
    #[error("the name of a stack has 1 to 64 characters")]
    Length,
    /// A character that is not allowed, or not at the start.
    #[error(
        "the name of a stack consists of letters, digits, `-`, `_` and `.`, and starts with a \
         letter or digit"
    )]
    Characters,
}

/// Checks that a text can be the name of a stack, which is also the name of a folder.
///
/// # Errors
/// When it is empty, longer than 64 bytes, or contains a character that is not allowed.
pub fn check_stack_name(text: &str) -> Result<(), StackNameError> {
    let letters = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if text.is_empty() || text.len() > 64 {
        Err(StackNameError::Length)
    } else if !letters || text.starts_with(['.', '-']) {
        Err(StackNameError::Characters)
    } else {
        Ok(())
    }
}

/// A short name of a workspace, unique on this machine: the name of its folder and a hash of its
/// path.
pub fn workspace_name(root: &Path) -> String {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    let name: String = root
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .take(40)
        .collect();
    let name = if name.is_empty() { "root" } else { &name };
    format!("{name}-{}", short_hash(&root))
}

/// Twelve hexadecimal digits of the path's FNV-1a hash. It is the same in every build of the tool,
/// which the standard library's hashers do not guarantee.
pub(crate) fn short_hash(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:012x}", hash & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspace_name_has_folder_and_differs_by_path() {
        let shop = workspace_name(Path::new("/a/shop"));
        assert!(shop.starts_with("shop-"), "{shop}");
        assert_ne!(shop, workspace_name(Path::new("/b/shop")));
        assert_eq!(shop, workspace_name(Path::new("/a/shop")));
        assert!(workspace_name(Path::new("/a/b c")).starts_with("b_c-"));
    }

    #[test]
    fn stack_name_is_a_plain_folder_name() {
        for good in ["dev", "e2e-1", "a.b_c"] {
            assert!(check_stack_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "-x", "ä", &"x".repeat(65)] {
            assert!(check_stack_name(bad).is_err(), "{bad}");
        }
    }
}
