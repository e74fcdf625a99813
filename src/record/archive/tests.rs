//! Bundles and archives from anywhere.

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use tempfile::TempDir;

use super::super::fixtures::{ended, failed, finished, run, started, write};
use super::super::read;
use super::*;

static GO_ON: AtomicBool = AtomicBool::new(false);

/// A run with one failed replay that printed something.
fn recording(directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    let mut result = ended("a", failed(), 1);
    if let crate::domain::run::RunEventKind::ReplayFinished(result) = &mut result {
        let file = Path::new("/elsewhere/runs").join(run(0).as_str());
        result.output.file = Some(file.join("replays/a/output.log"));
    }
    drop(write(
        directory,
        vec![started(&run(0), &["a"]), result, finished()],
    ));
    let artifacts = directory.join("replays/a/artifacts");
    std::fs::create_dir_all(&artifacts).unwrap();
    std::fs::write(directory.join("replays/a/output.log"), "it printed\n").unwrap();
    let long = "é".repeat(100);
    std::fs::write(artifacts.join(&long), vec![7; 300_000]).unwrap();
}

/// A place of its own for each test.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn unpack(&self, archive: &Path) -> Result<Unpacked, ArchiveError> {
        self.unpack_within(archive, Limits::default())
    }

    fn unpack_within(&self, archive: &Path, limits: Limits) -> Result<Unpacked, ArchiveError> {
        let base = self.path("temporary");
        std::fs::create_dir_all(&base).unwrap();
        let unpacked = unpack(archive, &base, limits, &GO_ON);
        if unpacked.is_err() {
            let left = std::fs::read_dir(&base).unwrap().count();
            assert_eq!(left, 0, "what was unpacked of it is gone");
        }
        unpacked
    }

    fn refusal(&self, bytes: &[u8]) -> String {
        let archive = self.path("archive");
        std::fs::write(&archive, bytes).unwrap();
        let error = self.unpack(&archive).unwrap_err().to_string();
        error.replace(&archive.display().to_string(), "FILE")
    }
}

fn tarball(add: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    add(&mut builder);
    builder.into_inner().unwrap()
}

/// An entry whose name and link are written as they are, whatever they are.
fn entry(
    builder: &mut tar::Builder<Vec<u8>>,
    name: &[u8],
    kind: tar::EntryType,
    link: &str,
    content: &[u8],
) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o7777);
    header.set_size(content.len() as u64);
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

const FILE: tar::EntryType = tar::EntryType::Regular;

fn log() -> Vec<u8> {
    let desk = Desk::new();
    recording(&desk.path("run"));
    std::fs::read(desk.path("run/events.jsonl")).unwrap()
}

#[test]
fn a_bundle_is_the_run_again() {
    let desk = Desk::new();
    let directory = desk.path("run");
    recording(&directory);
    std::os::unix::fs::symlink("/etc/passwd", directory.join("replays/a/link")).unwrap();
    let original = read(&directory).unwrap().with_outputs();
    for name in ["a.tar.zst", "b.TZST", "c.tar.gz", "d.tgz"] {
        let file = desk.path(name);
        let packed = pack(&directory, "name", &file, false, &GO_ON).unwrap();
        assert_eq!(packed.left_out, 1);
        assert_eq!(packed.bytes, file.metadata().unwrap().len());
        let unpacked = desk.unpack(&file).unwrap();
        assert_eq!(unpacked.left_out, 0);
        assert!(unpacked.directory().ends_with("name"));
        let again = read(unpacked.directory()).unwrap().with_outputs();
        let text = |recording: &super::super::Recording| recording.summary.results[0].output.text();
        assert_eq!(text(&again), b"it printed\n");
        assert_eq!(text(&again), text(&original));
        let artifact = format!("replays/a/artifacts/{}", "é".repeat(100));
        let artifact = std::fs::read(unpacked.directory().join(artifact)).unwrap();
        assert_eq!(artifact, vec![7; 300_000]);
        let place = unpacked.directory().to_owned();
        drop(unpacked);
        assert!(!place.exists());
    }
    // Nothing is left of the work.
    assert_eq!(std::fs::read_dir(desk.0.path()).unwrap().count(), 6);
}

