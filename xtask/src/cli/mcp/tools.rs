//! The tools that a client of the Model Context Protocol sees, and the command of each.

use std::fmt;

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

/// Most lines of `logs` that one call returns.
const LINES: u64 = 2000;

/// One tool: a command with fixed words and the arguments that a client may pass.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) name: &'static str,
    about: &'static str,
    words: &'static [&'static str],
    parameters: &'static [(Parameter, Need)],
    effect: Effect,
    /// Whether it prints one JSON object.
    pub(super) is_json: bool,
    /// Whether it works on one stack, which the options of `mcp` choose.
    pub(super) has_stack: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Required,
    Optional,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Reads,
    Changes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameter {
    Service,
    Services,
    Filters,
    With,
    Lines,
    Grep,
    Since,
}

use Effect::{Changes, Reads};
use Need::{Optional, Required};
use Parameter::{Filters, Grep, Lines, Service, Services, Since, With};

/// All tools.
pub(super) const COMMANDS: [Command; 7] = [
    Command {
        name: "status",
        about: "State of the stack: phase, address, process and waiting reason of each service.",
        words: &["status", "--json"],
        parameters: &[],
        effect: Reads,
        is_json: true,
        has_stack: true,
    },
    Command {
        name: "logs",
        about: "Last lines of the logs of these services, or of all, in time order.",
        words: &["logs"],
        parameters: &[(Services, Optional), (Lines, Optional), (Grep, Optional), (Since, Optional)],
        effect: Reads,
        is_json: false,
        has_stack: true,
    },
    Command {
        name: "explain",
        about: "Arguments and variables of a service with their sources, what its start waits for, \
                and why it is not ready. Secrets are masked.",
        words: &["explain", "--json"],
        parameters: &[(Service, Required)],
        effect: Reads,
        is_json: true,
        has_stack: true,
    },
    Command {
        name: "up",
        about: "Build and start services with their dependencies, or the whole workspace, and wait \
                until they are ready. Running services are kept. The stack stays up.",
        words: &["up", "--detach"],
        parameters: &[(Services, Optional), (With, Optional)],
        effect: Changes,
        is_json: false,
        has_stack: true,
    },
    Command {
        name: "restart",
        about: "Build services after an edit and start them again. A failed build keeps the old runs.",
        words: &["restart"],
        parameters: &[(Services, Required)],
        effect: Changes,
        is_json: false,
        has_stack: true,
    },
    Command {
        name: "down",
        about: "Stop services and their dependents, or the whole stack. Data is kept.",
        words: &["down"],
        parameters: &[(Services, Optional)],
        effect: Changes,
        is_json: false,
        has_stack: true,
    },
    Command {
        name: "test-e2e",
        about: "Run the end-to-end tests on an isolated stack of their own.",
        words: &["test-e2e"],
        parameters: &[(Filters, Optional), (With, Optional)],
        effect: Changes,
        is_json: false,
        has_stack: false,
    },
];

/// Why the arguments of a call are not accepted, in one line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadArgument(String);

impl fmt::Display for BadArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Command {
    /// How the protocol describes it.
    pub(super) fn describe(&self) -> Tool {
        let is_read_only = self.effect == Reads;
        let annotations =
            ToolAnnotations::new().read_only(is_read_only).destructive(false).open_world(false);
        Tool::new(self.name, self.about, self.schema()).with_annotations(annotations)
    }

    fn schema(&self) -> JsonObject {
        let properties: JsonObject = self
            .parameters
            .iter()
            .map(|(parameter, _)| (parameter.name().to_owned(), parameter.schema()))
            .collect();
        let required = self.parameters.iter().filter(|(_, need)| *need == Required);
        let required: Vec<Value> = required.map(|(it, _)| it.name().into()).collect();
        let mut schema = JsonObject::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("properties".to_owned(), properties.into());
        schema.insert("required".to_owned(), required.into());
        schema.insert("additionalProperties".to_owned(), false.into());
        schema
    }

