//! A list of names in a manifest with its layout: which name begins a line, how far
//! it is indented, and which comments belong to it.
//!
//! `toml_edit` keeps the comment behind `"a",` in front of the name that follows;
//! here it belongs to `a`, so that it goes where `a` goes.

use toml_edit::{Array, Value};

use crate::workspace::edit::comments::{Comments, in_text, text};

/// The names of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    /// The comment behind the opening bracket, with the space before it.
    pub(crate) open: Option<String>,
    /// The names in order.
    pub(crate) elements: Vec<Element>,
    /// What stands before the closing bracket.
    pub(crate) close: Lead,
    /// Whether a comma follows the last name.
    pub(crate) trailing_comma: bool,
}

/// What stands before the closing bracket of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lead {
    /// Comments on lines of their own, indented as they are.
    pub(crate) above: Vec<String>,
    /// Whether the bracket begins a line.
    pub(crate) broken: bool,
    /// The space before it on its line.
    pub(crate) indent: String,
}

/// One name of a list.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    /// The name; empty for a value that is no text.
    pub(crate) name: String,
    /// The value as written, without what stands around it.
    value: Value,
    /// Its comments.
    pub(crate) comments: Comments,
    /// Whether it begins a line.
    pub(crate) broken: bool,
    /// The space before it on its line.
    indent: String,
}

impl Element {
    /// A name that stood somewhere else than in a list.
    pub(crate) fn new(name: &str, comments: Comments) -> Self {
        let value = Value::from(name);
        Self { name: name.to_owned(), value, comments, broken: false, indent: String::new() }
    }
}

impl List {
    /// Takes a list apart.
    pub(crate) fn read(array: &Array) -> Self {
        let mut list = Self { trailing_comma: array.trailing_comma(), ..Self::default() };
        for value in array {
            let decor = value.decor();
            let lead = list.lead(text(decor.prefix()));
            let mut bare = value.clone();
            bare.decor_mut().clear();
            list.elements.push(Element {
                name: value.as_str().unwrap_or_default().to_owned(),
                value: bare,
                comments: Comments { above: lead.above, behind: None },
                broken: lead.broken,
                indent: lead.indent,
            });
            // Space before a comma is layout that nobody writes; before the bracket of
            // a list without a last comma it is the bracket's.
            let suffix = text(decor.suffix());
            if array.len() == list.elements.len() && !array.trailing_comma() {
                list.close = list.lead(suffix);
            } else if let (Some(comment), Some(element)) =
                (in_text(suffix).into_iter().next(), list.elements.last_mut())
            {
                element.comments.behind = Some(format!("  {comment}"));
            }
        }
        if array.trailing_comma() || array.is_empty() {
            list.close = list.lead(text(Some(array.trailing())));
        }
        list
    }

    /// Reads the space before a name or the bracket; a comment on the line that goes
    /// before belongs to what stands there.
    fn lead(&mut self, space: &str) -> Lead {
        let Some((first, rest)) = space.split_once('\n') else {
            return Lead { indent: space.to_owned(), ..Lead::default() };
        };
        if first.contains('#') {
            let comment = Some(first.trim_end().to_owned());
            match self.elements.last_mut() {
                Some(element) => element.comments.behind = comment,
                None => self.open = comment,
            }
        }
        let indent = rest.rsplit('\n').next().unwrap_or("").to_owned();
        let above = rest.lines().filter(|line| line.contains('#')).map(str::to_owned).collect();
        Lead { above, broken: true, indent }
    }

    /// Puts the list together again.
    pub(crate) fn write(&self) -> Array {
        let mut array = Array::new();
        let mut behind = self.open.clone();
        for element in &self.elements {
            let prefix =
                space(behind.take(), &element.comments.above, element.broken, &element.indent);
            array.push_formatted(element.value.clone().decorated(prefix, ""));
            behind.clone_from(&element.comments.behind);
        }
        array.set_trailing(space(behind, &self.close.above, self.close.broken, &self.close.indent));
        array.set_trailing_comma(self.trailing_comma);
        array
    }

    /// Whether names stand on lines of their own.
    pub(crate) fn is_broken(&self) -> bool {
        self.elements.last().is_some_and(|element| element.broken)
    }

    /// The name, if it is in the list.
    pub(crate) fn find(&mut self, name: &str) -> Option<&mut Element> {
        self.elements.iter_mut().find(|element| element.name == name)
    }

    /// Takes a name out. What follows it on its line moves up to its place.
    pub(crate) fn take(&mut self, name: &str) -> Option<Element> {
        let place = self.elements.iter().position(|element| element.name == name)?;
        let taken = self.elements.remove(place);
        if let Some(next) = self.elements.get_mut(place).filter(|next| !next.broken) {
            next.broken = taken.broken;
            next.indent.clone_from(&taken.indent);
        }
        Some(taken)
    }

    /// Appends a name in the layout of the last one.
    pub(crate) fn push(&mut self, mut element: Element) {
        match self.elements.last() {
            Some(last) if last.broken => {
                element.broken = true;
                element.indent.clone_from(&last.indent);
                for comment in &mut element.comments.above {
                    *comment = format!("{}{}", last.indent, comment.trim());
                }
            }
            Some(_) => " ".clone_into(&mut element.indent),
            None if !element.broken => element.indent.clear(),
            None => {}
        }
        self.elements.push(element);
    }

    /// The comments that belong to no name.
    pub(crate) fn comments(&mut self) -> Comments {
        let open = self.open.take().map(|comment| comment.trim().to_owned());
        Comments {
            above: open.into_iter().chain(self.close.above.drain(..)).collect(),
            behind: None,
        }
    }
}

/// The space before a name: the comment that ends the line before, lines of comments,
/// and the indentation.
fn space(behind: Option<String>, above: &[String], broken: bool, indent: &str) -> String {
    if behind.is_none() && above.is_empty() && !broken {
        return indent.to_owned();
    }
    let mut space = behind.unwrap_or_default();
    space.push('\n');
    for comment in above {
        space.extend([comment, "\n"]);
    }
    space + indent
}