#[test]
fn a_bundle_takes_the_place_of_nothing_unless_it_is_told() {
    let desk = Desk::new();
    let directory = desk.path("run");
    recording(&directory);
    let file = desk.path("a.tar.zst");
    std::fs::write(&file, "precious").unwrap();
    let packed = |file: &Path, replace| pack(&directory, "r", file, replace, &GO_ON);
    let error = packed(&file, false).unwrap_err();
    assert!(matches!(error, ArchiveError::Exists(_)), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    packed(&file, true).unwrap();
    assert!(desk.unpack(&file).is_ok());
    for name in ["a.rar", "tar.zst", "a.zst"] {
        let error = packed(&desk.path(name), false).unwrap_err();
        assert!(matches!(error, ArchiveError::Name(_)), "{error}");
    }
    let error = packed(&desk.path("no/a.tgz"), false).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    let stop = AtomicBool::new(true);
    let error = pack(&directory, "r", &desk.path("b.tgz"), false, &stop).unwrap_err();
    assert!(matches!(error, ArchiveError::Interrupted), "{error}");
    let error = unpack(&file, desk.0.path(), Limits::default(), &stop).unwrap_err();
    assert!(matches!(error, ArchiveError::Interrupted), "{error}");
    assert_eq!(std::fs::read_dir(desk.0.path()).unwrap().count(), 3);
}

#[test]
fn a_run_is_found_where_it_lies_in_an_archive() {
    let desk = Desk::new();
    let log = log();
    let opened = |names: &[&str]| {
        let bytes = tarball(|builder| {
            for name in names {
                entry(builder, name.as_bytes(), FILE, "", &log);
            }
        });
        std::fs::write(desk.path("x.tar"), bytes).unwrap();
        desk.unpack(&desk.path("x.tar"))
    };
    for name in [
        "events.jsonl",
        "./events.jsonl",
        "a/events.jsonl",
        "a/b//./c/events.jsonl",
    ] {
        let unpacked = opened(&[name]).unwrap();
        assert!(read(unpacked.directory()).is_ok(), "{name}");
    }
    // What a replay kept is not looked at.
    let inner = opened(&["a/events.jsonl", "a/replays/x/artifacts/events.jsonl"]);
    assert!(inner.unwrap().directory().ends_with("a"));
    let error = opened(&["b/events.jsonl", "a/events.jsonl"]).unwrap_err();
    assert!(error.to_string().contains("several runs: a, b;"), "{error}");
    for names in [&[][..], &["a/b/c/d/e/events.jsonl"], &["events.json"]] {
        let error = opened(names).unwrap_err();
        assert!(
            matches!(error, ArchiveError::NoRun(_) | ArchiveError::Unknown(_)),
            "{error}"
        );
    }
}

#[test]
fn no_name_leads_out_of_an_archive() {
    let desk = Desk::new();
    let outside = desk.path("outside");
    for name in [
        "../outside",
        "a/../../outside",
        "a/../events.jsonl",
        outside.to_str().unwrap(),
        "/etc/tackroom",
    ] {
        for kind in [FILE, tar::EntryType::Directory] {
            let bytes = tarball(|builder| {
                entry(builder, b"events.jsonl", FILE, "", &log());
                entry(builder, name.as_bytes(), kind, "", b"");
            });
            let refusal = desk.refusal(&bytes);
            let expected = format!("FILE is refused: it names a file outside of itself: {name}");
            assert_eq!(refusal, expected);
        }
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(b"x").unwrap();
        let refusal = desk.refusal(zip.finish().unwrap().get_ref());
        assert!(refusal.contains("outside of itself"), "{refusal}");
    }
    assert!(!outside.exists());
    assert!(!Path::new("/etc/tackroom").exists());
}

#[test]
fn links_and_devices_are_not_made() {
    let desk = Desk::new();
    let secret = desk.path("secret");
    std::fs::create_dir(&secret).unwrap();
    let to = secret.to_str().unwrap();
    let bytes = tarball(|builder| {
        use tar::EntryType;
        entry(builder, b"events.jsonl", FILE, "", &log());
        entry(builder, b"link", EntryType::Symlink, to, b"");
        // Written through the link, if that was there.
        entry(builder, b"link/file", FILE, "", b"x");
        entry(builder, b"hard", EntryType::Link, "/etc/passwd", b"");
        entry(builder, b"device", EntryType::Char, "", b"");
        entry(builder, b"disk", EntryType::Block, "", b"");
        entry(builder, b"pipe", EntryType::Fifo, "", b"");
        entry(builder, b"odd", EntryType::new(b'?'), "", b"content");
    });
    let archive = desk.path("x");
    std::fs::write(&archive, bytes).unwrap();
    let unpacked = desk.unpack(&archive).unwrap();
    assert_eq!(unpacked.left_out, 6);
    let there = |name: &str| unpacked.directory().join(name).symlink_metadata();
    for name in ["hard", "device", "disk", "pipe", "odd"] {
        assert!(there(name).is_err(), "{name}");
    }
    assert!(there("link").unwrap().is_dir());
    assert_eq!(std::fs::read_dir(&secret).unwrap().count(), 0);
    use std::os::unix::fs::PermissionsExt;
    let mode = there("events.jsonl").unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);

    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("events.jsonl", options).unwrap();
    zip.write_all(&log()).unwrap();
    zip.add_symlink("link", to, options).unwrap();
    std::fs::write(&archive, zip.finish().unwrap().into_inner()).unwrap();
    let unpacked = desk.unpack(&archive).unwrap();
    assert_eq!(unpacked.left_out, 1);
    assert!(!unpacked.directory().join("link").exists());
}

