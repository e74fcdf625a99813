//! The file system of the engine's host, where that is ours too.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::models::SystemInfo;
use tokio::net::UnixStream;
use tokio::sync::{OnceCell, mpsc, watch};
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
    looks: Arc<Mutex<HashMap<String, Look>>>,
}

/// A look at one path, for whoever asks meanwhile.
#[derive(Clone, Debug)]
struct Look {
    /// `None` until the file system has answered.
    missing: watch::Receiver<Option<bool>>,
    /// Somebody waited for it in vain.
    held_up: bool,
}

impl Looker {
    /// What is held up is not looked at again while it is, so there is at most one thread for
    /// each such path, and it is waited for once.
    async fn missing(
        &self,
        paths: &BTreeSet<String>,
        deadline: Instant,
        stat: impl Fn(&Path) -> io::Result<()> + Send + 'static,
    ) -> BTreeSet<String> {
        let (begun, mut looks) = mpsc::unbounded_channel();
        let shared = Arc::clone(&self.looks);
        let paths = paths.clone();
        let looking = move || {
            for path in paths {
                let (answer, missing) = watch::channel(None);
                let look = Look {
                    missing,
                    held_up: false,
                };
                let under_way = match locked(&shared).entry(path.clone()) {
                    Entry::Occupied(other) => Some(other.get().clone()),
                    Entry::Vacant(free) => {
                        free.insert(look.clone());
                        None
                    }
                };
                let is_ours = under_way.is_none();
                let look = under_way.unwrap_or(look);
                if !look.held_up {
                    // Who asked may be gone; others may wait for this path.
                    let _ = begun.send((path.clone(), look.missing));
                }
                if is_ours {
                    let looked = stat(Path::new(&path));
                    locked(&shared).remove(&path);
                    answer.send_replace(Some(is_missing(&looked)));
                }
                if begun.is_closed() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("look-at-host".to_owned());
        if thread.spawn(looking).is_err() {
            return BTreeSet::new();
        }
        let mut missing = BTreeSet::new();
        while let Ok(Some((path, mut look))) = timeout_at(deadline, looks.recv()).await {
            match timeout_at(deadline, look.wait_for(Option::is_some)).await {
                Ok(answer) => {
                    if answer.is_ok_and(|answer| *answer == Some(true)) {
                        missing.insert(path);
                    }
                }
                Err(_) => {
                    if let Some(look) = locked(&self.looks).get_mut(&path) {
                        look.held_up = true;
                    }
                }
            }
        }
        missing
    }
}

fn locked(looks: &Mutex<HashMap<String, Look>>) -> MutexGuard<'_, HashMap<String, Look>> {
    looks.lock().unwrap_or_else(PoisonError::into_inner)
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
        while locked(&looker.looks).contains_key("/dead") {
            tokio::task::yield_now().await;
        }
        let healed = looker.missing(&asked, late(), stat).await;
        assert_eq!(healed, paths(&["/dead", "/gone"]));
    }

    #[tokio::test]
    async fn who_asks_while_another_is_looking_gets_the_same_answer() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let (entered, mut begun) = mpsc::unbounded_channel();
        let stat = move |path: &Path| {
            entered.send(path.to_owned()).unwrap();
            if path == Path::new("/a") {
                let _ = held.lock().unwrap().recv();
            }
            Err(io::Error::from(ErrorKind::NotFound))
        };
        let looker = Looker::default();
        let (one, both) = (paths(&["/a"]), paths(&["/a", "/b"]));
        let first = looker.missing(&one, late(), stat.clone());
        let second = async {
            assert_eq!(begun.recv().await.unwrap(), Path::new("/a"));
            let second = looker.missing(&both, late(), stat);
            let release = async {
                assert_eq!(begun.recv().await.unwrap(), Path::new("/b"));
                drop(release);
            };
            tokio::join!(second, release).0
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first, second), (one, both));
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
