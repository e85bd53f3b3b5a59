//! Where a signal is exported to, by the standard variables of OpenTelemetry.
//!
//! `opentelemetry_otlp` reads endpoints and headers itself; this decides whether it is asked to,
//! and refuses what this build cannot do.

use std::time::Duration;

use opentelemetry_otlp as otlp;
use reqwest::Url;

use crate::settings::{SettingError, Settings};

/// The variables of a kind of data. A general variable holds for all kinds without their own.
#[derive(Debug)]
pub(super) struct Signal {
    /// The name in messages.
    pub(super) name: &'static str,
    endpoint: &'static str,
    protocol: &'static str,
    timeout: &'static str,
    exporter: &'static str,
}

pub(super) const TRACES: Signal = Signal {
    name: "traces",
    endpoint: otlp::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    protocol: otlp::OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
    timeout: otlp::OTEL_EXPORTER_OTLP_TRACES_TIMEOUT,
    exporter: "OTEL_TRACES_EXPORTER",
};

pub(super) const METRICS: Signal = Signal {
    name: "metrics",
    endpoint: otlp::OTEL_EXPORTER_OTLP_METRICS_ENDPOINT,
    protocol: otlp::OTEL_EXPORTER_OTLP_METRICS_PROTOCOL,
    timeout: otlp::OTEL_EXPORTER_OTLP_METRICS_TIMEOUT,
    exporter: "OTEL_METRICS_EXPORTER",
};

pub(super) const LOGS: Signal = Signal {
    name: "logs",
    endpoint: otlp::OTEL_EXPORTER_OTLP_LOGS_ENDPOINT,
    protocol: otlp::OTEL_EXPORTER_OTLP_LOGS_PROTOCOL,
    timeout: otlp::OTEL_EXPORTER_OTLP_LOGS_TIMEOUT,
    exporter: "OTEL_LOGS_EXPORTER",
};

/// A receiver of a signal. `opentelemetry_otlp` knows its address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Receiver {
    /// The timeout of one request.
    pub(super) time: Duration,
}

/// The receiver of a signal; `None` if no variable names one or the export is off.
///
/// # Errors
/// When a variable names what is not supported.
pub(super) fn receiver(
    signal: &Signal,
    settings: &Settings,
) -> Result<Option<Receiver>, SettingError> {
    let first = |names: [&'static str; 2]| -> Result<_, SettingError> {
        for name in names {
            if let Some(value) = settings.variable(name)? {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    };
    let endpoint = first([signal.endpoint, otlp::OTEL_EXPORTER_OTLP_ENDPOINT])?;
    let Some((name, endpoint)) = endpoint else { return Ok(None) };
    let disabled = settings.variable("OTEL_SDK_DISABLED")?;
    let exporter = settings.variable(signal.exporter)?;
    if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || exporter.is_some_and(|value| value == "none")
    {
        return Ok(None);
    }
    let url = Url::parse(&endpoint).ok().filter(|url| url.scheme() == "http");
    if url.is_none() {
        // What is before the `@` may be a password.
        let seen = endpoint.rsplit_once('@').map_or(&*endpoint, |(_, host)| host);
        let expected = "an address such as `http://127.0.0.1:4318`";
        return Err(SettingError::bad(name, seen, expected));
    }
    let protocol = first([signal.protocol, otlp::OTEL_EXPORTER_OTLP_PROTOCOL])?;
    if let Some((name, protocol)) = protocol
        && protocol != "http/protobuf"
    {
        return Err(SettingError::bad(name, protocol, "`http/protobuf`"));
    }
    let time = match first([signal.timeout, otlp::OTEL_EXPORTER_OTLP_TIMEOUT])? {
        None => otlp::OTEL_EXPORTER_OTLP_TIMEOUT_DEFAULT,
        Some((name, text)) => match text.parse().map(Duration::from_millis) {
            Ok(time) if !time.is_zero() => time,
            _ => return Err(SettingError::bad(name, text, "a number of milliseconds")),
        },
    };
    Ok(Some(Receiver { time }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    /// Which signals are exported, and the first error.
    fn exported(pairs: &[(&str, &str)]) -> (Vec<&'static str>, Option<String>) {
        let settings = Settings::from_pairs(pairs.iter().copied());
        let mut names = Vec::new();
        let mut error = None;
        for signal in [&TRACES, &METRICS, &LOGS] {
            match receiver(signal, &settings) {
                Ok(Some(_)) => names.push(signal.name),
                Ok(None) => {}
                Err(wrong) => error = error.or(Some(wrong.to_string())),
            }
        }
        (names, error)
    }

    #[test]
    fn nothing_is_exported_without_an_endpoint() {
        for pairs in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "x"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
        ] {
            assert_eq!(exported(pairs), (vec![], None), "{pairs:?}");
        }
    }

    #[test]
    fn signals_have_variables_of_their_own() {
        let all = vec!["traces", "metrics", "logs"];
        assert_eq!(exported(&[ENDPOINT]), (all, None));
        let logs = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://h:1/logs");
        assert_eq!(exported(&[logs]), (vec!["logs"], None));
        let off = [ENDPOINT, ("OTEL_METRICS_EXPORTER", "none"), ("OTEL_SDK_DISABLED", "false")];
        assert_eq!(exported(&off), (vec!["traces", "logs"], None));
        let time = [ENDPOINT, ("OTEL_EXPORTER_OTLP_TIMEOUT", "250")];
        let receiver = receiver(&TRACES, &Settings::from_pairs(time)).unwrap().unwrap();
        assert_eq!(receiver.time, Duration::from_millis(250));
    }

    #[test]
    fn unsupported_value_names_its_variable() {
        for (name, value, expected) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a:b@h:1", "`h:1`, expected an address"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "`localhost:4318`, expected an"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "`grpc`, expected `http/protobuf`"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "`10s`, expected a number of milliseconds"),
        ] {
            let (names, error) = exported(&[ENDPOINT, (name, value)]);
            let error = error.unwrap();
            assert!(names.is_empty());
            assert!(error.starts_with(&format!("`{name}` is {expected}")), "{error}");
        }
    }
}
