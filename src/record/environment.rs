//! `environment.json`: the fingerprint of what a run ran against, and the salt of its hashes.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Store;
use super::files::{LONGEST_LINE, open_inside, write_atomically};
use super::read::ReadError;
use crate::codec::{self, DecodeError};
use crate::domain::fingerprint::{Fingerprint, Hash};

const FILE_NAME: &str = "environment.json";
const VERSION: u64 = 1;
const SALT: &str = "salt";
/// Bytes of a hash that are kept.
const KEPT: usize = 16;

#[derive(Serialize)]
struct Written<'a> {
    v: u64,
    event: &'a str,
    tackroom: &'a str,
    #[serde(flatten)]
    fingerprint: &'a Fingerprint,
}

#[derive(Deserialize)]
struct Version {
    v: u64,
}

/// Writes the fingerprint of a run into its directory, in place of an earlier one.
///
/// # Errors
///
/// Fails where it cannot be written.
pub fn write_fingerprint(directory: &Path, fingerprint: &Fingerprint) -> io::Result<()> {
    let written = serde_json::to_value(Written {
        v: VERSION,
        event: "environment",
        tackroom: env!("CARGO_PKG_VERSION"),
        fingerprint,
    });
    let line = codec::line(&written.map_err(io::Error::other)?);
    write_atomically(&directory.join(FILE_NAME), format!("{line}\n").as_bytes())
}

/// What a run ran against; `None` where that was not written down, or cannot be understood.
///
/// # Errors
///
/// Fails where the file is there and cannot be read, or a newer tackroom wrote it.
pub fn fingerprint(directory: &Path) -> Result<Option<Fingerprint>, ReadError> {
    let wrap = |source| ReadError::Io {
        path: directory.join(FILE_NAME),
        source,
    };
    let Some((path, file)) = open_inside(directory, FILE_NAME).map_err(wrap)? else {
        return Ok(None);
    };
    let mut text = Vec::new();
    let mut bounded = file.take(LONGEST_LINE);
    bounded.read_to_end(&mut text).map_err(wrap)?;
    match serde_json::from_slice::<Version>(&text) {
        Ok(Version { v }) if v > VERSION => Err(ReadError::Newer {
            path,
            source: DecodeError::Newer(v),
        }),
        Ok(_) => Ok(serde_json::from_slice(&text).ok()),
        Err(_) => Ok(None),
    }
}

/// What a store's hashes are salted with. Nobody who has a recording alone can find out by guessing
/// what was hashed.
#[derive(Clone)]
pub struct Salt([u8; 32]);

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt")
    }
}

impl Salt {
    /// Names it without telling it.
    pub fn id(&self) -> Hash {
        self.hash("salt", b"")
    }

    /// `what` keeps values of different kinds apart.
    pub fn hash(&self, what: &str, value: &[u8]) -> Hash {
        let mut digest = Sha256::new();
        digest.update(self.0);
        digest.update((what.len() as u64).to_le_bytes());
        digest.update(what);
        digest.update(value);
        let digest = digest.finalize();
        let digits = digest.iter().take(KEPT).map(|byte| format!("{byte:02x}"));
        digits.collect()
    }
}

impl Store {
    /// The salt of this store, which is made with its first run.
    ///
    /// # Errors
    ///
    /// Fails where it cannot be read or made.
    pub fn salt(&self) -> io::Result<Salt> {
        self.make()?;
        let path = self.directory.join(SALT);
        let mut salt = [0; 32];
        if let Ok(mut file) = File::open(&path)
            && file.read_exact(&mut salt).is_ok()
        {
            return Ok(Salt(salt));
        }
        File::open("/dev/urandom")?.read_exact(&mut salt)?;
        let temporary = self
            .directory
            .join(format!("{SALT}.{}", std::process::id()));
        let made = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                file.set_permissions(Permissions::from_mode(0o600))?;
                file.write_all(&salt)
            })
            .and_then(|()| std::fs::rename(&temporary, &path));
        if made.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        made.map(|()| Salt(salt))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::fingerprint::{
        ClockDifference, ContainerPrint, EnginePrint, GitHead, Machine, Unasked, Unknown,
    };

    #[test]
    fn equal_values_have_equal_hashes_in_one_store_alone() {
        let place = tempfile::tempdir().unwrap();
        let store = |name: &str| Store::at(place.path().join(name));
        let (one, same, other) = (store("a").salt(), store("a").salt(), store("b").salt());
        let (one, same, other) = (one.unwrap(), same.unwrap(), other.unwrap());
        assert_eq!(one.hash("env", b"x"), same.hash("env", b"x"));
        assert_eq!(one.id(), same.id());
        assert_ne!(one.hash("env", b"x"), other.hash("env", b"x"));
        assert_ne!(one.hash("env", b"x"), one.hash("env", b"y"));
        assert_ne!(one.hash("en", b"vx"), one.hash("env", b"x"));
        assert_eq!(one.hash("env", b"x").len(), 32);
        let mode = place
            .path()
            .join("a/salt")
            .metadata()
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        std::fs::write(place.path().join("a/salt"), "torn").unwrap();
        assert_ne!(store("a").salt().unwrap().id(), one.id());
    }

    fn write(directory: &Path, text: &str) {
        std::fs::write(directory.join(FILE_NAME), text).unwrap();
    }

    #[test]
    fn what_is_not_there_or_damaged_is_none_and_a_newer_one_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path();
        assert_eq!(fingerprint(directory).unwrap(), None);
        for text in ["", "{", "[]", "{\"v\":1,\"containers\":5}"] {
            write(directory, text);
            assert_eq!(fingerprint(directory).unwrap(), None, "{text}");
        }
        write(
            directory,
            "{\"v\":1,\"later\":{\"a\":1},\"files\":{\"a\":\"1\"}}",
        );
        let read = fingerprint(directory).unwrap().unwrap();
        assert_eq!(read.files.len(), 1);
        write(directory, "{\"v\":2,\"files\":7}");
        let error = fingerprint(directory).unwrap_err().to_string();
        assert!(
            error.contains("newer tackroom: written in version 2"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn a_fingerprint_comes_back_as_it_was(
            text in "\\PC{0,6}", number in any::<u64>(),
            nanoseconds in any::<i64>(), within in any::<u32>(), some in any::<bool>(),
        ) {
            let map = || [(text.clone(), text.clone())].into();
            let whole = Fingerprint {
                at: some.then_some(Timestamp::UNIX_EPOCH),
                salt: text.clone(),
                engine: some.then(|| EnginePrint {
                    product: text.clone(),
                    ..EnginePrint::default()
                }),
                clock: some.then(|| ClockDifference {
                    engine_ahead: SignedDuration::from_nanos(nanoseconds),
                    within: Duration::from_nanos(u64::from(within)),
                }),
                containers: [(text.clone(), ContainerPrint {
                    revision: some.then(|| text.clone()),
                    env: map(),
                    mounts: [text.clone()].into(),
                    limits: map(),
                    ..ContainerPrint::default()
                })].into(),
                files: map(),
                replays: map(),
                head: some.then(|| GitHead { dirty: number, ..GitHead::default() }),
                machine: Machine { cpus: number, ..Machine::default() },
                unknown: Unknown {
                    containers: Unasked { all: some, names: [text.clone()].into() },
                    ..Unknown::default()
                },
            };
            let place = tempfile::tempdir().unwrap();
            write_fingerprint(place.path(), &whole).unwrap();
            prop_assert_eq!(fingerprint(place.path()).unwrap(), Some(whole));
        }
    }
}
