//! Candidate ports for services that bind by themselves: below the range that the system uses for
//! outgoing connections.
//!
//! No socket holds such a port between its release and the bind of the service, nor while a
//! crashed service waits for its next start. In the range of outgoing connections, a busy machine
//! would give it to a caller. This module does not check whether a port is free.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

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
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_ascii_whitespace().next()?.parse().ok())
        // The default of systems without that file.
        .unwrap_or(49_152)
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
}
