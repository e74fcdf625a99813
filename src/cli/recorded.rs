//! A run that is named on the command line: kept here, a directory, or an archive from elsewhere.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::output::{Failure, complain, mention_missing_file};
use crate::bootstrap::{Context, Options, configuration};
use crate::domain::exit::Exit;
use crate::domain::run::Signal;
use crate::process::{die_of, end_asked};
use crate::record::archive::{ArchiveError, Limits, Unpacked, unpack};
use crate::record::{self, End, Opened, ReadError, Recording, Store};

/// The directory of a run. One that was unpacked for this is removed when this is dropped.
pub(super) struct Found {
    directory: PathBuf,
    unpacked: Option<(Unpacked, Asked)>,
}

/// A signal that asks for the end, from the beginning of unpacking on.
type Asked = Pin<Box<dyn Future<Output = Signal> + Send>>;

impl Found {
    #[cfg(feature = "tui")]
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn recording(&self) -> Result<Recording, Failure> {
        Ok(record::read(&self.directory)?)
    }

    /// Dies of a signal that came meanwhile. For who listens to signals from here on.
    #[cfg(feature = "tui")]
    pub(super) fn unless_asked_to_end(mut self) -> Result<Self, Failure> {
        use futures_util::FutureExt;
        let asked = self.unpacked.as_mut().map(|(_, asked)| asked);
        match asked.and_then(|asked| asked.now_or_never()) {
            Some(signal) => {
                drop(self);
                Err(ended_by(signal))
            }
            None => Ok(self),
        }
    }

    /// As [`Self::during`], for work that keeps its thread busy.
    pub(super) async fn during_blocking<T: Send + 'static>(
        self,
        work: impl FnOnce(&Path) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.during(async move |directory| {
            let directory = directory.to_owned();
            let working = tokio::task::spawn_blocking(move || work(&directory));
            working
                .await
                .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?
        })
        .await
    }

    /// Does work that ends early where a signal asks for that: then what was unpacked is removed,
    /// and the process dies of the signal.
    pub(super) async fn during<T>(
        mut self,
        work: impl AsyncFnOnce(&Path) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some((_, asked)) = &mut self.unpacked else {
            return work(&self.directory).await;
        };
        let signal = tokio::select! {
            done = work(&self.directory) => return done,
            signal = asked => signal,
        };
        drop(self);
        Err(ended_by(signal))
    }
}

/// Does not return where the process can die of the signal.
fn ended_by(signal: Signal) -> Failure {
    die_of(signal);
    Failure::new(Exit::Internal, format!("ended by {}", signal.word()))
}

/// A run by its id or a unique part of it, as `latest`, as a directory, or as an archive of one.
pub(super) async fn find(options: &Options, wanted: &str) -> Result<Found, Failure> {
    let path = Path::new(wanted);
    if is_path(wanted) || path.is_file() {
        return match path.is_dir() {
            true => Ok(kept(path.to_owned())),
            false => unpacked(path.to_owned()).await,
        };
    }
    let runs = store(options)?.runs()?;
    if wanted == "latest" {
        return latest(&runs).map(kept);
    }
    match matching(&runs, wanted).as_slice() {
        [run] => Ok(kept((*run).clone())),
        [] if path.is_dir() => Ok(kept(path.to_owned())),
        [] => Err(Failure::new(
            Exit::NothingMatched,
            format!("no kept run is called {wanted:?}; `tackroom runs` lists them"),
        )),
        several => {
            let names = several.iter().filter_map(|run| run.file_name());
            let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
            Err(Failure::usage(format!(
                "several runs are called {wanted:?}: {}",
                names.join(", ")
            )))
        }
    }
}

/// Whether it names a place in the file system, whatever is there.
fn is_path(wanted: &str) -> bool {
    wanted.contains('/') || matches!(wanted, "." | "..")
}

/// Whether what may also be the name of a replay means a run: a path of something that is there, or
/// that cannot be a name, or an archive.
pub(super) fn means_run(wanted: &str) -> bool {
    const ARCHIVES: [&str; 6] = [".tar.zst", ".tzst", ".tar.gz", ".tgz", ".tar", ".zip"];
    let path = Path::new(wanted);
    let is_archive = || ARCHIVES.iter().any(|end| wanted.ends_with(end)) && path.is_file();
    let is_there = || is_path(wanted) && path.exists();
    wanted == "latest" || wanted.starts_with(['.', '/']) || is_there() || is_archive()
}

