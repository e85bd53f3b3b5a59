//! Which values all output masks.
//!
//! When in doubt a value is masked. The process that receives it always gets the real one.

use super::variable_prefix;

/// The text that replaces a secret.
pub const MASK: &str = "********";

/// Whether a variable of this name and value is a secret.
#[must_use]
pub fn variable(name: &str, value: &str) -> bool {
    secret_name(name) || has_password(value)
}

/// Whether an argument is a secret: by its own name, by the flag before it, or as a
/// URL with a password.
#[must_use]
pub fn argument(value: &str, before: Option<&str>) -> bool {
    let own =
        value.starts_with('-') && value.split_once('=').is_some_and(|(flag, _)| secret_name(flag));
    let named = before
        .is_some_and(|flag| flag.starts_with('-') && !flag.contains('=') && secret_name(flag));
    own || (named && !value.starts_with('-')) || has_password(value)
}

/// Whether the text contains a URL with a password: `scheme://user:password@host`.
#[must_use]
pub fn has_password(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let authority = &rest[..rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len())];
        let Some((user, _)) = authority.rsplit_once('@') else { return false };
        user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    })
}

fn secret_name(name: &str) -> bool {
    let name = variable_prefix(name.trim_start_matches('-'));
    let ends =
        |word: &str| name.strip_suffix(word).is_some_and(|r| r.is_empty() || r.ends_with('_'));
    ends("TOKEN") || ends("SECRET") || name.contains("PASSWORD")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_or_password_in_url_makes_a_secret() {
        assert!(variable("API_TOKEN", "x") && variable("CLIENT_SECRET", "x"));
        assert!(variable("PGPASSWORD", "x") && variable("DB_PASSWORD_FILE", "x"));
        assert!(variable("DATABASE_URL", "postgres://app:pw@localhost/x"));
        assert!(!variable("DATABASE_URL", "postgres://app@localhost:5432/x"));
        assert!(!variable("BROKEN", "x") && !variable("RUST_LOG", "info"));
    }

    #[test]
    fn flag_makes_its_value_a_secret() {
        assert!(argument("--api-token=x", None) && argument("x", Some("--password")));
        assert!(!argument("--verbose", Some("--password")) && !argument("x", Some("--port")));
        assert!(argument("redis://:pw@localhost", None));
    }
}
