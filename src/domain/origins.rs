//! What containers were made from, and whether that is still there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::container::{Container, MountKind};

/// What has become of the things that a container was made from. Nothing stands in it that was
/// not looked for, or could not be known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// Sources of its binds that the engine's host does not have any more, each once: a restart
    /// fails or, where the engine makes what is missing, begins with an empty directory.
    pub gone: Vec<String>,
    /// Set if the name of its image does not mean its image any more.
    pub image: Option<Renamed>,
}

/// What the name of an image means by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renamed {
    /// The image with this id.
    To(String),
    /// No image.
    Nothing,
}

impl Origins {
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

/// The name of an image, and the id that it had when a container was made from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedImage {
    pub name: String,
    pub id: String,
}

impl NamedImage {
    /// What it means if the name means the image with the id `now`, or none.
    pub fn renamed(&self, now: Option<String>) -> Option<Renamed> {
        match now {
            Some(now) if now == self.id => None,
            Some(now) => Some(Renamed::To(now)),
            None => Some(Renamed::Nothing),
        }
    }
}

/// What has to be looked for to know the origins of some containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Sources of binds: paths on the engine's host.
    pub sources: BTreeSet<String>,
    pub images: BTreeSet<NamedImage>,
}

impl Subjects {
    /// The images only of those that were inspected, since a list does not always name them.
    pub fn of<'a>(containers: impl IntoIterator<Item = &'a Container>) -> Self {
        let mut subjects = Self::default();
        for container in containers {
            subjects
                .sources
                .extend(bind_sources(container).map(str::to_owned));
            subjects.images.extend(named_image(container));
        }
        subjects
    }

    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.images.is_empty()
    }
}

/// What was found out about [`Subjects`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub gone: BTreeSet<String>,
    pub renamed: BTreeMap<NamedImage, Renamed>,
}

impl Findings {
    pub fn origins(&self, container: &Container) -> Origins {
        let gone: BTreeSet<&str> = bind_sources(container)
            .filter(|source| self.gone.contains(*source))
            .collect();
        Origins {
            gone: gone.into_iter().map(str::to_owned).collect(),
            image: named_image(container).and_then(|image| self.renamed.get(&image).cloned()),
        }
    }
}

/// The absolute sources of a container's binds.
pub fn bind_sources(container: &Container) -> impl Iterator<Item = &str> {
    container
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Bind && mount.source.starts_with('/'))
        .map(|mount| mount.source.as_str())
}

/// `None` if it was made from an id, which never means another.
fn named_image(container: &Container) -> Option<NamedImage> {
    let name = container.detail.as_ref()?.image_name.as_deref()?;
    let bare = |text| str::strip_prefix(text, "sha256:").unwrap_or(text);
    let is_id = bare(&container.image_id).starts_with(bare(name));
    let known = !name.is_empty() && !container.image_id.is_empty();
    (known && !is_id).then(|| NamedImage {
        name: name.to_owned(),
        id: container.image_id.clone(),
    })
}

/// Directories that a reboot empties.
const VOLATILE: [&str; 5] = ["/tmp", "/var/tmp", "/run", "/var/run", "/dev/shm"];

/// Where the usual CI services check out what they build, and clean up behind it.
const WORKSPACES: [&str; 12] = [
    "/__w",
    "/azp/_work",
    "/buildkite/builds",
    "/builds",
    "/drone/src",
    "/home/circleci/project",
    "/home/jenkins/workspace",
    "/home/runner/work",
    "/home/vsts/work",
    "/var/jenkins_home/workspace",
    "/var/lib/buildkite-agent/builds",
    "/var/lib/jenkins/workspace",
];