pub(super) fn kept(directory: PathBuf) -> Found {
    Found {
        directory,
        unpacked: None,
    }
}

/// The runs that begin with it; where none does, those that have it anywhere in their id.
fn matching<'a>(runs: &'a [PathBuf], wanted: &str) -> Vec<&'a PathBuf> {
    let name = |run: &PathBuf| {
        run.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let those = |is_wanted: &dyn Fn(&str) -> bool| -> Vec<&PathBuf> {
        runs.iter().filter(|run| is_wanted(&name(run))).collect()
    };
    let begin = those(&|name| name.starts_with(wanted));
    if begin.is_empty() {
        return those(&|name| name.contains(wanted));
    }
    begin
}

async fn unpacked(archive: PathBuf) -> Result<Found, Failure> {
    static STOP: AtomicBool = AtomicBool::new(false);
    let mut asked: Asked = Box::pin(end_asked()?);
    let mut unpacking = tokio::task::spawn_blocking(move || {
        unpack(&archive, &std::env::temp_dir(), Limits::default(), &STOP)
    });
    let done = tokio::select! {
        done = &mut unpacking => done,
        signal = &mut asked => {
            STOP.store(true, Ordering::Relaxed);
            drop(unpacking.await);
            return Err(ended_by(signal));
        }
    };
    let unpacked = done.map_err(|error| Failure::new(Exit::Internal, error.to_string()))??;
    if unpacked.left_out > 0 {
        complain(format_args!(
            "{} of the archive",
            left_out(unpacked.left_out)
        ));
    }
    Ok(Found {
        directory: unpacked.directory().to_owned(),
        unpacked: Some((unpacked, asked)),
    })
}

/// Links, devices and the like.
pub(super) fn left_out(count: usize) -> String {
    match count {
        1 => "1 link or special file is left out".to_owned(),
        count => format!("{count} links and special files are left out"),
    }
}

/// Where the runs of this configuration are kept.
pub(super) fn store(options: &Options) -> Result<Store, Failure> {
    let config = configuration(options)?;
    mention_missing_file(&config);
    Store::of(&config.root, &config.name)
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))
}

/// The newest run that is over and had replays; without such a one, the newest that is over.
fn latest(runs: &[PathBuf]) -> Result<PathBuf, Failure> {
    let mut without_replays = None;
    for run in runs {
        match record::read(run) {
            Ok(recording) if matches!(recording.end, End::UnderWay(_)) => {}
            Ok(recording) if !recording.replays.is_empty() => return Ok(run.clone()),
            Ok(_) => {
                without_replays.get_or_insert_with(|| run.clone());
            }
            // Another version's, or none: the one before it will do.
            Err(_) => {}
        }
    }
    without_replays.ok_or_else(|| Failure::new(Exit::NothingMatched, "there is no kept run"))
}

/// Everything that a command works with, out of a recording instead of an engine.
pub(super) fn context(options: &Options, directory: &Path) -> Result<Context, Failure> {
    let opened = Opened::open(directory)?;
    if opened.recording.unreadable > 0 {
        let count = opened.recording.unreadable;
        complain(format_args!(
            "{count} damaged lines of its event log are left out"
        ));
    }
    Ok(Context::recorded(options, Arc::new(opened)))
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let exit = match &error {
            ReadError::Io { .. } | ReadError::NoRun(_) => Exit::NothingMatched,
            ReadError::Newer { .. } => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        let exit = match &error {
            ArchiveError::Write { .. } | ArchiveError::Interrupted => Exit::Internal,
            ArchiveError::Exists(_) => Exit::Refused,
            _ => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_by_its_beginning_or_else_by_any_part() {
        let runs: Vec<PathBuf> = ["20261122-070000.000-12", "20261121-070000.000-20261122"]
            .map(|name| Path::new("/runs").join(name))
            .into();
        let found = |wanted| -> Vec<usize> {
            let found = matching(&runs, wanted);
            let at = |run: &PathBuf| runs.iter().position(|other| other == run).unwrap();
            found.into_iter().map(at).collect()
        };
        assert_eq!(found("20261122"), [0]);
        assert_eq!(found("2026112"), [0, 1]);
        assert_eq!(found("-12"), [0]);
        assert_eq!(found("070000"), [0, 1]);
        assert_eq!(found("x"), [0; 0]);
    }
}
