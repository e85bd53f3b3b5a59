//! Which values all output masks.
//!
//! When in doubt a value is masked. The process that receives it always gets the real one.

use alloc::format;
use alloc::string::{String, ToString};

use super::variable_prefix;

/// The text that replaces a secret.
pub const MASK: &str = "********";

/// Whether a variable of this name and value is a secret.
#[must_use]
pub fn variable(name: &str, value: &str) -> bool {
    secret_name(name) || has_password(value)
}

/// Whether an argument is a secret: by its own name (`--api-key=x`, `TOKEN=x`), by the flag
/// before it, or by its value.
#[must_use]
pub fn argument(value: &str, before: Option<&str>) -> bool {
    let own = value.split_once('=').is_some_and(|(name, _)| secret_name(name));
    let named = before
        .is_some_and(|flag| flag.starts_with('-') && !flag.contains('=') && secret_name(flag));
    own || (named && !value.starts_with('-')) || has_password(value)
}

/// Whether the text contains a password or a private key: `scheme://user:password@host`,
/// `password=x` as in a DSN or a query, or a PEM block.
#[must_use]
pub fn has_password(text: &str) -> bool {
    let in_url = text.split("://").skip(1).any(|rest| {
        let authority = &rest[..rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len())];
        let Some((user, _)) = authority.rsplit_once('@') else { return false };
        user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    });
    let separates = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '?' | ',');
    let in_pair = text.split(separates).any(|pair| {
        pair.split_once('=').is_some_and(|(name, value)| {
            !value.is_empty() && name.split(['_', '-']).any(|word| is_any(&PASSWORDS, word))
        })
    });
    in_url || in_pair || text.contains("PRIVATE KEY-----")
}

/// The text of a URL with its password masked.
#[must_use]
pub fn shown_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_string() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{scheme}://{user}:{MASK}@{host}{path}"),
        _ => url.to_string(),
    }
}

/// Words that mean a password.
const PASSWORDS: [&str; 5] = ["PASSWORD", "PASSWD", "PWD", "PASSPHRASE", "PASS"];

/// Other words that make a name a secret's.
const SECRETS: [&str; 17] = [
    "APIKEY",
    "AUTH",
    "AUTHORIZATION",
    "BEARER",
    "COOKIE",
    "COOKIES",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "DSN",
    "JWT",
    "KEY",
    "KEYS",
    "PAT",
    "SECRET",
    "SECRETS",
    "TOKEN",
];

/// Last words of names that hold a place or a setting, whatever precedes them.
const HARMLESS: [&str; 4] = ["DIR", "FILE", "PATH", "TTL"];

/// Whether the name of a variable or flag is a secret's, judged by its words between `_`.
fn secret_name(name: &str) -> bool {
    let name = variable_prefix(name.trim_start_matches('-'));
    let words = || name.split('_');
    if matches!(&*name, "PWD" | "OLDPWD")
        || words().next_back().is_some_and(|w| is_any(&HARMLESS, w))
    {
        return false;
    }
    let is_public = words().any(|word| matches!(word, "PUBLIC" | "PUB"));
    words().any(|word| {
        let has_password = ["PASSWORD", "PASSWD", "PASSPHRASE"].iter().any(|p| word.contains(p));
        let key = matches!(word, "KEY" | "KEYS");
        has_password || is_any(&PASSWORDS, word) || is_any(&SECRETS, word) && !(key && is_public)
    })
}

fn is_any(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_name_make_a_secret() {
        for name in [
            "API_TOKEN",
            "CLIENT_SECRET",
            "PGPASSWORD",
            "AWS_SECRET_ACCESS_KEY",
            "STRIPE_API_KEY",
            "DB_PASS",
            "SECRET_KEY_BASE",
            "SENTRY_DSN",
            "GH_PAT",
            "SESSION_COOKIE",
            "MYSQL_PWD",
            "PASSPHRASE",
            "GOOGLE_CREDENTIALS",
            "BASIC_AUTH",
            "SECRETS",
            "api-key",
        ] {
            assert!(variable(name, "x"), "{name}");
        }
        for name in [
            "BROKEN",
            "RUST_LOG",
            "PUBLIC_KEY",
            "SSH_PUB_KEY",
            "DB_PASSWORD_FILE",
            "KEYBOARD",
            "PATH",
            "PWD",
            "OLDPWD",
            "COMPASS",
            "MONKEY",
            "AUTHOR",
            "TOKEN_TTL",
        ] {
            assert!(!variable(name, "x"), "{name}");
        }
    }

    #[test]
    fn only_the_password_of_a_url_is_masked() {
        for (url, expected) in [
            ("postgres://app:pw@127.0.0.1:5432/x", "postgres://app:********@127.0.0.1:5432/x"),
            ("postgres://app:p@w@host", "postgres://app:********@host"),
            ("postgres://app@host/a@b:c", "postgres://app@host/a@b:c"),
            ("http://127.0.0.1:80", "http://127.0.0.1:80"),
            ("text", "text"),
        ] {
            assert_eq!(shown_url(url), expected);
        }
    }

    #[test]
    fn passwords_in_values_make_a_secret() {
        for value in [
            "postgres://app:pw@localhost/x",
            "host=db password=pw",
            "Server=db;Pwd=pw;",
            "http://h/?ssl_password=pw",
            "-----BEGIN RSA PRIVATE KEY-----\nabc",
        ] {
            assert!(variable("X", value), "{value}");
        }
        for value in ["postgres://app@localhost:5432/x", "password=", "a=b", "bypass=1"] {
            assert!(!variable("X", value), "{value}");
        }
    }

    #[test]
    fn arguments_are_judged_by_name_flag_and_value() {
        assert!(argument("--api-token=x", None) && argument("x", Some("--password")));
        assert!(argument("--key=x", None) && argument("x", Some("--api-key")));
        assert!(argument("TOKEN=x", None) && argument("redis://:pw@localhost", None));
        assert!(!argument("--verbose", Some("--password")) && !argument("x", Some("--port")));
    }
}
