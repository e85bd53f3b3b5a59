//! A question on the last live line: a text, or one of several names.

use super::keys::Key;

/// What the answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::up) enum Purpose {
    Restart,
    /// Show only the log of one service.
    Log,
    /// Show only matching lines.
    Filter,
    Open,
}

#[derive(Clone, Debug)]
pub(in crate::cli::up) struct Prompt {
    pub(in crate::cli::up) purpose: Purpose,
    /// The names to choose from; none for any text.
    choices: Vec<String>,
    text: String,
    /// Why the last answer was not accepted.
    pub(in crate::cli::up) mistake: Option<String>,
}

/// What a key did to a prompt.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::up) enum Outcome {
    Open,
    Cancelled,
    /// The chosen name or the text, which may be empty.
    Answered(String),
}

impl Prompt {
    pub(in crate::cli::up) fn new(purpose: Purpose, choices: Vec<String>) -> Self {
        Self { purpose, choices, text: String::new(), mistake: None }
    }

    pub(in crate::cli::up) fn press(&mut self, key: Key) -> Outcome {
        self.mistake = None;
        match key {
            Key::Char(char) => self.text.push(char),
            Key::Backspace => drop(self.text.pop()),
            Key::Clear => self.text.clear(),
            Key::Tab => {
                let first = self.matches().next().map(str::to_owned);
                self.text = first.unwrap_or_else(|| self.text.clone());
            }
            Key::Escape => return Outcome::Cancelled,
            Key::Enter => return self.answer(),
        }
        Outcome::Open
    }

    fn answer(&mut self) -> Outcome {
        if self.choices.is_empty() || (self.text.is_empty() && self.purpose == Purpose::Log) {
            return Outcome::Answered(self.text.clone());
        }
        let found: Vec<&str> = self.matches().collect();
        let exact = found.iter().find(|name| **name == self.text);
        match (exact, found.as_slice()) {
            (Some(name), _) | (None, [name]) => Outcome::Answered((*name).to_owned()),
            (None, []) => {
                self.mistake = Some(format!("no service matches `{}`", self.text));
                Outcome::Open
            }
            (None, _) if self.text.is_empty() => Outcome::Open,
            (None, [name, ..]) => Outcome::Answered((*name).to_owned()),
        }
    }

    /// The names that begin with the text, then those that contain it.
    fn matches(&self) -> impl Iterator<Item = &str> {
        let names = || self.choices.iter().map(String::as_str);
        let first = names().filter(|name| name.starts_with(&self.text));
        let later =
            names().filter(|name| !name.starts_with(&self.text) && name.contains(&self.text));
        first.chain(later)
    }

    /// The line as it is shown, with the typed text at its end.
    pub(in crate::cli::up) fn line(&self) -> String {
        let names = self.matches().collect::<Vec<_>>().join(", ");
        let question = match self.purpose {
            Purpose::Restart => format!("restart which service? ({names}; Esc cancels)"),
            Purpose::Log => {
                format!("log of which service? ({names}; Enter shows all, Esc cancels)")
            }
            Purpose::Open => format!("open the page of which service? ({names}; Esc cancels)"),
            Purpose::Filter => {
                "show lines that match (a regular expression; Enter shows all, Esc cancels)".into()
            }
        };
        let mistake = self.mistake.as_ref().map(|text| format!("{text}; ")).unwrap_or_default();
        format!("{mistake}{question}: {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(prompt: &mut Prompt, keys: &str) {
        for char in keys.chars() {
            assert_eq!(prompt.press(Key::Char(char)), Outcome::Open);
        }
    }

    #[test]
    fn part_of_a_name_chooses_it() {
        let names = || ["api", "web", "webhook"].map(str::to_owned).to_vec();
        for (keys, expected) in [("a", "api"), ("web", "web"), ("hook", "webhook"), ("w", "web")] {
            let mut prompt = Prompt::new(Purpose::Restart, names());
            typed(&mut prompt, keys);
            assert_eq!(prompt.press(Key::Enter), Outcome::Answered(expected.into()), "{keys}");
        }
        let mut prompt = Prompt::new(Purpose::Restart, names());
        assert_eq!(prompt.press(Key::Enter), Outcome::Open);
        typed(&mut prompt, "x");
        assert_eq!(prompt.press(Key::Enter), Outcome::Open);
        assert!(prompt.line().starts_with("no service matches `x`"), "{}", prompt.line());
        assert_eq!(prompt.press(Key::Backspace), Outcome::Open);
        typed(&mut prompt, "webh");
        assert_eq!(prompt.press(Key::Tab), Outcome::Open);
        assert!(prompt.line().ends_with(": webhook"), "{}", prompt.line());
        assert_eq!(prompt.press(Key::Escape), Outcome::Cancelled);
    }

    #[test]
    fn empty_answer_shows_all_logs() {
        let mut prompt = Prompt::new(Purpose::Log, vec!["api".to_owned()]);
        assert_eq!(prompt.press(Key::Enter), Outcome::Answered(String::new()));
    }
}
