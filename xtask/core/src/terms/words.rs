//! The list of words that a text was probably meant to be, as TOML.
//!
//! Programs and arguments are lists, because no shell splits them. It is only a proposal for
//! a message, so it knows quotes and operators of a shell but does not interpret them.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Characters that only a shell interprets; `$` is one unless it begins a reference.
const SHELL: &[char] =
    &['"', '\'', '\\', '`', '|', '&', ';', '<', '>', '(', ')', '*', '?', '#', '~', '\n'];

/// A command as a list: its words, or a call of the shell if the text needs one.
#[must_use]
pub fn command_list(text: &str) -> String {
    let assigns = text.split_whitespace().next().is_some_and(|word| word.contains('='));
    if needs_shell(text) || assigns { list(["sh", "-c", text]) } else { word_list(text) }
}

/// A text as the list of its words, or of itself if a shell would have split it otherwise.
#[must_use]
pub fn word_list(text: &str) -> String {
    match needs_shell(text) || text.trim().is_empty() {
        true => list([text]),
        false => list(text.split_whitespace()),
    }
}

/// One word of a command, quoted for a shell if needed.
#[must_use]
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_=:/.,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(format!("'{}'", word.replace('\'', "'\\''"))),
    }
}

fn needs_shell(text: &str) -> bool {
    let dollars = text.replace("${", "").replace("$$", "");
    text.contains(SHELL) || dollars.contains('$')
}

fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_words_or_a_shell_call() {
        for (text, command, words) in [
            ("sleep 600", r#"["sleep", "600"]"#, r#"["sleep", "600"]"#),
            ("app --port ${self.port}", r#"["app", "--port", "${self.port}"]"#, ""),
            ("a | b", r#"["sh", "-c", "a | b"]"#, r#"["a | b"]"#),
            ("echo \"x\"", r#"["sh", "-c", "echo \"x\""]"#, r#"["echo \"x\""]"#),
            ("A=1 app", r#"["sh", "-c", "A=1 app"]"#, r#"["A=1", "app"]"#),
            ("echo $HOME", r#"["sh", "-c", "echo $HOME"]"#, ""),
            ("", r#"[""]"#, r#"[""]"#),
        ] {
            assert_eq!(command_list(text), command, "{text}");
            assert!(words.is_empty() || word_list(text) == words, "{text}");
        }
    }
}
