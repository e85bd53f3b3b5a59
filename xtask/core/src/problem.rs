//! A user's mistake as data: a code, places in files, and a hint.
//!
//! Problems are collected, so one run reports all of them. The tool's view renders them in
//! the manner of rustc.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use serde::Serialize;

/// Whether a [`Problem`] stops the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The command starts nothing.
    Error,
    /// Reported once, and the command continues.
    Warning,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The file, relative to the workspace root where it lies below it.
    pub file: String,
    /// Byte offsets into the file's text.
    pub bytes: Range<usize>,
}

/// A [`Span`] with a text about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The place in the manifest.
    pub span: Span,
    /// What the place shows; may be empty.
    pub text: String,
    /// Whether this is the place of the mistake (a caret) or only its context.
    pub primary: bool,
}

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The kind of mistake.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// The mistake in one line.
    pub message: String,
    /// The places. The first one is the place of the mistake.
    pub labels: Vec<Label>,
    /// Facts that help to understand.
    pub notes: Vec<String>,
    /// One command or edit that gets the user out.
    pub hint: Option<String>,
}

impl Problem {
    /// An error without a place yet.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            hint: None,
        }
    }

    /// A warning without a place yet.
    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Adds a place with a caret.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into(), primary: true });
        self
    }

    /// Adds a place that only explains.
    #[must_use]
    pub fn context(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into(), primary: false });
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Sets the way out.
    #[must_use]
    pub fn hint(mut self, text: impl ToString) -> Self {
        self.hint = Some(text.to_string());
        self
    }
}

macro_rules! codes {
    ($($variant:ident = $text:literal, $doc:literal;)*) => {
        /// The kind of a [`Problem`]. The text of a code is stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $doc] $variant,)* }

        impl Code {
            /// Every code, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as users see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    Syntax = "syntax", "The file is not TOML.";
    UnknownKey = "unknown-key", "An unknown key, or one that has no effect here.";
    WrongType = "wrong-type", "A value of the wrong type.";
    BadValue = "bad-value", "A value of the right type that is not allowed.";
    MissingKey = "missing-key", "A required key is missing.";
    BadName = "bad-name", "A service name that cannot be used.";
    DuplicateName = "duplicate-name", "Two services of one name, or of one host name.";
    VariableClash = "variable-clash", "Two services or ports whose names give one variable.";
    BothForms = "both-forms", "Two keys that exclude each other.";
    UnknownBinary = "unknown-binary", "No binary of that name in the package.";
    AmbiguousBinary = "ambiguous-binary", "Several binaries, and none chosen.";
    NoBinary = "no-binary", "A package without a binary is declared as a service.";
    BinaryClash = "binary-clash", "Two packages whose binaries Cargo writes to one path.";
    FeatureClash = "feature-clash", "Two services of one package that need different features.";
    UnknownFeature = "unknown-feature", "No feature of that name in the package.";
    UnknownService = "unknown-service", "A dependency on, or request for, a service that is not declared.";
    SelfDependency = "self-dependency", "A service that depends on itself.";
    WrongCondition = "wrong-condition", "A condition that this dependency can never meet.";
    Cycle = "cycle", "A cycle through `depends-on` alone.";
    UnknownPort = "unknown-port", "No port of that name.";
    AmbiguousPort = "ambiguous-port", "Several ports, and none named.";
    NoPort = "no-port", "A service without a port is asked for one.";
    PortClash = "port-clash", "A port that two services use, or that the system may take.";
    BadTemplate = "bad-template", "A malformed `${...}`.";
    UnknownTemplate = "unknown-template", "A `${...}` that names nothing known.";
    UndeclaredDependency = "undeclared-dependency", "A template that names a service which is not declared.";
    UnsetVariable = "unset-variable", "`${env.NAME}` where the variable is not set.";
    EnvFile = "env-file", "An env-file that cannot be read or parsed.";
    IgnoredValue = "ignored-value", "A fixed value for a variable that holds an address of the stack.";
    UnknownOverlay = "unknown-overlay", "`--with NAME` where no service has such an overlay.";
    BadArgument = "bad-argument", "A command line value that does not fit the metadata.";
}

/// What each code means, with examples.
const SECTIONS: &str = include_str!("../problems.md");

impl Code {
    /// The section of `problems.md` about the code, in Markdown: what it means, a wrong and a right
    /// example.
    #[must_use]
    pub fn section(self) -> &'static str {
        let mut sections = SECTIONS.split("\n## ").skip(1);
        let own = |section: &&str| section.lines().next() == Some(self.as_str());
        sections
            .find(own)
            .and_then(|section| section.split_once('\n'))
            .map_or("", |(_, text)| text.trim())
    }
}

impl core::str::FromStr for Code {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}
