//! Switches that put a fixed production bug back, so that its replay can be seen to fail.

use std::collections::BTreeSet;
use std::fmt;

/// The variable that holds the switches: names separated by commas, empty for none.
pub const VARIABLE: &str = "HARNESS_BUG";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// #2397: the peers tool takes every failure for an empty list and calls the workspace isolated.
    PeerDiscovery404,
    /// #2395: the running binary is of another commit than the one that was deployed.
    BuildinfoStaleImage,
    /// The preclean of one galaxy stack removes every stack's engines. The replay itself does it.
    GalaxyPrecleanScope,
    /// A galaxy backend spawns engines without its stack's label. The replay boots it so.
    GalaxyStackLabel,
}

impl Bug {
    pub const ALL: [Self; 4] = [
        Self::PeerDiscovery404,
        Self::BuildinfoStaleImage,
        Self::GalaxyPrecleanScope,
        Self::GalaxyStackLabel,
    ];

    /// The name of the switch, which is also the name of the replay that must catch it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PeerDiscovery404 => "peer-discovery-404",
            Self::BuildinfoStaleImage => "buildinfo-stale-image",
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
#[error("{VARIABLE} names no known bug: {name:?} (known: {})", known())]
pub struct UnknownBug {
    name: String,
}

fn known() -> String {
    Bug::ALL.map(Bug::name).join(", ")
}

/// The bugs that are switched on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bugs(BTreeSet<Bug>);

impl Bugs {
    /// Reads a comma-separated list; blanks around a name and empty items are ignored.
    ///
    /// # Errors
    /// A name that is not in [`Bug::ALL`]: a misspelt switch would otherwise prove that a replay passes.
    pub fn parse(list: &str) -> Result<Self, UnknownBug> {
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
            .collect::<Result<_, _>>()
            .map(Self)
    }

    #[must_use]
    pub fn has(&self, bug: Bug) -> bool {
        self.0.contains(&bug)
    }

    pub fn iter(&self) -> impl Iterator<Item = Bug> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_is_found_by_its_name() {
        for bug in Bug::ALL {
            let bugs = Bugs::parse(bug.name()).unwrap();
            assert_eq!(bugs.iter().collect::<Vec<_>>(), [bug]);
        }
    }

    #[test]
    fn a_list_switches_each_on_and_blanks_do_not_matter() {
        let bugs = Bugs::parse(" peer-discovery-404 ,, buildinfo-stale-image,").unwrap();
        assert!(bugs.has(Bug::PeerDiscovery404) && bugs.has(Bug::BuildinfoStaleImage));
        assert_eq!(bugs.iter().count(), 2);
        assert_eq!(Bugs::parse(" , ").unwrap(), Bugs::default());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let message = Bugs::parse("peer-discovery-404,peer-discovery")
            .unwrap_err()
            .to_string();
        assert!(message.contains("\"peer-discovery\""), "{message}");
        assert!(
            Bug::ALL.iter().all(|bug| message.contains(bug.name())),
            "{message}"
        );
    }
}
