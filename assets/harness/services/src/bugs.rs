//! Switches that put a fixed production bug back, so that its replay can be seen to fail.
//!
//! A bug is on while a file of its name exists in a directory that all services share: the proxy, which is no program
//! of ours, can look there too, and a running harness is switched without being started anew.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{fmt, fs, io};

/// The directory's place in every container.
pub const DIRECTORY: &str = "/run/bugs";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// #2397: the peers tool takes every failure for an empty list and calls the workspace isolated.
    PeerDiscovery404,
    /// #2395: the running binary is of another commit than the one that was deployed.
    BuildinfoStaleImage,
    /// The guard's allow-list is compared as prefixes: what lies below an open path is open too.
    TenantGuardPrefix,
    /// Every path below `/cp/` is forwarded, with the caller's cookies: the control plane's admin routes too.
    CpProxyAdminLeak,
    /// The user interface's process gets the caller's cookie and token.
    CanvasProxyCredentials,
    /// The tunnel passes on the host and the scheme that a client claims. Read by cf-proxy's configuration.
    HeaderRewriteSpoofed,
    /// A live workspace token is accepted at every workspace of its tenant.
    WorkspaceTokenCrosses,
    /// The connection drops its database's name and falls back to that of its role, which the tenants share.
    TenantIsolation,
    /// The rate limit believes the client's own word for who it is.
    RateLimitSpoofed,
    /// Provisioning ignores the configured control plane and asks production's.
    ProvisionProductionFallback,
    /// A page of activity begins with the entry that the page before ended with.
    ActivityPageOverlap,
    /// A tenant in production boots without a key to encrypt secrets with.
    EncryptionKeyMissing,
    /// The preclean of one galaxy stack removes every stack's engines. The replay itself does it.
    GalaxyPrecleanScope,
    /// A galaxy backend spawns engines without its stack's label. The replay boots it so.
    GalaxyStackLabel,
}

impl Bug {
    pub const ALL: [Self; 14] = [
        Self::PeerDiscovery404,
        Self::BuildinfoStaleImage,
        Self::TenantGuardPrefix,
        Self::CpProxyAdminLeak,
        Self::CanvasProxyCredentials,
        Self::HeaderRewriteSpoofed,
        Self::WorkspaceTokenCrosses,
        Self::TenantIsolation,
        Self::RateLimitSpoofed,
        Self::ProvisionProductionFallback,
        Self::ActivityPageOverlap,
        Self::EncryptionKeyMissing,
        Self::GalaxyPrecleanScope,
        Self::GalaxyStackLabel,
    ];

    /// The name of the switch, which is also the name of the replay that must catch it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PeerDiscovery404 => "peer-discovery-404",
            Self::BuildinfoStaleImage => "buildinfo-stale-image",
            Self::TenantGuardPrefix => "tenant-guard-prefix",
            Self::CpProxyAdminLeak => "cp-proxy-admin-leak",
            Self::CanvasProxyCredentials => "canvas-proxy-credentials",
            Self::HeaderRewriteSpoofed => "header-rewrite-spoofed",
            Self::WorkspaceTokenCrosses => "workspace-token-crosses",
            Self::TenantIsolation => "tenant-isolation",
            Self::RateLimitSpoofed => "rate-limit-spoofed",
            Self::ProvisionProductionFallback => "provision-production-fallback",
            Self::ActivityPageOverlap => "activity-page-overlap",
            Self::EncryptionKeyMissing => "encryption-key-missing",
            Self::GalaxyPrecleanScope => "galaxy-preclean-scope",
            Self::GalaxyStackLabel => "galaxy-stack-label",
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no known bug: {name:?} (known: {})", known())]
pub struct UnknownBug {
    name: String,
}

fn known() -> String {
    Bug::ALL.map(Bug::name).join(", ")
}

/// Reads a comma-separated list; blanks around a name and empty items are ignored.
///
/// # Errors
/// A name that is not in [`Bug::ALL`]: a misspelt switch would otherwise prove that a replay passes.
pub fn parse(list: &str) -> Result<BTreeSet<Bug>, UnknownBug> {
    list.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| {
            Bug::ALL
                .into_iter()
                .find(|bug| bug.name() == name)
                .ok_or_else(|| UnknownBug {
                    name: name.to_owned(),
                })
        })
        .collect()
}

/// The bugs that are switched on: looked up whenever one could bite.
#[derive(Debug, Clone)]
pub struct Bugs(Source);

#[derive(Debug, Clone)]
enum Source {
    Fixed(BTreeSet<Bug>),
    Directory(PathBuf),
}

impl Default for Bugs {
    /// None, whatever happens.
    fn default() -> Self {
        Self::of([])
    }
}

impl Bugs {
    /// These, whatever happens.
    #[must_use]
    pub fn of(bugs: impl IntoIterator<Item = Bug>) -> Self {
        Self(Source::Fixed(bugs.into_iter().collect()))
    }

    /// Those that have a file in `directory`; none while there is no such directory.
    #[must_use]
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self(Source::Directory(directory.into()))
    }

    #[must_use]
    pub fn has(&self, bug: Bug) -> bool {
        match &self.0 {
            Source::Fixed(bugs) => bugs.contains(&bug),
            Source::Directory(directory) => directory.join(bug.name()).exists(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Bug> + '_ {
        Bug::ALL.into_iter().filter(|bug| self.has(*bug))
    }

    /// Switches exactly these on.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn switch(&mut self, on: BTreeSet<Bug>) -> io::Result<()> {
        match &mut self.0 {
            Source::Fixed(bugs) => *bugs = on,
            Source::Directory(directory) => {
                for bug in Bug::ALL {
                    let file = directory.join(bug.name());
                    if on.contains(&bug) {
                        fs::write(file, "")?;
                    } else if file.exists() {
                        fs::remove_file(file)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_found_by_its_name() {
        for bug in Bug::ALL {
            assert_eq!(parse(bug.name()).unwrap(), BTreeSet::from([bug]));
        }
    }

    #[test]
    fn a_list_names_several_and_blanks_do_not_matter() {
        let expected = BTreeSet::from([Bug::PeerDiscovery404, Bug::BuildinfoStaleImage]);
        assert_eq!(
            parse(" peer-discovery-404 ,, buildinfo-stale-image,").unwrap(),
            expected
        );
        assert_eq!(parse(" , ").unwrap(), BTreeSet::new());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let message = parse("peer-discovery-404,peer-discovery")
            .unwrap_err()
            .to_string();
        assert!(message.contains("\"peer-discovery\""), "{message}");
        assert!(
            Bug::ALL.iter().all(|bug| message.contains(bug.name())),
            "{message}"
        );
    }

    #[test]
    fn a_running_service_sees_what_another_one_switches() {
        let directory = tempfile::tempdir().unwrap();
        let (seen, mut switched) = (
            Bugs::in_directory(directory.path()),
            Bugs::in_directory(directory.path()),
        );
        assert_eq!(seen.iter().count(), 0);
        switched.switch(Bug::ALL.into_iter().collect()).unwrap();
        assert!(Bug::ALL.into_iter().all(|bug| seen.has(bug)));
        switched.switch([Bug::TenantIsolation].into()).unwrap();
        assert_eq!(seen.iter().collect::<Vec<_>>(), [Bug::TenantIsolation]);
    }

    #[test]
    fn without_the_directory_there_are_no_bugs_and_none_can_be_switched_on() {
        let mut bugs = Bugs::in_directory("/nowhere/at/all");
        assert_eq!(bugs.iter().count(), 0);
        assert!(bugs.switch([Bug::TenantIsolation].into()).is_err());
    }
}
