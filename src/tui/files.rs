//! Files that the user takes away: saved lines, what is too much for a clipboard, what a pager
//! shows.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use etcetera::BaseStrategy;

use super::effect::Target;
use super::msg::Taken;
use crate::logs::extract::Extract;

/// What was logged may be secret: nobody else may read what nobody asked to have saved.
const OWN: u32 = 0o600;

/// Writes lines to their place, and says on the way how far it has come, and at last how it
/// ended. Ends early where `tell` says that nobody listens.
pub(super) fn take(
    extract: &Extract,
    target: &Target,
    mut tell: impl FnMut(Taken) -> ControlFlow<()>,
) {
    let _ = match open(target) {
        Ok(Opened { path, draft, file }) => {
            let mut out = BufWriter::with_capacity(1 << 16, file);
            let begun = tell(Taken::Begun);
            let written = match begun {
                ControlFlow::Break(()) => Err(io::ErrorKind::Interrupted.into()),
                ControlFlow::Continue(()) => {
                    extract.write(&mut out, |percent| tell(Taken::Progress(percent)))
                }
            };
            let written = written.and_then(|lines| {
                if let Some(draft) = draft.as_ref().filter(|draft| **draft != path) {
                    std::fs::rename(draft, &path)?;
                }
                Ok(lines)
            });
            match written {
                Ok(lines) => tell(Taken::Done { path, lines }),
                Err(error) => {
                    // Half a file could be taken for the whole one.
                    if let Some(draft) = draft {
                        let _ = std::fs::remove_file(draft);
                    }
                    tell(Taken::Failed(error.to_string()))
                }
            }
        }
        Err(error)
            if error.kind() == io::ErrorKind::AlreadyExists
                && matches!(target, Target::File { .. }) =>
        {
            tell(Taken::Exists)
        }
        Err(error) => tell(Taken::Failed(error.to_string())),
    };
}

/// Puts text into the file that stands in for the clipboard.
pub(super) fn keep(text: &str) -> Taken {
    let write = || {
        let Opened { path, mut file, .. } = open(&Target::Clipboard)?;
        file.write_all(text.as_bytes())?;
        let lines = text.lines().count() as u64;
        Ok(Taken::Done { path, lines })
    };
    write().unwrap_or_else(|error: io::Error| Taken::Failed(error.to_string()))
}

/// A file that is begun.
struct Opened {
    path: PathBuf,
    /// What is written, and must not stay if it does not become whole: what is there is replaced by
    /// the whole, or stays as it is. `None` for what is no file of ours, such as a device.
    draft: Option<PathBuf>,
    file: File,
}

impl Opened {
    fn whole(path: PathBuf, file: File) -> Self {
        let draft = Some(path.clone());
        Self { path, draft, file }
    }
}

fn open(target: &Target) -> io::Result<Opened> {
    let mut options = OpenOptions::new();
    options.write(true);
    match target {
        Target::File { path, replace } => {
            let path = at_home(path)?;
            if !replace {
                let file = options.create_new(true).open(&path)?;
                return Ok(Opened::whole(path, file));
            }
            match std::fs::metadata(&path) {
                Ok(there) if there.file_type().is_fifo() => {
                    Err(io::Error::other("it is a pipe, which waits for its reader"))
                }
                Ok(there) if !there.is_file() => Ok(Opened {
                    file: options.open(&path)?,
                    draft: None,
                    path,
                }),
                _ => {
                    let draft = beside(&path);
                    Ok(Opened {
                        file: options.create_new(true).open(&draft)?,
                        draft: Some(draft),
                        path,
                    })
                }
            }
        }
        Target::Clipboard => {
            let path = clipboard()?;
            // Not into what somebody else may have made, or reads at this moment.
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file = options.create_new(true).mode(OWN).open(&path)?;
            Ok(Opened::whole(path, file))
        }
        Target::Pager => {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("tackroom-{}-{count}.log", std::process::id());
            let path = std::env::temp_dir().join(name);
            let file = options.create_new(true).mode(OWN).open(&path)?;
            Ok(Opened::whole(path, file))
        }
    }
}

/// Where the file is written that is to replace another.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// `~/` is the home directory, as in a shell.
fn at_home(path: &str) -> io::Result<PathBuf> {
    match path.strip_prefix("~/") {
        Some(rest) => {
            let base = etcetera::choose_base_strategy().map_err(io::Error::other)?;
            Ok(base.home_dir().join(rest))
        }
        None => Ok(Path::new(path).to_owned()),
    }
}

/// `$XDG_STATE_HOME/tackroom/clipboard.txt`; its directory is made.
fn clipboard() -> io::Result<PathBuf> {
    let base = etcetera::choose_base_strategy().map_err(io::Error::other)?;
    let state = base.state_dir().unwrap_or_else(|| base.data_dir());
    let directory = state.join("tackroom");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)?;
    Ok(directory.join("clipboard.txt"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::line::{Channel, SourceId};
    use crate::logs::extract::Form;
    use crate::logs::store::LogStore;
    use std::os::unix::fs::PermissionsExt;

    fn lines() -> Extract {
        let source = SourceId("api".into());
        let mut store = LogStore::default();
        for n in 0..3 {
            let at = jiff::Timestamp::from_second(n).unwrap();
            store.push(&source, at, Channel::Out, format!("line {n}").as_bytes());
        }
        Extract {
            snapshot: store.snapshot([&source]),
            filter: None,
            range: None,
            names: None,
            form: Form::Raw,
        }
    }

    fn told(target: &Target) -> Vec<Taken> {
        let mut told = Vec::new();
        take(&lines(), target, |event| {
            told.push(event);
            ControlFlow::Continue(())
        });
        told
    }

    fn file(path: &Path, replace: bool) -> Target {
        Target::File {
            path: path.display().to_string(),
            replace,
        }
    }

    #[test]
    fn a_file_is_not_written_over_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let done = Taken::Done {
            path: path.clone(),
            lines: 3,
        };
        assert_eq!(told(&file(&path, false)), [Taken::Begun, done.clone()]);
        std::fs::write(&path, "mine, and longer than what comes").unwrap();
        assert_eq!(told(&file(&path, false)), [Taken::Exists]);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, "mine, and longer than what comes");
        assert_eq!(told(&file(&path, true)), [Taken::Begun, done]);
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, "line 0\nline 1\nline 2\n");
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let last = |path: &str, replace| told(&file(Path::new(path), replace)).pop();
        let failed = |why: &str, event: Option<Taken>| match event {
            Some(Taken::Failed(text)) => assert!(text.contains(why), "{text}"),
            other => assert!(why.is_empty(), "{other:?}"),
        };
        failed("No space left", last("/dev/full", true));
        failed("No such file", last("/nowhere/at/all.log", false));
        failed("Is a directory", last("/tmp", true));
    }

    #[test]
    fn what_is_there_stays_unless_the_whole_replaces_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        std::fs::write(&path, "mine").unwrap();
        take(&lines(), &file(&path, true), |event| match event {
            Taken::Begun => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_nobody_waits_for_is_not_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        take(&lines(), &file(&path, false), |_| ControlFlow::Break(()));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_for_a_pager_is_for_nobody_else() {
        let told = told(&Target::Pager);
        let Some(Taken::Done { path, lines: 3 }) = told.last() else {
            panic!("{told:?}");
        };
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        std::fs::remove_file(path).unwrap();
        assert_eq!(mode & 0o777, 0o600);
    }
}
