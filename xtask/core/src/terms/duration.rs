//! Durations as text: read from metadata and flags, and written for people.
//!
//! There are no sums such as `1m30s`: one number is enough, and can be read in one way only.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use thiserror::Error;

/// Why a text is not a duration, as the end of a sentence that begins with the text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadDuration {
    /// A number alone.
    #[error("has no unit")]
    NoUnit,
    /// A unit other than `ms`, `s`, `m`, `min` and `h`.
    #[error("has the unknown unit `{0}`, not `ms`, `s`, `m` or `h`")]
    UnknownUnit(String),
    /// Something other than a number before the unit.
    #[error("does not begin with a number")]
    NoNumber,
    /// More than a year, which is more than any wait needs.
    #[error("is longer than a year")]
    TooLong,
    /// More than nothing, and less than a millisecond.
    #[error("is shorter than a millisecond")]
    TooShort,
}

/// Reads `200ms`, `10s`, `1.5s`, `2m`, `1h`.
///
/// # Errors
/// See [`BadDuration`].
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale_ms = match unit.trim_start() {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        "" => return Err(BadDuration::NoUnit),
        other => return Err(BadDuration::UnknownUnit(other.to_string())),
    };
    let number: f64 = number.parse().map_err(|_| BadDuration::NoNumber)?;
    // The limit keeps sums of deadlines far from overflow.
    let ms = number * scale_ms;
    if ms > 31_536_000_000.0 {
        return Err(BadDuration::TooLong);
    }
    if 0.0 < ms && ms < 1.0 {
        return Err(BadDuration::TooShort);
    }
    Ok(Duration::from_secs_f64(ms / 1_000.0))
}

/// The shortest spelling that [`parse`] reads as the same duration, to the millisecond.
#[must_use]
pub fn spell(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        ..1_000 => format!("{ms}ms"),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => {
            let fraction = format!("{:03}", ms % 1_000);
            format!("{}.{}s", ms / 1_000, fraction.trim_end_matches('0'))
        }
    }
}

/// A measured time: `12 ms`, or `3.4 s` from one second up.
#[must_use]
pub fn measured(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1_000, ms % 1_000 / 100) }
}

/// An age in the largest unit of which there are two: `90 s`, `3 min`, `5 h`, `2 days`.
#[must_use]
pub fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Whole seconds, rounded up, for formats that know no smaller unit.
#[must_use]
pub fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_with_unit_is_a_duration() {
        assert_eq!(parse("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse("1.5 s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse("0ms"), Ok(Duration::ZERO));
    }

    #[test]
    fn bad_duration_names_the_mistake() {
        assert_eq!(parse("10"), Err(BadDuration::NoUnit));
        let unknown = parse("10 parsecs").unwrap_err().to_string();
        assert_eq!(unknown, "has the unknown unit `parsecs`, not `ms`, `s`, `m` or `h`");
        assert!(parse("s").is_err() && parse("1.2.3s").is_err() && parse("-1s").is_err());
        assert_eq!(parse("99999999h"), Err(BadDuration::TooLong));
        assert_eq!(parse("0.1ms"), Err(BadDuration::TooShort));
    }

    #[test]
    fn spelling_and_reading_are_inverse() {
        for text in ["0ms", "200ms", "1.25s", "10s", "2m", "3h", "90s"] {
            assert_eq!(spell(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn times_for_people_are_rounded() {
        assert_eq!([measured(999), measured(3_456)], ["999 ms", "3.4 s"]);
        let ages = [90, 200, 18_000, 180_000].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["90 s", "3 min", "5 h", "2 days"]);
        assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
    }
}
