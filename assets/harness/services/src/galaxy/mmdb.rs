//! Writes a MaxMind DB: a binary search tree over IPv6 addresses, IPv4 below `::/96`, 24-bit records.
//!
//! The format is specified at <https://maxmind.github.io/MaxMind-DB/>.

use std::net::IpAddr;

const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// Zero bytes between the tree and the data.
const SEPARATOR: u32 = 16;
const RECORD_BITS: u16 = 24;
/// Bits of the tree above an IPv4 network.
const V4_DEPTH: u8 = 96;

/// A value of the data section.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    Text(&'a str),
    Map(Vec<(&'a str, Value<'a>)>),
    List(Vec<Value<'a>>),
    U16(u16),
    U32(u32),
    U64(u64),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WriteError {
    #[error("{0}/{1} is not a network")]
    NotANetwork(IpAddr, u8),
    #[error("{0}/{1} overlaps a network that is there already")]
    Overlap(IpAddr, u8),
    #[error("a text or a collection of {0} items is too long")]
    TooLong(usize),
    #[error("more data than 24 bits can address")]
    TooLarge,
}

#[derive(Debug, Clone, Copy)]
enum Record {
    Empty,
    Node(u32),
    /// Offset in the data section.
    Data(u32),
}

#[derive(Debug)]
pub struct Writer {
    nodes: Vec<[Record; 2]>,
    data: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            nodes: vec![[Record::Empty; 2]],
            data: Vec::new(),
        }
    }
}

impl Writer {
    /// Gives a network a value.
    ///
    /// # Errors
    /// The prefix does not fit the address, or part of the network has a value.
    pub fn insert(&mut self, network: IpAddr, prefix: u8, value: &Value) -> Result<(), WriteError> {
        let (bits, depth) = match network {
            IpAddr::V4(v4) if prefix <= 32 => (u128::from(u32::from(v4)), V4_DEPTH + prefix),
            IpAddr::V6(v6) if prefix <= 128 => (u128::from(v6), prefix),
            _ => return Err(WriteError::NotANetwork(network, prefix)),
        };
        if depth == 0 {
            return Err(WriteError::NotANetwork(network, prefix));
        }
        let side = |level: u8| usize::from(bits >> (127 - level) & 1 == 1);
        let mut node = 0;
        for level in 0..depth - 1 {
            node = match self.nodes[node][side(level)] {
                Record::Node(next) => next as usize,
                Record::Data(_) => return Err(WriteError::Overlap(network, prefix)),
                Record::Empty => {
                    let next = self.nodes.len();
                    let number = u32::try_from(next).map_err(|_| WriteError::TooLarge)?;
                    self.nodes.push([Record::Empty; 2]);
                    self.nodes[node][side(level)] = Record::Node(number);
                    next
                }
            };
        }
        let offset = u32::try_from(self.data.len()).map_err(|_| WriteError::TooLarge)?;
        match &mut self.nodes[node][side(depth - 1)] {
            leaf @ Record::Empty => *leaf = Record::Data(offset),
            _ => return Err(WriteError::Overlap(network, prefix)),
        }
        encode(&mut self.data, value)
    }

    /// The whole file. `epoch` is the second at which it says it was built.
    ///
    /// # Errors
    /// The file would be larger than its records can address.
    pub fn finish(
        &self,
        database_type: &str,
        description: &str,
        epoch: u64,
    ) -> Result<Vec<u8>, WriteError> {
        let node_count = u32::try_from(self.nodes.len()).map_err(|_| WriteError::TooLarge)?;
        let mut file = Vec::new();
        for record in self.nodes.iter().flatten() {
            let number = match record {
                Record::Empty => node_count,
                Record::Node(number) => *number,
                Record::Data(offset) => node_count + SEPARATOR + offset,
            };
            match number.to_be_bytes() {
                [0, bytes @ ..] => file.extend(bytes),
                _ => return Err(WriteError::TooLarge),
            }
        }
        file.extend([0; SEPARATOR as usize]);
        file.extend(&self.data);
        file.extend(METADATA_MARKER);
        let metadata = Value::Map(vec![
            ("binary_format_major_version", Value::U16(2)),
            ("binary_format_minor_version", Value::U16(0)),
            ("build_epoch", Value::U64(epoch)),
            ("database_type", Value::Text(database_type)),
            (
                "description",
                Value::Map(vec![("en", Value::Text(description))]),
            ),
            ("ip_version", Value::U16(6)),
            ("languages", Value::List(vec![Value::Text("en")])),
            ("node_count", Value::U32(node_count)),
            ("record_size", Value::U16(RECORD_BITS)),
        ]);
        encode(&mut file, &metadata)?;
        Ok(file)
    }
}

