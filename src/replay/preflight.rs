//! Why a script could not start, said before the kernel says it in one word.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::domain::replay::Replay;

/// The reason why a replay cannot be started; `None` if nothing stands in its way.
///
/// `path` is the `PATH` that the replay will get.
pub(super) fn obstacle(replay: &Replay, path: Option<&OsStr>) -> Option<String> {
    let file = &replay.file;
    let metadata = match std::fs::metadata(&replay.path) {
        Ok(metadata) => metadata,
        Err(error) => return Some(format!("{file}: {error}")),
    };
    // Found because it could not be looked into.
    if metadata.is_dir()
        && let Err(error) = std::fs::read_dir(&replay.path)
    {
        return Some(format!("{file}: {error}"));
    }
    if !metadata.is_file() {
        return Some(format!("{file} is not a file"));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Some(format!("{file} is not executable: chmod +x {file}"));
    }
    let mut start = Vec::new();
    if let Err(error) = File::open(&replay.path).and_then(|f| f.take(1024).read_to_end(&mut start))
    {
        return Some(format!("{file}: {error}"));
    }
    if let Some(problem) = shebang_problem(&start, path) {
        return Some(format!("{file} {problem}"));
    }
    let missing: Vec<&str> = replay
        .header
        .needs
        .iter()
        .filter(|tool| on_path(tool, path).is_none())
        .map(String::as_str)
        .collect();
    (!missing.is_empty()).then(|| format!("{file} needs {}, not on PATH", missing.join(", ")))
}

fn shebang_problem(start: &[u8], path: Option<&OsStr>) -> Option<String> {
    if start.starts_with(b"\x7fELF") {
        return None;
    }
    if start.starts_with(b"\xef\xbb\xbf#!") {
        return Some("starts with a byte order mark, which hides its shebang".to_owned());
    }
    let Some(line) = start.strip_prefix(b"#!") else {
        return Some("has no shebang: its first line must be like #!/usr/bin/env bash".to_owned());
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return Some(
            "has CRLF line ends, so its interpreter is looked for with a CR in its name: \
             sed -i 's/\\r$//'"
                .to_owned(),
        );
    }
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    let Some(interpreter) = words.next() else {
        return Some("has an empty shebang".to_owned());
    };
    if !Path::new(interpreter).is_file() {
        return Some(format!(
            "wants the interpreter {interpreter}, which does not exist"
        ));
    }
    if Path::new(interpreter).file_name() == Some(OsStr::new("env")) {
        // env's own options and assignments come before the program that it looks for.
        let program = words.find(|word| !word.starts_with('-') && !word.contains('='));
        match program {
            None => return Some("names no program behind env in its shebang".to_owned()),
            Some(program) if on_path(program, path).is_none() => {
                return Some(format!(
                    "wants the interpreter {program}, which is not on PATH"
                ));
            }
            Some(_) => {}
        }
    }
    None
}

fn on_path(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        std::fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(is_program);
    }
    std::env::split_paths(path?)
        .map(|directory| directory.join(program))
        .find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::replay::{Header, ReplayName};

    fn obstacle_of(content: &[u8], mode: u32) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it.sh");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let replay = Replay {
            name: ReplayName::new("it"),
            path,
            file: "it.sh".to_owned(),
            header: Header::parse(&String::from_utf8_lossy(content)),
        };
        obstacle(&replay, Some(OsStr::new("/usr/bin:/bin")))
    }

    #[test]
    fn a_good_script_has_no_obstacle() {
        for good in [
            &b"#!/bin/sh\n"[..],
            b"#! /bin/sh -e",
            b"#!/usr/bin/env bash\n# @needs bash sh\n",
            b"#!/usr/bin/env -S A=1 bash -e\n",
            b"\x7fELF",
        ] {
            assert_eq!(
                obstacle_of(good, 0o755),
                None,
                "{}",
                String::from_utf8_lossy(good)
            );
        }
    }

    #[test]
    fn each_obstacle_is_told_with_a_way_out() {
        let reason = |content: &str| obstacle_of(content.as_bytes(), 0o755).unwrap_or_default();
        assert!(
            obstacle_of(b"#!/bin/sh\n", 0o644)
                .unwrap()
                .contains("chmod +x it.sh")
        );
        assert!(reason("echo hi\n").contains("no shebang"));
        assert!(reason("").contains("no shebang"));
        assert!(reason("#!/bin/sh\r\necho\r\n").contains("CRLF"));
        assert!(reason("#!\n").contains("empty shebang"));
        assert!(reason("\u{feff}#!/bin/sh\n").contains("byte order mark"));
        assert!(reason("#!/no/such/thing\n").contains("/no/such/thing, which does not exist"));
        assert!(
            reason("#!/usr/bin/env nosuchshell\n").contains("nosuchshell, which is not on PATH")
        );
        assert!(reason("#!/usr/bin/env\n").contains("no program"));
        assert!(reason("#!/bin/sh\n# @needs sh nosuchtool\n").contains("needs nosuchtool"));
    }
}
