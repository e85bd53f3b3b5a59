//! The addresses of a stack's network.

use std::net::{IpAddr, Ipv4Addr};

/// An IPv4 network, and this machine's address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    pub(crate) gateway: Ipv4Addr,
    /// The number of leading bits that all addresses share.
    bits: u32,
}

impl Subnet {
    /// Reads `172.18.0.0/16,172.18.0.1`: the network, and this machine's address in it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (network, gateway) = text.split_once(',')?;
        let (_, bits) = network.split_once('/')?;
        let bits = bits.parse().ok().filter(|bits| *bits <= Ipv4Addr::BITS)?;
        Some(Self { gateway: gateway.parse().ok()?, bits })
    }

    /// Whether an address belongs to the network.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address.to_canonical() else { return false };
        let differing = address.to_bits() ^ self.gateway.to_bits();
        differing.leading_zeros() >= self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnet_contains_only_its_addresses() {
        let subnet = Subnet::parse("172.18.0.0/16,172.18.0.1").unwrap();
        for (address, inside) in [
            ("172.18.0.1", true),
            ("172.18.255.7", true),
            ("::ffff:172.18.3.4", true),
            ("172.19.0.2", false),
            ("192.168.1.5", false),
            ("127.0.0.1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(subnet.contains(address.parse().unwrap()), inside, "{address}");
        }
        let one = Subnet::parse("10.0.0.1/32,10.0.0.1").unwrap();
        assert!(one.contains("10.0.0.1".parse().unwrap()));
        assert!(!one.contains("10.0.0.2".parse().unwrap()));
    }

    #[test]
    fn other_texts_are_no_subnet() {
        for text in
            ["", "172.18.0.1", "172.18.0.0/16,", "172.18.0.0/64,172.18.0.1", "fd00::/64,fd00::1"]
        {
            assert_eq!(Subnet::parse(text), None, "{text}");
        }
    }
}
