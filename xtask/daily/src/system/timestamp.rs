//! Times of logs: RFC 3339 in UTC with milliseconds.
//!
//! A crate for dates would be among the larger ones that the first `up` compiles. This reads and
//! writes one format, and knows no time zones but offsets.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time between the years 0000 and 9999, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The first and the last time that has four digits of a year.
const FIRST_MS: i64 = days(0, 1, 1) * DAY_MS;
const LAST_MS: i64 = days(10_000, 1, 1) * DAY_MS - 1;

impl Timestamp {
    /// The present time.
    pub fn now() -> Self {
        let ms = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => milliseconds(after),
            Err(before) => -milliseconds(before.duration()),
        };
        Self(ms.clamp(FIRST_MS, LAST_MS))
    }

    /// The time so many milliseconds after the beginning of 1970; none after the year 9999.
    pub fn from_milliseconds(ms: u64) -> Option<Self> {
        let ms = i64::try_from(ms).ok()?;
        (ms <= LAST_MS).then_some(Self(ms))
    }

    /// The time earlier by `ago`, or the first one.
    #[must_use]
    pub(crate) fn before(self, ago: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(ago)).max(FIRST_MS))
    }

    /// Reads a time such as `2026-01-31T08:00:00Z` or `2026-01-31 09:00:00.250+01:00`. Digits
    /// after the milliseconds are ignored. A time without `Z` or an offset is refused.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut text = Text(text.as_bytes());
        let year = text.number(4)?;
        text.mark(b"-")?;
        let month = text.number(2).filter(|month| (1..=12).contains(month))?;
        text.mark(b"-")?;
        let day = text.number(2).filter(|day| (1..=month_days(year, month)).contains(day))?;
        text.mark(b"Tt ")?;
        let hour = text.number(2).filter(|hour| *hour < 24)?;
        text.mark(b":")?;
        let minute = text.number(2).filter(|minute| *minute < 60)?;
        text.mark(b":")?;
        let second = text.number(2).filter(|second| *second < 60)?;
        let mut ms = ((hour * 60 + minute) * 60 + second) * 1000;
        if text.mark(b".").is_some() {
            ms += text.fraction()?;
        }
        let offset = match text.mark(b"Zz+-")? {
            sign @ (b'+' | b'-') => {
                let hours = text.number(2).filter(|hours| *hours < 24)?;
                text.mark(b":")?;
                let minutes = text.number(2).filter(|minutes| *minutes < 60)?;
                (hours * 60 + minutes) * 60_000 * if sign == b'-' { -1 } else { 1 }
            }
            _ => 0,
        };
        let ms = days(year, month, day) * DAY_MS + ms - offset;
        (text.0.is_empty() && (FIRST_MS..=LAST_MS).contains(&ms)).then_some(Self(ms))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0.div_euclid(DAY_MS));
        let ms = self.0.rem_euclid(DAY_MS);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        let ms = ms % 1000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What is left of a text that is read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        self.0 = rest;
        number.iter().try_fold(0, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
        })
    }

    /// One of these bytes.
    fn mark(&mut self, one_of: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first().filter(|(first, _)| one_of.contains(first))?;
        self.0 = rest;
        Some(*first)
    }

    /// The digits of a fraction of a second, at least one, as milliseconds.
    fn fraction(&mut self) -> Option<i64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (fraction, rest) = self.0.split_at(digits);
        self.0 = rest;
        let padded = fraction.iter().chain(b"00").take(3);
        (digits > 0).then(|| padded.fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0')))
    }
}

const fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The days since 1970 of a date in the Gregorian calendar. Years are counted from March, so that
/// a leap day is the last day of its year.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - 719_468
}

/// The date of a day since 1970: the inverse of [`days`].
const fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day = day.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_and_read_alike() {
        // Each day of 800 years, at a time of its own.
        for day in days(1600, 1, 1)..days(2400, 1, 1) {
            let time = Timestamp(day * DAY_MS + day.rem_euclid(DAY_MS));
            assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
            let (year, month, of_month) = date(day);
            assert!((1..=month_days(year, month)).contains(&of_month), "{time}");
        }
        let known =
            [(0, "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z")];
        for (ms, text) in known {
            assert_eq!(Timestamp(ms).to_string(), text);
        }
        assert_eq!(Timestamp(FIRST_MS).to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(LAST_MS).to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn offsets_and_fractions_are_read() {
        let read = |text| Timestamp::parse(text).map(|time| time.to_string());
        for text in ["2026-01-31T09:00:00.25+01:00", "2026-01-31 02:30:00.2509-05:30"] {
            assert_eq!(read(text).as_deref(), Some("2026-01-31T08:00:00.250Z"), "{text}");
        }
        for text in [
            "2026-01-31T08:00:00",
            "2026-02-29T08:00:00Z",
            "2026-13-01T08:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T08:00:00.Z",
            "2026-01-31T08:00:00Z ",
            "0000-01-01T00:00:00+01:00",
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