fn encode(out: &mut Vec<u8>, value: &Value) -> Result<(), WriteError> {
    match value {
        Value::Text(text) => {
            control(out, 2, text.len())?;
            out.extend(text.as_bytes());
        }
        Value::Map(entries) => {
            control(out, 7, entries.len())?;
            for (key, value) in entries {
                encode(out, &Value::Text(key))?;
                encode(out, value)?;
            }
        }
        Value::List(items) => {
            control(out, 11, items.len())?;
            for item in items {
                encode(out, item)?;
            }
        }
        Value::U16(number) => {
            control(out, 5, 2)?;
            out.extend(number.to_be_bytes());
        }
        Value::U32(number) => {
            control(out, 6, 4)?;
            out.extend(number.to_be_bytes());
        }
        Value::U64(number) => {
            control(out, 9, 8)?;
            out.extend(number.to_be_bytes());
        }
    }
    Ok(())
}

/// The control byte: three bits of type (0: the type follows, less seven), five of size (29: one more byte of it).
fn control(out: &mut Vec<u8>, kind: u8, size: usize) -> Result<(), WriteError> {
    let too_long = |_| WriteError::TooLong(size);
    let (short, more) = match size {
        0..29 => (u8::try_from(size).map_err(too_long)?, None),
        _ => (29, Some(u8::try_from(size - 29).map_err(too_long)?)),
    };
    match kind {
        0..8 => out.push(kind << 5 | short),
        _ => out.extend([short, kind - 7]),
    }
    out.extend(more);
    Ok(())
}

#[cfg(test)]
mod tests {
    use maxminddb::{Reader, path};

    use super::*;

    fn country(code: &str) -> Value<'_> {
        Value::Map(vec![(
            "country",
            Value::Map(vec![("iso_code", Value::Text(code))]),
        )])
    }

    fn written(networks: &[(&str, u8, &str)]) -> Reader<Vec<u8>> {
        let mut writer = Writer::default();
        for (network, prefix, code) in networks {
            writer
                .insert(network.parse().unwrap(), *prefix, &country(code))
                .unwrap();
        }
        Reader::from_source(writer.finish("Test", "A test", 1).unwrap()).unwrap()
    }

    fn found(reader: &Reader<Vec<u8>>, address: &str) -> Option<String> {
        reader
            .lookup(address.parse().unwrap())
            .unwrap()
            .decode_path(&path!["country", "iso_code"])
            .unwrap()
    }

    #[test]
    fn an_independent_reader_finds_each_network_and_its_borders() {
        let reader = written(&[
            ("192.0.2.0", 24, "DE"),
            ("198.51.100.128", 25, "FR"),
            ("2001:db8::", 32, "JP"),
        ]);
        reader.verify().unwrap();
        for (address, expected) in [
            ("192.0.2.0", Some("DE")),
            ("192.0.2.255", Some("DE")),
            ("192.0.1.255", None),
            ("192.0.3.0", None),
            ("198.51.100.127", None),
            ("198.51.100.128", Some("FR")),
            ("2001:db8::1", Some("JP")),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Some("JP")),
            ("2001:db9::", None),
            ("::", None),
        ] {
            assert_eq!(found(&reader, address).as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn the_metadata_is_what_was_asked_for() {
        let long = "d".repeat(200);
        let mut writer = Writer::default();
        writer
            .insert("10.0.0.1".parse().unwrap(), 32, &country("SE"))
            .unwrap();
        let reader =
            Reader::from_source(writer.finish("Galaxy-Country", &long, 42).unwrap()).unwrap();
        reader.verify().unwrap();
        let metadata = reader.metadata();
        assert_eq!(
            (
                metadata.ip_version,
                metadata.record_size,
                metadata.build_epoch
            ),
            (6, 24, 42)
        );
        assert_eq!(metadata.database_type, "Galaxy-Country");
        assert_eq!(metadata.description["en"], long);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let mut writer = Writer::default();
        let mut insert =
            |network: &str, prefix| writer.insert(network.parse().unwrap(), prefix, &country("X"));
        insert("10.0.0.0", 8).unwrap();
        assert!(matches!(
            insert("10.1.0.0", 16),
            Err(WriteError::Overlap(..))
        ));
        assert!(matches!(
            insert("10.0.0.0", 8),
            Err(WriteError::Overlap(..))
        ));
        assert!(matches!(
            insert("10.0.0.0", 33),
            Err(WriteError::NotANetwork(..))
        ));
        assert!(matches!(insert("::", 0), Err(WriteError::NotANetwork(..))));
        let text = "x".repeat(400);
        assert_eq!(
            Writer::default().finish("T", &text, 0),
            Err(WriteError::TooLong(400))
        );
    }
}