    /// The words of the command line for the arguments of a call.
    ///
    /// # Errors
    /// When an argument is missing, unknown, or has a wrong type or value.
    pub(super) fn words(&self, arguments: &JsonObject) -> Result<Vec<String>, BadArgument> {
        let known: Vec<_> = self.parameters.iter().map(|(it, _)| it.name()).collect();
        if let Some(name) = arguments.keys().find(|name| !known.contains(&name.as_str())) {
            let known = match known.is_empty() {
                true => "none".to_owned(),
                false => known.join(", "),
            };
            return Err(BadArgument(format!("unknown argument `{name}`; known: {known}")));
        }
        let mut words: Vec<String> = self.words.iter().map(|word| (*word).to_owned()).collect();
        for (parameter, need) in self.parameters {
            match arguments.get(parameter.name()) {
                Some(value) if !value.is_null() => words.extend(parameter.words(value)?),
                _ if *need == Required => {
                    return Err(BadArgument(format!("`{}` is missing", parameter.name())));
                }
                _ => {}
            }
        }
        Ok(words)
    }
}

impl Parameter {
    const fn name(self) -> &'static str {
        match self {
            Service => "service",
            Services => "services",
            Filters => "filters",
            With => "with",
            Lines => "lines",
            Grep => "grep",
            Since => "since",
        }
    }

    fn schema(self) -> Value {
        let texts = |about: &str| json!({ "type": "array", "items": { "type": "string" }, "description": about });
        let text = |about: &str| json!({ "type": "string", "description": about });
        match self {
            Service => text("Name of a service."),
            Services => texts("Names of services."),
            Filters => texts("Run tests whose name contains one of these."),
            With => texts("Overlays of the metadata to apply."),
            Lines => json!({
                "type": "integer", "minimum": 1, "maximum": LINES,
                "description": "Number of lines of each service.",
            }),
            Grep => text("Print only lines that match this regular expression."),
            Since => text("Print only lines of this last span of time, such as `5m`."),
        }
    }

    fn words(self, value: &Value) -> Result<Vec<String>, BadArgument> {
        let wrong = |wanted: &str| BadArgument(format!("`{}` must be {wanted}", self.name()));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self {
            Service => {
                let name = text(value).ok_or_else(|| wrong("a text"))?;
                self.positional(vec![name])
            }
            Services | Filters | With => {
                let texts: Option<Vec<String>> =
                    value.as_array().and_then(|all| all.iter().map(text).collect());
                let texts = texts.ok_or_else(|| wrong("a list of texts"))?;
                if self == With {
                    return Ok(texts.iter().map(|name| format!("--with={name}")).collect());
                }
                self.positional(texts)
            }
            Lines => match value.as_u64() {
                Some(lines @ 1..=LINES) => Ok(vec![format!("-n={lines}")]),
                _ => Err(wrong(&format!("an integer from 1 to {LINES}"))),
            },
            Grep | Since => {
                let text = text(value).ok_or_else(|| wrong("a text"))?;
                Ok(vec![format!("--{}={text}", self.name())])
            }
        }
    }

    /// Texts that the command line must not read as options.
    fn positional(self, texts: Vec<String>) -> Result<Vec<String>, BadArgument> {
        match texts.iter().find(|text| text.starts_with('-') || text.is_empty()) {
            Some(text) => {
                Err(BadArgument(format!("`{}` contains `{text}`, which is no name", self.name())))
            }
            None => Ok(texts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str, arguments: Value) -> Result<String, String> {
        let command = COMMANDS.iter().find(|command| command.name == name).unwrap();
        let arguments = arguments.as_object().unwrap();
        command.words(arguments).map(|it| it.join(" ")).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_become_words_of_the_command() {
        let logs = json!({ "services": ["a", "b"], "lines": 5, "grep": "x y", "since": "5m" });
        assert_eq!(words("logs", logs).unwrap(), "logs a b -n=5 --grep=x y --since=5m");
        assert_eq!(words("up", json!({ "with": ["pg"] })).unwrap(), "up --detach --with=pg");
        assert_eq!(words("status", json!({})).unwrap(), "status --json");
    }

    #[test]
    fn wrong_arguments_are_named() {
        let cases = [
            ("explain", json!({}), "`service` is missing"),
            ("explain", json!({ "service": 7 }), "`service` must be a text"),
            (
                "down",
                json!({ "services": ["--data"] }),
                "`services` contains `--data`, which is no name",
            ),
            ("down", json!({ "data": true }), "unknown argument `data`; known: services"),
            ("logs", json!({ "lines": 0 }), "`lines` must be an integer from 1 to 2000"),
            ("status", json!({ "x": 1 }), "unknown argument `x`; known: none"),
        ];
        for (name, arguments, error) in cases {
            assert_eq!(words(name, arguments).unwrap_err(), error);
        }
    }
}
