//! Rust source taken apart as far as the rules need it: comments, texts, code, and
//! the paths that the code names.
//!
//! It is no parser: it knows where texts and comments end, and what a `use` tree is.

/// A source file in parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// The code, with comments, texts and characters blanked out, lines kept.
    pub(crate) code: String,
    /// Texts between quotes, with their lines.
    pub(crate) texts: Vec<(usize, String)>,
    /// Comments, with their first lines.
    pub(crate) comments: Vec<(usize, String)>,
}

impl Source {
    /// Takes a file apart.
    pub(crate) fn read(text: &str) -> Self {
        let mut source = Self::default();
        let mut rest = text;
        let mut line = 1;
        let mut after_word = false;
        while let Some(first) = rest.chars().next() {
            if !"/\"'rbc".contains(first) {
                source.code.push(first);
                after_word = is_word(first);
                line += usize::from(first == '\n');
                rest = &rest[first.len_utf8()..];
                continue;
            }
            let part = next_part(rest, after_word);
            let length = match part {
                Part::Comment(length) => {
                    source.comments.push((line, rest[..length].to_owned()));
                    length
                }
                Part::Text(length) => {
                    source.texts.push((line, rest[..length].to_owned()));
                    length
                }
                Part::Character(length) => length,
                Part::Code => first.len_utf8(),
            };
            let (taken, next) = rest.split_at(length);
            let code = matches!(part, Part::Code);
            source.code.extend(taken.chars().map(|c| if code || c == '\n' { c } else { ' ' }));
            after_word = code && is_word(first);
            line += taken.matches('\n').count();
            rest = next;
        }
        source
    }

    /// Every path of two or more parts that the code names, `use` trees unfolded.
    pub(crate) fn paths(&self) -> Vec<Path> {
        let tokens = tokens(&self.code);
        let text = |at: usize| tokens.get(at).map(|token| token.text.as_str());
        let mut paths = Vec::new();
        let (mut at, mut depth) = (0, 0);
        // The modules inside the file that are open here, each with the depth of its brace.
        let mut modules: Vec<(String, usize)> = Vec::new();
        while at < tokens.len() {
            match text(at) {
                Some("mod") if text(at + 2) == Some("{") => {
                    modules.push((tokens[at + 1].text.clone(), depth));
                }
                Some("{") => depth += 1,
                Some("}") => {
                    depth = depth.saturating_sub(1);
                    modules.pop_if(|(_, outside)| *outside == depth);
                }
                _ => {}
            }
            let before = paths.len();
            at = path(&tokens, at, &[], &mut paths);
            for path in &mut paths[before..] {
                path.modules = modules.iter().map(|(name, _)| name.clone()).collect();
            }
        }
        paths
    }

    /// The words of the code, with their lines.
    pub(crate) fn words(&self) -> Vec<(usize, String)> {
        tokens(&self.code)
            .into_iter()
            .filter(|token| token.text.starts_with(is_word))
            .map(|token| (token.line, token.text))
            .collect()
    }

    /// Words followed by a sign, such as `println` by `!`, with their lines. A word after a dot, a
    /// method or field, is not among them.
    pub(crate) fn words_before(&self, sign: &str) -> Vec<(usize, String)> {
        let tokens = tokens(&self.code);
        let at = |index: usize| tokens.get(index).map_or("", |token| token.text.as_str());
        let found = tokens.iter().enumerate().filter(|(index, token)| {
            let is_member = *index > 0 && at(index - 1) == ".";
            let is_followed = at(index + 1) == sign && at(index + 2) != "=";
            token.text.starts_with(is_word) && is_followed && !is_member
        });
        found.map(|(_, token)| (token.line, token.text.clone())).collect()
    }
}

/// A path such as `crate::view::graph`, with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) line: usize,
    pub(crate) parts: Vec<String>,
    /// The modules of the file, outermost first, that enclose it.
    pub(crate) modules: Vec<String>,
}

impl Path {
    /// The parts with `self` and `super` followed from the module of the file, for a file of
    /// a crate's sources.
    pub(crate) fn absolute(&self, file: &str) -> Vec<String> {
        let Some((_, inside)) = file.split_once("/src/") else { return self.parts.clone() };
        let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod");
        let mut module = vec!["crate".to_owned()];
        module.extend(inside.split('/').filter(|m| *m != "main" && *m != "lib").map(str::to_owned));
        module.extend_from_slice(&self.modules);
        let mut followed = 0;
        for part in &self.parts {
            match part.as_str() {
                "super" if module.len() > 1 => drop(module.pop()),
                "super" | "self" => {}
                _ => break,
            }
            followed += 1;
        }
        if followed == 0 {
            return self.parts.clone();
        }
        module.extend(self.parts[followed..].iter().cloned());
        module
    }
}

enum Part {
    Comment(usize),
    Text(usize),
    Character(usize),
    Code,
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What begins here, and how many bytes it has.
fn next_part(rest: &str, after_word: bool) -> Part {
    if rest.starts_with("//") {
        return Part::Comment(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Part::Comment(block_comment(rest));
    }
    // `r"`, `br#"` and the like begin a text, unless they end a word.
    let prefix = rest.len() - rest.trim_start_matches(['r', 'b', 'c']).len();
    if prefix <= 2 && !after_word {
        let raw = rest[..prefix].contains('r');
        let behind = &rest[prefix..];
        let hashes = behind.len() - behind.trim_start_matches('#').len();
        if behind[hashes..].starts_with('"') && (raw || hashes == 0) {
            let open = prefix + hashes + 1;
            return Part::Text(open + text_end(&rest[open..], raw, hashes));
        }
        if behind.starts_with('\'')
            && let Some(length) = character(behind)
        {
            return Part::Character(prefix + length);
        }
    }
    Part::Code
}

/// The length of a comment that may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// How far it is to the end of a text, its closing quote included.
fn text_end(rest: &str, raw: bool, hashes: usize) -> usize {
    if raw {
        let close = format!("\"{}", "#".repeat(hashes));
        return rest.find(&close).map_or(rest.len(), |at| at + close.len());
    }
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of `'x'` or `'\n'`; none for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

#[derive(Clone, Debug)]
struct Token {
    line: usize,
    text: String,
}

/// Words, `::`, and single signs.
fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { line: number + 1, text: rest[..length].to_owned() });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// Reads one path with its `{…}`, and gives back where the next one may begin.
fn path(tokens: &[Token], mut at: usize, before: &[String], paths: &mut Vec<Path>) -> usize {
    let line = tokens[at].line;
    let mut parts = before.to_vec();
    let text = |at: usize| tokens.get(at).map(|token| token.text.as_str());
    loop {
        match text(at) {
            Some(word) if word.starts_with(is_word) || (word == "*" && !parts.is_empty()) => {
                parts.push(word.to_owned());
                at += 1;
            }
            Some("{") if !parts.is_empty() && text(at - 1) == Some("::") => {
                at += 1;
                while text(at).is_some_and(|text| text != "}") {
                    at = path(tokens, at, &parts, paths);
                }
                return at + 1;
            }
            _ => {
                if parts.len() > before.len().max(1) {
                    paths.push(Path { line, parts, modules: Vec::new() });
                }
                return at + 1;
            }
        }
        if text(at) == Some("::") {
            at += 1;
        } else {
            if parts.len() > 1 {
                paths.push(Path { line, parts, modules: Vec::new() });
            }
            return if text(at) == Some("as") { at + 2 } else { at };
        }
    }
}
