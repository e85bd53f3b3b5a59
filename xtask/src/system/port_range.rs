//! Port numbers for services that bind by themselves: below the range from which the
//! system takes numbers for outgoing connections.
//!
//! Between the moment when a number is let go and the moment when the service binds
//! it, and again while a crashed service waits for its next start, nobody holds it. A
//! number of that range would then go to some caller sooner or later on a busy
//! machine. Whether a number is free is not checked here.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

/// How many numbers below the range of outgoing connections are chosen from.
const CHOICE: u16 = 10_000;

/// How many numbers are worth a try before the system may choose.
const TRIES: usize = 64;

/// Numbers to try, in random order, so that stacks that start at once do not all try
/// the same.
pub(crate) fn candidates() -> impl Iterator<Item = u16> {
    let range = below(outgoing_from());
    let width = u64::from(range.end.saturating_sub(range.start));
    let tries = if width == 0 { 0 } else { TRIES };
    (0..tries).map(move |_| {
        let random = RandomState::new().build_hasher().finish();
        range.start + u16::try_from(random % width).unwrap_or_default()
    })
}

/// The numbers below `first`; none where too few are left above those that services
/// usually have.
fn below(first: u16) -> Range<u16> {
    match first.checked_sub(CHOICE) {
        Some(start) if start >= 10_000 => start..first,
        _ => 0..0,
    }
}

/// The first number that outgoing connections may have.
fn outgoing_from() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_ascii_whitespace().next()?.parse().ok())
        // What systems without that file begin with.
        .unwrap_or(49_152)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_below_those_of_outgoing_connections_and_differ() {
        let first = outgoing_from();
        let all: Vec<u16> = candidates().collect();
        assert!(all.iter().all(|number| *number < first && *number >= 10_000), "{all:?}");
        assert!(all.is_empty() || all.iter().any(|number| *number != all[0]), "{all:?}");
        assert_eq!(below(32_768), 22_768..32_768);
        assert_eq!(below(1024), 0..0);
    }
}