/// A zip that lists so many entries with long names and holds none of them.
fn listing(entries: u16) -> Vec<u8> {
    let name = [b'x'; 60_000];
    let length = (name.len() as u16).to_le_bytes();
    let listed = [b"PK\x01\x02", &[0; 24][..], &length, &[0; 16], &name].concat();
    let list = listed.repeat(entries.into());
    let start = b"PK\x03\x04";
    let (count, size) = (entries.to_le_bytes(), (list.len() as u32).to_le_bytes());
    let offset = (start.len() as u32).to_le_bytes();
    let end = [
        b"PK\x05\x06",
        &[0; 4][..],
        &count,
        &count,
        &size,
        &offset,
        &[0; 2],
    ]
    .concat();
    [start, &*list, &end].concat()
}

#[test]
fn a_bomb_is_refused_in_words() {
    let desk = Desk::new();
    let limits = Limits {
        bytes: 1 << 20,
        entries: 10,
    };
    let zeros = || std::io::repeat(0).take(64 << 20);
    let mut header = tar::Header::new_gnu();
    header.set_size(64 << 20);
    let mut big = tar::Builder::new(Vec::new());
    big.append_data(&mut header, "events.jsonl", zeros())
        .unwrap();
    let big = big.into_inner().unwrap();
    let mut zstd_bomb = Vec::new();
    super::zstd::compress(&*big, &mut zstd_bomb).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&big).unwrap();
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("x", zip::write::SimpleFileOptions::default())
        .unwrap();
    std::io::copy(&mut zeros(), &mut zip).unwrap();
    let many = tarball(|builder| {
        for number in 0..11 {
            let kind = [FILE, tar::EntryType::Directory, tar::EntryType::Symlink][number % 3];
            entry(builder, number.to_string().as_bytes(), kind, "x", b"");
        }
    });
    let archive = desk.path("x");
    for (bytes, words) in [
        (big, "it holds more than 1 MiB when it is unpacked"),
        (zstd_bomb, "it holds more than 1 MiB when it is unpacked"),
        (
            gzip.finish().unwrap(),
            "it holds more than 1 MiB when it is unpacked",
        ),
        (
            zip.finish().unwrap().into_inner(),
            "it holds more than 1 MiB when it is unpacked",
        ),
        (many, "it holds more than 10 files"),
    ] {
        std::fs::write(&archive, bytes).unwrap();
        let error = desk.unpack_within(&archive, limits).unwrap_err();
        assert!(matches!(error, ArchiveError::Refused { .. }), "{error}");
        assert!(error.to_string().ends_with(words), "{error}");
    }
    let nested: String = "a/".repeat(11);
    let implicit = tarball(|builder| {
        entry(builder, format!("{nested}x").as_bytes(), FILE, "", b"");
    });
    std::fs::write(&archive, implicit).unwrap();
    let error = desk.unpack_within(&archive, limits).unwrap_err();
    assert!(error.to_string().ends_with("more than 10 files"), "{error}");
    let deep = tarball(|builder| {
        let name = format!("{}x", "a/".repeat(200));
        entry(
            builder,
            b"././@LongLink",
            tar::EntryType::GNULongName,
            "",
            name.as_bytes(),
        );
        entry(builder, b"short", FILE, "", b"");
    });
    let refusal = desk.refusal(&deep);
    assert!(refusal.contains("deeper than 128: a/a/"), "{refusal}");
    let refusal = desk.refusal(&listing(600));
    assert!(refusal.contains("is too large"), "{refusal}");
    // It is held in memory until its entry comes.
    let long_name = tarball(|builder| {
        let name = vec![b'x'; 2 << 20];
        entry(
            builder,
            b"././@LongLink",
            tar::EntryType::GNULongName,
            "",
            &name,
        );
        entry(builder, b"short", FILE, "", b"");
    });
    let refusal = desk.refusal(&long_name);
    assert!(
        refusal.starts_with("FILE is refused: one of its headers"),
        "{refusal}"
    );
    let mut tail = tarball(|builder| entry(builder, b"a", FILE, "", b""));
    tail.resize(tail.len() + (2 << 20), 0);
    let refusal = desk.refusal(&tail);
    assert!(refusal.contains("behind its end"), "{refusal}");
}