/// Whether what is at this path will likely be gone one day, so that a restart of what binds it
/// fails. Sockets of services do not count: their service makes them anew.
pub fn is_transient(source: &str) -> bool {
    let path = Path::new(source);
    let lies_in = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    let is_socket = lies_in(&["/run", "/var/run"])
        && path
            .extension()
            .is_some_and(|extension| extension == "sock" || extension == "socket");
    // A runner of one's own works beside itself: `/home/ci/actions-runner/_work/shop/shop`.
    let mut pairs = path.iter().zip(path.iter().skip(1));
    let is_runner = pairs.any(|(above, below)| above == "actions-runner" && below == "_work");
    !is_socket && (lies_in(&VOLATILE) || lies_in(&WORKSPACES) || is_runner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::container::{Detail, Mount};

    fn container(image_name: &str, image_id: &str, sources: &[&str]) -> Container {
        Container {
            image_id: image_id.to_owned(),
            mounts: sources
                .iter()
                .map(|source| Mount {
                    kind: MountKind::Bind,
                    source: (*source).to_owned(),
                    target: "/x".to_owned(),
                })
                .collect(),
            detail: Some(Detail {
                image_name: Some(image_name.to_owned()),
                ..Detail::default()
            }),
            ..Container::bare("c1")
        }
    }

    fn found(name: &str, id: &str, now: Option<&str>) -> Option<Renamed> {
        let container = container(name, id, &[]);
        let mut findings = Findings::default();
        for image in Subjects::of([&container]).images {
            let renamed = image.renamed(now.map(str::to_owned));
            findings.renamed.extend(renamed.map(|to| (image, to)));
        }
        findings.origins(&container).image
    }

    #[test]
    fn an_image_is_stale_where_its_name_means_another_or_none() {
        let other = Renamed::To("sha256:22".to_owned());
        assert_eq!(found("engine:dev", "sha256:11", Some("sha256:11")), None);
        assert_eq!(
            found("engine:dev", "sha256:11", Some("sha256:22")),
            Some(other)
        );
        assert_eq!(
            found("engine:dev", "sha256:11", None),
            Some(Renamed::Nothing)
        );
    }

    #[test]
    fn an_image_that_was_given_by_its_id_is_never_stale() {
        for id in ["sha256:abcdef", "abcdef", "sha256:abc", "abc"] {
            assert_eq!(found(id, "sha256:abcdef", None), None, "{id}");
        }
        assert_eq!(found("", "sha256:abcdef", None), None);
        assert_eq!(found("engine", "", None), None);
    }

    #[test]
    fn what_was_found_of_one_image_does_not_count_for_its_successor() {
        let mut findings = Findings::default();
        let old = container("engine:dev", "sha256:11", &[]);
        for image in Subjects::of([&old]).images {
            findings.renamed.insert(image, Renamed::Nothing);
        }
        assert!(!findings.origins(&old).is_whole());
        let made_anew = container("engine:dev", "sha256:22", &[]);
        assert!(findings.origins(&made_anew).is_whole());
    }

    #[test]
    fn a_source_is_gone_for_everything_that_binds_it() {
        let findings = Findings {
            gone: ["/tmp/a".to_owned(), "/tmp/b".to_owned()].into(),
            ..Findings::default()
        };
        let both = container("i", "1", &["/tmp/b", "/tmp/a", "/tmp/a", "/srv"]);
        assert_eq!(findings.origins(&both).gone, ["/tmp/a", "/tmp/b"]);
        assert_eq!(
            Subjects::of([&both]).sources,
            ["/srv", "/tmp/a", "/tmp/b"].map(str::to_owned).into()
        );
        let none = container("i", "1", &["/tmp/ab"]);
        assert!(findings.origins(&none).is_whole());
        let mut volume = both;
        for mount in &mut volume.mounts {
            mount.kind = MountKind::Volume;
        }
        assert!(findings.origins(&volume).is_whole());
        assert!(Subjects::of([&volume]).sources.is_empty());
    }

    #[test]
    fn transient_places_are_a_closed_list() {
        for path in [
            "/tmp",
            "/tmp/galaxy-state-1",
            "/var/tmp/x",
            "/run/x",
            "/var/run/x.conf",
            "/dev/shm/x",
            "/home/runner/work/shop/shop/proxy.conf",
            "/builds/group/project",
            "/home/ci/actions-runner/_work/shop",
            "/var/lib/jenkins/workspace/shop",
            "/tmp/x.sock",
        ] {
            assert!(is_transient(path), "{path}");
        }
        for path in [
            "/",
            "/tmpfiles",
            "/home/me/tmp/x",
            "/home/runner/workshop",
            "/srv/_work/x",
            "/buildshop",
            "/var/run/docker.sock",
            "/run/user/1000/docker.sock",
            "/run/containerd/containerd.sock",
            "/var/lib/docker",
            "tmp",
            "",
        ] {
            assert!(!is_transient(path), "{path}");
        }
    }
}
