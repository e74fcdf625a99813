//! Why a script could not start, said before the kernel says it in one word.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::domain::replay::Replay;

/// How a replay would be started.
#[derive(Debug)]
pub(super) struct Start<'a> {
    /// Program and arguments in front of the script; empty: it is run by itself.
    pub(super) wrapper: &'a [String],
    /// Where it would run.
    pub(super) dir: &'a Path,
    /// The `PATH` that it would get.
    pub(super) path: Option<&'a OsStr>,
}

/// The reason why a replay cannot be started; `None` if nothing stands in its way.
pub(super) fn obstacle(replay: &Replay, start: &Start<'_>) -> Option<String> {
    let file = &replay.file;
    let metadata = match std::fs::metadata(&replay.path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return Some(match std::fs::read_link(&replay.path) {
                Ok(target) => format!("{file} is a link to {}: {error}", target.display()),
                Err(_) => format!("{file}: {error}"),
            });
        }
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
    let problem = match start.wrapper.first() {
        Some(wrapper) => wrapper_problem(&replay.path, wrapper, start),
        None => script_problem(replay, &metadata, start),
    };
    if problem.is_some() {
        return problem.map(|problem| format!("{file} {problem}"));
    }
    let missing: Vec<&str> = replay
        .header
        .needs
        .iter()
        .filter(|tool| on_path(tool, start).is_none())
        .map(String::as_str)
        .collect();
    (!missing.is_empty()).then(|| format!("{file} needs {}, not on PATH", missing.join(", ")))
}

fn wrapper_problem(script: &Path, wrapper: &str, start: &Start<'_>) -> Option<String> {
    if let Err(error) = File::open(script) {
        return Some(format!("cannot be read: {error}"));
    }
    if on_path(wrapper, start).is_some() {
        return None;
    }
    Some(if wrapper.contains('/') {
        format!("is run by {wrapper}, which is no program")
    } else {
        format!("is run by {wrapper}, which is not on PATH")
    })
}

fn script_problem(replay: &Replay, metadata: &Metadata, start: &Start<'_>) -> Option<String> {
    if metadata.permissions().mode() & 0o111 == 0 {
        return Some(format!("is not executable: chmod +x {}", replay.file));
    }
    // Also on a file system that is mounted so that nothing of it is executed.
    if let Err(error) = rustix::fs::access(&replay.path, Access::EXEC_OK) {
        let error = std::io::Error::from(error);
        return Some(format!(
            "is executable, but not here or not for us: {error}"
        ));
    }
    let mut bytes = Vec::new();
    match File::open(&replay.path).and_then(|file| file.take(1024).read_to_end(&mut bytes)) {
        Ok(_) => shebang_problem(&bytes, start),
        Err(error) => Some(format!("cannot be read: {error}")),
    }
}

fn shebang_problem(bytes: &[u8], start: &Start<'_>) -> Option<String> {
    if bytes.starts_with(b"\x7fELF") {
        return None;
    }
    if bytes.starts_with(b"\xef\xbb\xbf#!") {
        return Some("starts with a byte order mark, which hides its shebang".to_owned());
    }
    let Some(line) = bytes.strip_prefix(b"#!") else {
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
    let program = start.dir.join(interpreter);
    if !program.is_file() {
        return Some(format!(
            "wants the interpreter {interpreter}, which does not exist"
        ));
    }
    if !is_program(&program) {
        return Some(format!(
            "wants the interpreter {interpreter}, which is not executable"
        ));
    }
    if Path::new(interpreter).file_name() == Some(OsStr::new("env")) {
        // env's own options and assignments come before the program that it looks for.
        let program = words.find(|word| !word.starts_with('-') && !word.contains('='));
        match program {
            None => return Some("names no program behind env in its shebang".to_owned()),
            Some(program) if on_path(program, start).is_none() => {
                return Some(format!(
                    "wants the interpreter {program}, which is not on PATH"
                ));
            }
            Some(_) => {}
        }
    }
    None
}

fn is_program(path: &PathBuf) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn on_path(program: &str, start: &Start<'_>) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(start.dir.join(program)).filter(is_program);
    }
    std::env::split_paths(start.path?)
        .map(|directory| start.dir.join(directory).join(program))
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
            suite: crate::domain::suite::SuiteName::default(),
            path,
            file: "it.sh".to_owned(),
            header: Header::parse(&String::from_utf8_lossy(content)),
        };
        obstacle(
            &replay,
            &Start {
                wrapper: &[],
                dir: dir.path(),
                path: Some(OsStr::new("/usr/bin:/bin")),
            },
        )
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
