//! Days as people write them.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Today in UTC, as `YYYY-MM-DD`. The script corrects what is shown to the person's time zone.
pub(super) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    date_of(seconds / 86_400)
}

/// The day that is that many days after 1970-01-01.
fn date_of(days: u64) -> String {
    // Years begin in March here, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `31 Dec 2026`, without the year if it is that of `today`.
pub(super) fn shown(day: &str, today: &str) -> String {
    let mut parts = day.split('-');
    let (Some(year), Some(month), Some(number)) = (parts.next(), parts.next(), parts.next()) else {
        return day.to_owned();
    };
    let index = month.parse::<usize>().ok().and_then(|month| month.checked_sub(1));
    let Some(month) = index.and_then(|index| MONTHS.get(index)) else { return day.to_owned() };
    let number = number.trim_start_matches('0');
    if today.starts_with(year) {
        format!("{number} {month}")
    } else {
        format!("{number} {month} {year}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_since_1970_are_dates() {
        for (days, date) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_787, "2026-11-30"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date_of(days), date);
        }
    }

    #[test]
    fn year_is_shown_when_it_differs() {
        assert_eq!(shown("2026-12-03", "2026-11-30"), "3 Dec");
        assert_eq!(shown("2027-01-31", "2026-11-30"), "31 Jan 2027");
        assert_eq!(shown("soon", "2026-11-30"), "soon");
    }
}
