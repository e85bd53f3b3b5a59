//! Logs to standard output: compact text, or JSON lines with `LOG_FORMAT=json`.
//!
//! `RUST_LOG` sets levels by target (`info,todo=debug`); filters by span or field are not
//! supported. No log is written to a file. [`otlp`] exports the same lines.

use std::io::IsTerminal as _;

use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::otlp::{self, Program};
use crate::settings::{SettingError, Settings};
use crate::text_lines::{SpanFields, TextLines};

/// Starts logging for this process, and the export if there is one; a second call has no effect.
/// An invalid `RUST_LOG` is only a warning, since it is often set for other programs; the level is
/// then `info`.
pub(crate) fn start(
    program: Program,
    settings: &Settings,
    runtime: &Handle,
) -> Result<(), SettingError> {
    let (filter, warning) = filter(settings)?;
    let text = || tracing_subscriber::fmt::layer().event_format(TextLines).fmt_fields(SpanFields);
    let layer = match settings.text("LOG_FORMAT")?.as_deref() {
        None | Some("text") => text().with_ansi(std::io::stdout().is_terminal()).boxed(),
        Some("json") => {
            let layer = tracing_subscriber::fmt::layer().json();
            layer.flatten_event(true).with_span_list(false).boxed()
        }
        Some(other) => return Err(SettingError::bad("LOG_FORMAT", other, "`text` or `json`")),
    };
    let mut warnings = otlp::start(program, settings, runtime);
    warnings.extend(warning);
    let mut layers = vec![];
    layers.extend(otlp::log_layer(&filter));
    layers.push(layer.with_filter(filter).boxed());
    if tracing_subscriber::registry().with(layers).try_init().is_ok() {
        for warning in warnings {
            tracing::warn!("{warning}");
        }
    }
    Ok(())
}

fn filter(settings: &Settings) -> Result<(Targets, Option<String>), SettingError> {
    // The database driver logs single statements; they would drown everything else.
    let default =
        || Targets::new().with_default(LevelFilter::INFO).with_target("sqlx", LevelFilter::WARN);
    let Some(text) = settings.text("RUST_LOG")? else { return Ok((default(), None)) };
    match text.parse::<Targets>() {
        Ok(targets) => Ok((targets, None)),
        Err(error) => {
            let warning = format!("ignored `RUST_LOG`, which is `{text}`: {error}");
            Ok((default(), Some(warning)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_format_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let settings = Settings::from_pairs([("LOG_FORMAT", "xml")]);
        let program = Program { name: "test", version: None };
        let error = start(program, &settings, runtime.handle()).unwrap_err();
        assert_eq!(error.to_string(), "`LOG_FORMAT` is `xml`, expected `text` or `json`");
    }

    #[test]
    fn invalid_filter_is_a_warning() {
        let (_, warning) = filter(&Settings::from_pairs([("RUST_LOG", "a[b=c")])).unwrap();
        assert!(warning.is_some());
    }
}
