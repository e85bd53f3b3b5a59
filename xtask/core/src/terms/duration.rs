//! Durations as they are written: a number and a unit.
//!
//! No sums such as `1m30s`: one number says it as well, and reads one way only.

use alloc::string::String;
use alloc::{format, string::ToString};
use core::time::Duration;

/// Reads `200ms`, `10s`, `1.5s`, `2m`, `1h`.
///
/// # Errors
/// What is wrong with the text, as the end of a sentence.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale_ms = match unit.trim_start() {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        "" => return Err("has no unit".to_string()),
        other => return Err(format!("has the unknown unit `{other}`")),
    };
    let number: f64 = number.parse().map_err(|_| "does not begin with a number".to_string())?;
    // A year is more than any wait, and keeps sums of deadlines far from overflow.
    let ms = number * scale_ms;
    if !(0.0..=31_536_000_000.0).contains(&ms) {
        return Err("is longer than a year".to_string());
    }
    if 0.0 < ms && ms < 1.0 {
        return Err("is shorter than a millisecond".to_string());
    }
    Duration::try_from_secs_f64(ms / 1_000.0).map_err(|error| error.to_string())
}

/// The shortest spelling that [`parse`] reads as the same duration.
#[must_use]
pub fn spell(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        _ if ms == 0 || !ms.is_multiple_of(1_000) => format!("{ms}ms"),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ => format!("{}s", ms / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_a_duration() {
        assert_eq!(parse("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("1.5 s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn anything_else_says_what_is_wrong() {
        assert_eq!(parse("10"), Err("has no unit".to_string()));
        assert_eq!(parse("10 parsecs"), Err("has the unknown unit `parsecs`".to_string()));
        assert!(parse("s").is_err() && parse("1.2.3s").is_err() && parse("-1s").is_err());
        assert!(parse("99999999h").is_err());
        assert_eq!(parse("0.1ms"), Err("is shorter than a millisecond".to_string()));
        assert_eq!(parse("0ms"), Ok(Duration::ZERO));
    }

    #[test]
    fn spelling_and_reading_are_inverse() {
        for text in ["0ms", "200ms", "10s", "2m", "3h", "90s"] {
            assert_eq!(spell(parse(text).unwrap()), text);
        }
    }
}
