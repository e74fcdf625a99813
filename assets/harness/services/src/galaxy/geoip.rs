//! Which country an address is of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use maxminddb::{MaxMindDbError, Reader, path};

use super::mmdb::{Value, WriteError, Writer};

/// The networks that are reserved for documentation (RFC 5737, RFC 3849): no fixture can be wrong about a real one.
const NETWORKS: [(IpAddr, u8, &str, &str); 4] = [
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 0)), 24, "DE", "Germany"),
    (
        IpAddr::V4(Ipv4Addr::new(198, 51, 100, 0)),
        24,
        "FR",
        "France",
    ),
    (IpAddr::V4(Ipv4Addr::new(203, 0, 113, 0)), 24, "JP", "Japan"),
    (
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)),
        32,
        "SE",
        "Sweden",
    ),
];
/// 2026-01-01: the fixture is the same bytes whenever it is made.
const BUILD_EPOCH: u64 = 1_767_225_600;

/// A database of a few kilobytes, in the shape of GeoLite2-Country.
///
/// # Errors
/// None for the networks above; see [`Writer`].
pub fn fixture() -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer::default();
    for (network, prefix, code, name) in NETWORKS {
        let country = Value::Map(vec![
            ("iso_code", Value::Text(code)),
            ("names", Value::Map(vec![("en", Value::Text(name))])),
        ]);
        writer.insert(network, prefix, &Value::Map(vec![("country", country)]))?;
    }
    writer.finish(
        "GeoLite2-Country",
        "Documentation networks with made-up countries",
        BUILD_EPOCH,
    )
}

/// An open database.
#[derive(Debug)]
pub struct GeoIp(Reader<Vec<u8>>);

impl GeoIp {
    /// Reads the whole file.
    ///
    /// # Errors
    /// It cannot be read, or is no MaxMind DB.
    pub fn open(file: &Path) -> Result<Self, MaxMindDbError> {
        Reader::open_readfile(file).map(Self)
    }

    /// The country's two letters; none for an address that the database does not know.
    #[must_use]
    pub fn country(&self, address: IpAddr) -> Option<String> {
        let found = self
            .0
            .lookup(address.to_canonical())
            .and_then(|found| found.decode_path(&path!["country", "iso_code"]));
        found.unwrap_or_else(|error| {
            tracing::error!(%error, %address, "geoip");
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixture_is_valid_and_answers() {
        let reader = Reader::from_source(fixture().unwrap()).unwrap();
        reader.verify().unwrap();
        let geoip = GeoIp(reader);
        for (address, expected) in [
            ("192.0.2.7", Some("DE")),
            ("::ffff:192.0.2.7", Some("DE")),
            ("198.51.100.1", Some("FR")),
            ("203.0.113.255", Some("JP")),
            ("2001:db8::1", Some("SE")),
            ("127.0.0.1", None),
            ("::1", None),
        ] {
            assert_eq!(
                geoip.country(address.parse().unwrap()).as_deref(),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn the_fixture_is_the_same_each_time() {
        assert_eq!(fixture(), fixture());
    }
}
