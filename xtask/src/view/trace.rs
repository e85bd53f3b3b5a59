//! A replayed record: time, event, effects, and the first difference from the recorded ones.
//!
//! The text omits values of variables and masks secrets. The JSON contains the whole record.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use xtask_core::record::RecordStep;
use xtask_core::stack::Effect;
use xtask_core::terms::secret::{self, MASK};

use xtask::view::style::{BAD, BOLD, DIM, RESET};
use xtask::view::words::within;

use super::trace_words as words;

/// One event of `replay --json`, a line each.
#[derive(Debug, Serialize)]
pub(crate) struct StepJson<'a> {
    /// The event's line in the file, counted from 1.
    pub(crate) line: usize,
    /// The event with its time and the recorded effects.
    #[serde(flatten)]
    pub(crate) step: &'a RecordStep,
    pub(crate) replayed: &'a [Effect],
    /// Index of the first effect that differs, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) differs_at: Option<usize>,
}

/// The last line of `replay --json`.
#[derive(Debug, Serialize)]
pub(crate) struct EndJson {
    pub(crate) outcome: Outcome,
    pub(crate) events: usize,
    /// Number of events with recorded effects, which were compared.
    pub(crate) compared: usize,
    pub(crate) ended: bool,
    /// Why the rest of the record could not be read.
    pub(crate) unread: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// All recorded effects are the same.
    Same,
    /// The last shown event has other effects.
    Differs,
    /// The read part is the same, but the record could not be read to its end.
    Unread,
}

pub(crate) fn step(step: &RecordStep, effects: &[Effect]) -> String {
    let mut out = format!("{DIM}{:>12}{RESET}  ", time(step.at()));
    out.push_str(&format!("{BOLD}{}{RESET}\n", within(&words::event(&step.event))));
    for effect in effects {
        out.push_str(&format!("{:>14}-> {}\n", "", within(&words::effect(effect))));
    }
    out
}

/// The difference between the recorded and the replayed effects of an event.
pub(crate) fn difference(line: usize, step: &RecordStep, effects: &[Effect], at: usize) -> String {
    let recorded = step.effects.as_ref().and_then(|effects| effects.get(at));
    let replayed = effects.get(at);
    let describe = |effect: Option<&Effect>| {
        effect.map_or("nothing".to_string(), |effect| within(&words::effect(effect)))
    };
    let event = within(&words::event(&step.event));
    let mut out = format!(
        "{BAD}difference{RESET}{BOLD}: line {line}, {} after the start, `{event}`, effect {}\
         {RESET}\n  recorded: {}\n  replayed: {}\n",
        time(step.at()),
        at + 1,
        describe(recorded),
        describe(replayed)
    );
    if let (Some(recorded), Some(replayed)) = (value(recorded), value(replayed))
        && let Some(Leaf { path, left, right }) = first_leaf(&recorded, &replayed, "")
    {
        out.push_str(&format!("  `{path}` was {left} and is {right}\n"));
    }
    out
}

pub(crate) fn end(end: &EndJson) -> String {
    let rest = end.events - end.compared;
    let compared = match (end.compared, rest) {
        (0, _) => "no effects were recorded, so nothing was compared".to_string(),
        (_, 0) => "the effects are the same".to_string(),
        (_, rest) => format!("the effects are the same; {rest} events have no recorded effects"),
    };
    let over = if end.ended { "" } else { "; the stack had not ended" };
    format!("{} events replayed: {compared}{over}\n", end.events)
}

/// Seconds since the start of the stack, with microseconds.
fn time(at: Duration) -> String {
    format!("{}.{:06}s", at.as_secs(), at.subsec_micros())
}

fn value(effect: Option<&Effect>) -> Option<Value> {
    serde_json::to_value(effect?).ok()
}

/// A field in which two effects differ.
struct Leaf {
    path: String,
    left: String,
    right: String,
}

fn first_leaf(left: &Value, right: &Value, path: &str) -> Option<Leaf> {
    if left == right {
        return None;
    }
    let below = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.map(|key| (key, a.get(key), b.get(key))).find_map(|(key, a, b)| {
                first_leaf(a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null), &below(key))
            })
        }
        (Value::Array(a), Value::Array(b)) => {
            let at = (0..a.len().max(b.len())).find(|at| a.get(*at) != b.get(*at))?;
            let before = at.checked_sub(1).and_then(|at| a.get(at)).and_then(Value::as_str);
            let show = |item: Option<&Value>| match item {
                Some(Value::String(text)) if is_secret(text, before) => format!("`{MASK}`"),
                item => shown(item.unwrap_or(&Value::Null)),
            };
            match (a.get(at), b.get(at)) {
                (Some(x), Some(y)) if !x.is_string() || !y.is_string() => {
                    first_leaf(x, y, &below(&at.to_string()))
                }
                (x, y) => {
                    Some(Leaf { path: below(&at.to_string()), left: show(x), right: show(y) })
                }
            }
        }
        (left, right) => {
            Some(Leaf { path: path.to_string(), left: shown(left), right: shown(right) })
        }
    }
}

/// Whether `text` is a secret. `before` is the preceding item: a variable's name or a flag.
fn is_secret(text: &str, before: Option<&str>) -> bool {
    secret::argument(text, before) || before.is_some_and(|name| secret::variable(name, text))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_string(),
        Value::String(text) if secret::has_password(text) => format!("`{MASK}`"),
        // Lists may hold names and values of variables, so only their length is shown.
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use xtask_core::stack::Event;

    use super::*;

    fn spawn(args: &[&str], env: &[(&str, &str)]) -> Effect {
        serde_json::from_value(json!({
            "effect": "spawn", "service": "api", "run": 1, "probes": [],
            "command": { "program": "/bin/api", "args": args, "env": env, "cwd": "/",
                         "sockets": [], "notify": false, "watchdog-us": null }
        }))
        .unwrap()
    }

    fn shown_difference(recorded: Vec<Effect>, replayed: &[Effect]) -> String {
        let step = RecordStep::new(Duration::from_millis(1_500), Event::Tick, recorded);
        anstream::adapter::strip_str(&difference(3, &step, replayed, 0)).to_string()
    }

    #[test]
    fn difference_names_line_and_field() {
        let text =
            shown_difference(vec![spawn(&["--port", "1"], &[])], &[spawn(&["--port", "2"], &[])]);
        assert_eq!(
            text,
            "difference: line 3, 1.500000s after the start, `tick`, effect 1\n  \
             recorded: start api, run 1: /bin/api --port 1\n  \
             replayed: start api, run 1: /bin/api --port 2\n  \
             `command.args.1` was `1` and is `2`\n"
        );
    }

    #[test]
    fn missing_effect_is_shown_as_nothing() {
        let text = shown_difference(vec![Effect::End], &[]);
        assert!(text.ends_with("recorded: the end\n  replayed: nothing\n"), "{text}");
    }

    #[test]
    fn differing_secrets_are_masked() {
        let cases = [
            (spawn(&[], &[("API_TOKEN", "hunter2")]), spawn(&[], &[("API_TOKEN", "hunter3")])),
            (spawn(&["--password", "hunter2"], &[]), spawn(&["--password", "hunter3"], &[])),
            (spawn(&[], &[("DB", "pg://a:hunter2@x")]), spawn(&[], &[("DB", "pg://a:hunter3@x")])),
            (spawn(&[], &[("API_TOKEN", "hunter2")]), spawn(&[], &[])),
        ];
        for (recorded, replayed) in cases {
            let text = shown_difference(vec![recorded], &[replayed]);
            assert!(text.contains("` was ") && !text.contains("hunter"), "{text}");
        }
    }
}
