//! The text format of logs: a time, a level, a message and its fields, short enough for one row.
//!
//! The access log becomes `GET /path 200 in 2.4 ms`. The ids of a request follow as `id` and
//! `trace`; a trace that has the number of its request is not repeated. Targets of `INFO` lines are
//! left out. `LOG_FORMAT=json` has every field by its name.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes events.
pub(crate) struct TextLines;

/// Writes the fields of a span: the ids of a request.
pub(crate) struct SpanFields;

/// The fields of an event or a span, as text.
#[derive(Default)]
struct Fields {
    message: String,
    method: Option<String>,
    path: Option<String>,
    status: Option<String>,
    elapsed_us: Option<u64>,
    request_id: Option<String>,
    trace_id: Option<String>,
    /// ` name=value` of the others.
    others: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            "path" => self.path = Some(escaped(value)),
            "request_id" => self.request_id = Some(escaped(value)),
            "trace_id" => self.trace_id = Some(escaped(value)),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "status" => self.status = Some(value.to_string()),
            "elapsed_us" => self.elapsed_us = Some(value),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a text never fails.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "method" => {
                self.method = Some(format!("{value:?}"));
                Ok(())
            }
            name => write!(self.others, " {name}={value:?}"),
        };
    }
}

/// The value in one line. Most values need no change, and to check that is faster than to escape.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if value.bytes().all(plain) { value.to_owned() } else { value.escape_debug().to_string() }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.method, &self.path, &self.status, self.elapsed_us) {
            (Some(method), Some(path), Some(status), Some(us)) => {
                write!(f, "{method} {path} {status} in {}.{} ms", us / 1_000, us % 1_000 / 100)?;
            }
            (method, path, status, us) => {
                f.write_str(&self.message)?;
                let texts = [("method", method), ("path", path), ("status", status)];
                for (name, text) in texts {
                    if let Some(text) = text {
                        write!(f, " {name}={text}")?;
                    }
                }
                if let Some(us) = us {
                    write!(f, " elapsed_us={us}")?;
                }
            }
        }
        f.write_str(&self.others)
    }
}

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        recorded: R,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        recorded.record(&mut fields);
        write!(writer, "{fields}")?;
        if let Some(id) = &fields.request_id {
            write!(writer, " id={id}")?;
        }
        match &fields.trace_id {
            Some(trace) if fields.request_id.as_ref() != Some(trace) => {
                write!(writer, " trace={trace}")
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        let level = *event.metadata().level();
        let (on, off) = match writer.has_ansi_escapes() {
            true => (colour(level), "\x1b[0m"),
            false => ("", ""),
        };
        write!(writer, " {on}{level:>5}{off} ")?;
        if level != Level::INFO {
            write!(writer, "{}: ", event.metadata().target())?;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        write!(writer, "{fields}")?;
        for span in context.event_scope().into_iter().flat_map(|spans| spans.from_root()) {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                writer.write_str(fields)?;
            }
        }
        writeln!(writer)
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines without their times.
    fn lines(log: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_ansi(false)
            .event_format(TextLines)
            .fmt_fields(SpanFields)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.split_once('Z').unwrap().1.to_owned()).collect()
    }

    const ID: &str = "b1f3bc2bf35f635807d18b6da4950ec9";

    #[test]
    fn access_log_fits_one_row() {
        let shown = lines(|| {
            let span = tracing::info_span!("request", request_id = ID, trace_id = ID);
            let (status, elapsed_us) = (201_u16, 3_792_u128);
            let path = "/lists/saurabh_badhwar";
            span.in_scope(
                || tracing::info!(method = %"POST", path, status, elapsed_us, "answered"),
            );
        });
        assert_eq!(
            shown,
            [format!("  INFO POST {path} 201 in 3.7 ms id={ID}", path = "/lists/saurabh_badhwar")]
        );
        // On a terminal, the tool shows a time of 12 characters and the name of the service.
        assert!("sample-data | 08:00:01.123".len() + shown[0].len() <= 110, "{shown:?}");
    }

    #[test]
    fn other_lines_have_all_fields() {
        let shown = lines(|| {
            let span = tracing::info_span!("request", request_id = "r-1", trace_id = ID);
            span.in_scope(|| tracing::info!(port = 5000, name = "a\nb", "serving"));
            tracing::warn!(status = 500_u16, "slow");
        });
        assert_eq!(shown[0], format!("  INFO serving port=5000 name=\"a\\nb\" id=r-1 trace={ID}"));
        assert!(shown[1].ends_with(": slow status=500"), "{shown:?}");
        assert!(shown[1].starts_with("  WARN kit::text_lines"), "{shown:?}");
    }
}
