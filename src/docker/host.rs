//! The file system of the engine's host, where that is ours too.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::SystemInfo;
use tokio::net::UnixStream;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::{Instant, timeout_at};

use super::DockerEngine;
use super::endpoint::Endpoint;

/// How long looking at all paths of one question may take. What is not seen by then is not
/// called missing.
const LIMIT: Duration = Duration::from_secs(2);

/// What is remembered between questions.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Once the engine has answered.
    is_ours: OnceCell<bool>,
    looker: Looker,
}

pub(super) async fn missing(engine: &DockerEngine, paths: &BTreeSet<String>) -> BTreeSet<String> {
    let host = &engine.host;
    let is_ours = host.is_ours.get_or_try_init(|| is_ours(engine)).await;
    if !is_ours.is_ok_and(|is_ours| *is_ours) {
        return BTreeSet::new();
    }
    let deadline = Instant::now() + LIMIT;
    host.looker.missing(paths, deadline, stat).await
}

/// Whether the engine sees the files that we see. Behind a Unix socket there may also be another
/// machine (a forwarded socket), a virtual one, or, for us in a container, the host. Each piece of
/// evidence rules some of them out; in doubt the answer is no.
async fn is_ours(engine: &DockerEngine) -> Result<bool, ()> {
    let Endpoint::Unix(socket) = engine.transport.endpoint() else {
        return Ok(false);
    };
    // A process in a PID namespace that we do not see has the number 0.
    let peer = UnixStream::connect(socket)
        .await
        .and_then(|stream| stream.peer_cred())
        .map_err(drop)?;
    if peer.pid().is_none_or(|pid| pid <= 0) {
        return Ok(false);
    }
    let info = engine.bounded(engine.docker.info()).await.map_err(drop)?;
    let name = rustix::system::uname();
    let is_there = |path: &Path| !is_missing(&stat(path));
    Ok(is_this(&info, &name.nodename().to_string_lossy(), is_there))
}

fn is_this(info: &SystemInfo, own_name: &str, is_there: impl Fn(&Path) -> bool) -> bool {
    let Some(root) = info
        .docker_root_dir
        .as_deref()
        .filter(|root| !root.is_empty())
    else {
        return false;
    };
    // A snap has a /tmp of its own.
    let confined = Path::new(root).starts_with("/var/snap");
    info.name.as_deref() == Some(own_name) && !confined && is_there(Path::new(root))
}

fn stat(path: &Path) -> io::Result<()> {
    std::fs::metadata(path).map(drop)
}

/// An error of another kind, such as a directory that may not be searched, does not say so.
fn is_missing(looked: &io::Result<()>) -> bool {
    let kind = looked.as_ref().err().map(io::Error::kind);
    matches!(kind, Some(ErrorKind::NotFound | ErrorKind::NotADirectory))
}

/// Looks at paths in threads of its own: a dead network file system holds a thread for good, and
/// one of the runtime's would hold up the end of the program.
#[derive(Debug, Default)]
struct Looker {
    /// What threads are looking at right now.
    busy: Arc<Mutex<HashSet<String>>>,
}

impl Looker {
    /// What is held up is not looked at again while it is, so there is at most one thread for
    /// each such path.
    async fn missing(
        &self,
        paths: &BTreeSet<String>,
        deadline: Instant,
        stat: impl Fn(&Path) -> io::Result<()> + Send + 'static,
    ) -> BTreeSet<String> {
        let (found, mut finds) = mpsc::unbounded_channel();
        let busy = Arc::clone(&self.busy);
        let paths = paths.clone();
        let looking = move || {
            let held = || busy.lock().unwrap_or_else(PoisonError::into_inner);
            for path in paths {
                if !held().insert(path.clone()) {
                    continue;
                }
                let looked = stat(Path::new(&path));
                held().remove(&path);
                if found.send((path, looked)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("look-at-host".to_owned());
        if thread.spawn(looking).is_err() {
            return BTreeSet::new();
        }
        let mut missing = BTreeSet::new();
        while let Ok(Some((path, looked))) = timeout_at(deadline, finds.recv()).await {
            if is_missing(&looked) {
                missing.insert(path);
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn what_is_there_or_may_not_be_seen_is_not_missing() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("link")).unwrap();
        let asked = paths(&[&at(""), &at("file"), &at("link"), &at("no"), &at("file/no")]);
        let missing = Looker::default().missing(&asked, late(), stat).await;
        assert_eq!(missing, paths(&[&at("link"), &at("no"), &at("file/no")]));
        let denied = |_: &Path| Err(io::Error::from(ErrorKind::PermissionDenied));
        let missing = Looker::default().missing(&asked, late(), denied).await;
        assert_eq!(missing, paths(&[]));
    }

    #[tokio::test]
    async fn a_file_system_that_does_not_answer_holds_nothing_up() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (entered, mut begun) = mpsc::unbounded_channel();
        let stat = move |path: &Path| {
            if path == Path::new("/dead") {
                entered.send(()).unwrap();
                let _ = held.lock().unwrap().recv();
            }
            Err(io::Error::from(ErrorKind::NotFound))
        };
        let looker = Looker::default();
        let asked = paths(&["/dead", "/gone"]);
        let soon = Instant::now() + Duration::from_millis(20);
        let first = looker.missing(&asked, soon, stat.clone()).await;
        assert_eq!(first, paths(&[]), "the rest waits behind it");
        begun.recv().await.unwrap();
        let again = looker.missing(&asked, late(), stat.clone()).await;
        assert_eq!(again, paths(&["/gone"]), "it is left out");
        drop(release);
        // Its thread ends with what it was held up by, and it is looked at again.
        while looker.busy.lock().unwrap().contains("/dead") {
            tokio::task::yield_now().await;
        }
        let healed = looker.missing(&asked, late(), stat).await;
        assert_eq!(healed, paths(&["/dead", "/gone"]));
    }

    #[test]
    fn an_engine_is_on_this_host_if_all_evidence_says_so() {
        let info = |name: &str, root: &str| SystemInfo {
            name: Some(name.to_owned()),
            docker_root_dir: Some(root.to_owned()),
            ..SystemInfo::default()
        };
        let is_this =
            |info: &SystemInfo| is_this(info, "here", |path| path != Path::new("/var/lib/no"));
        assert!(is_this(&info("here", "/var/lib/docker")));
        assert!(!is_this(&info("docker-desktop", "/var/lib/docker")));
        assert!(!is_this(&info("here", "/var/lib/no")));
        assert!(!is_this(&info("here", "/var/snap/docker/common")));
        assert!(!is_this(&info("here", "")));
        assert!(!is_this(&SystemInfo::default()));
    }
}