#[test]
fn what_is_no_archive_or_a_broken_one_is_said_in_words() {
    let desk = Desk::new();
    let directory = desk.path("run");
    recording(&directory);
    for bytes in [&b""[..], b"PK", b"text", &[0; 600]] {
        let refusal = desk.refusal(bytes);
        assert!(refusal.starts_with("FILE is no archive: "), "{refusal}");
    }
    for name in ["a.tar.zst", "a.tar.gz"] {
        let file = desk.path(name);
        pack(&directory, "r", &file, false, &GO_ON).unwrap();
        let whole = std::fs::read(&file).unwrap();
        for length in [20, whole.len() / 2, whole.len() - 1] {
            let refusal = desk.refusal(&whole[..length]);
            assert!(
                refusal.starts_with("FILE is damaged: "),
                "{name} {length}: {refusal}"
            );
        }
    }
    let twice = tarball(|builder| {
        entry(builder, b"a", FILE, "", b"x");
        entry(builder, b"a/b", FILE, "", b"x");
    });
    let refusal = desk.refusal(&twice);
    assert!(refusal.starts_with("FILE is damaged: a/b: "), "{refusal}");
    let error = desk.unpack(&desk.path("none")).unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    let error = desk.unpack(&directory).unwrap_err();
    assert!(matches!(error, ArchiveError::Unknown(_)), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_damaged_archive_is_an_error_or_does_no_harm(
        zipped: bool,
        damage in proptest::collection::vec((0.0..1.0, any::<u8>()), 1..8),
    ) {
        let desk = Desk::new();
        let mut bytes = if zipped {
            let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
            let options = zip::write::SimpleFileOptions::default();
            zip.start_file("events.jsonl", options).unwrap();
            zip.write_all(&log()).unwrap();
            zip.add_directory("replays", options).unwrap();
            zip.finish().unwrap().into_inner()
        } else {
            tarball(|builder| {
                entry(builder, b"events.jsonl", FILE, "", &log());
                entry(builder, b"replays", tar::EntryType::Directory, "", b"");
            })
        };
        for (at, to) in damage {
            let at = (bytes.len() as f64 * at) as usize;
            bytes[at] = to;
        }
        let archive = desk.path("archive");
        std::fs::write(&archive, bytes).unwrap();
        let limits = Limits { bytes: 1 << 20, entries: 100 };
        let _ = desk.unpack_within(&archive, limits);
        let outside: Vec<_> = std::fs::read_dir(desk.0.path()).unwrap().flatten().collect();
        prop_assert_eq!(outside.len(), 2);
    }
}
