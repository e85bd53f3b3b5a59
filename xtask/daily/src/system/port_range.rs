//! Candidate ports for services that bind by themselves: below the range that the system uses for
//! outgoing connections.
//!
//! No socket holds such a port between its release and the bind of the service, nor while a
//! crashed service waits for its next start. In the range of outgoing connections, a busy machine
//! would give it to a caller. This module does not check whether a port is free.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::{Range, RangeInclusive};

const SETTINGS: &str = "/proc/sys/net/ipv4";

const CHOICE: u16 = 10_000;

/// How many candidates to try before the system chooses.
const TRIES: usize = 64;

/// Ports to try, at random, so that stacks that start at the same time try different ones.
pub(crate) fn candidates() -> impl Iterator<Item = u16> {
    let range = below(outgoing_from());
    let width = u64::from(range.end.saturating_sub(range.start));
    let tries = if width == 0 { 0 } else { TRIES };
    (0..tries).map(move |_| {
        let random = RandomState::new().build_hasher().finish();
        range.start + u16::try_from(random % width).unwrap_or_default()
    })
}

/// The candidates below `first`; none if they would overlap with the usual ports of services.
fn below(first: u16) -> Range<u16> {
    match first.checked_sub(CHOICE) {
        Some(start) if start >= 10_000 => start..first,
        _ => 0..0,
    }
}

fn outgoing_from() -> u16 {
    // The default of systems without that file.
    range().map_or(49_152, |range| *range.start())
}

/// The ports that the system may give to outgoing connections; empty if it does not show them.
pub fn outgoing() -> Vec<RangeInclusive<u16>> {
    let reserved = std::fs::read_to_string(format!("{SETTINGS}/ip_local_reserved_ports"));
    let reserved = reserved.unwrap_or_default();
    range().map_or_else(Vec::new, |range| without(range, &reserved))
}

fn range() -> Option<RangeInclusive<u16>> {
    let range = std::fs::read_to_string(format!("{SETTINGS}/ip_local_port_range")).ok()?;
    let mut ends = range.split_ascii_whitespace().map(|end| end.parse().ok());
    Some(ends.next()??..=ends.next()??)
}

/// A range without the ports that are reserved: `8080,9148-9150`, in order.
fn without(range: RangeInclusive<u16>, reserved: &str) -> Vec<RangeInclusive<u16>> {
    let (mut first, last) = (u32::from(*range.start()), u32::from(*range.end()));
    let mut out = Vec::new();
    let mut push = |first: u32, last: u32| {
        if let (Ok(first), Ok(last)) = (u16::try_from(first), u16::try_from(last))
            && first <= last
        {
            out.push(first..=last);
        }
    };
    for part in reserved.trim().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (Ok(from), Ok(to)) = (from.parse::<u32>(), to.parse::<u32>()) else { continue };
        if from > last || to < first {
            continue;
        }
        push(first, from.saturating_sub(1));
        first = to + 1;
    }
    push(first, last);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_differ_and_avoid_outgoing_ports() {
        let first = outgoing_from();
        let all: Vec<u16> = candidates().collect();
        assert!(all.iter().all(|port| *port < first && *port >= 10_000), "{all:?}");
        assert!(all.is_empty() || all.iter().any(|port| *port != all[0]), "{all:?}");
        assert_eq!(below(32_768), 22_768..32_768);
        assert_eq!(below(1024), 0..0);
    }
    #[test]
    fn reserved_ports_are_not_given_to_connections() {
        assert_eq!(without(100..=200, "\n"), [100..=200]);
        assert_eq!(without(100..=200, "90-100,150,300\n"), [101..=149, 151..=200]);
        assert_eq!(without(100..=200, "150-65535\n"), [100..=149]);
    }
}
