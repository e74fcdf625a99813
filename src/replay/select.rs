//! Picks replays by pattern.

use std::path::Path;
use std::sync::Arc;

use crate::domain::replay::Replay;

/// A pattern that matches no replay. A typing mistake must not pass for a green run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NothingMatched {
    pub pattern: String,
    pub nearest: Option<String>,
}

impl std::fmt::Display for NothingMatched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no replay matches {:?}", self.pattern)?;
        match &self.nearest {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => Ok(()),
        }
    }
}

/// The replays that match any of the patterns, each once, in the order in which they were found.
/// No pattern selects all.
///
/// A pattern that is a replay's whole name means that one alone. Else, one with `*`, `?` or `[`
/// is a glob over the whole name or file; another one is an issue that the replay closes, the file
/// as an absolute path, or may stand anywhere in the name or, where it has a `/` or a `.`, in the
/// file.
///
/// # Errors
///
/// Fails on the first pattern that matches nothing. An empty one does: it is a variable of somebody's
/// script that was not set.
pub(super) fn select(
    replays: &[Arc<Replay>],
    patterns: &[String],
) -> Result<Vec<Arc<Replay>>, NothingMatched> {
    let matchers: Vec<Matcher<'_>> = patterns
        .iter()
        .map(|text| Matcher::new(text, replays))
        .collect();
    if let Some(idle) = matchers
        .iter()
        .find(|matcher| !replays.iter().any(|replay| matcher.matches(replay)))
    {
        return Err(NothingMatched {
            pattern: idle.text.to_owned(),
            nearest: nearest(replays, idle.text),
        });
    }
    Ok(replays
        .iter()
        .filter(|replay| matchers.is_empty() || matchers.iter().any(|m| m.matches(replay)))
        .cloned()
        .collect())
}

pub(super) struct Matcher<'a> {
    text: &'a str,
    kind: Kind,
}

enum Kind {
    Name,
    Glob(glob::Pattern),
    Part,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(text: &'a str, replays: &[Arc<Replay>]) -> Self {
        let kind = if replays.iter().any(|replay| replay.name.as_str() == text) {
            Kind::Name
        } else if text.contains(['*', '?', '['])
            && let Ok(glob) = glob::Pattern::new(text)
        {
            Kind::Glob(glob)
        } else {
            Kind::Part
        };
        Self { text, kind }
    }

    pub(super) fn matches(&self, replay: &Replay) -> bool {
        let name = replay.name.as_str();
        match &self.kind {
            Kind::Name => name == self.text,
            Kind::Glob(glob) => glob.matches(name) || glob.matches(&replay.file),
            Kind::Part if self.text.is_empty() => false,
            Kind::Part => {
                if Path::new(self.text).is_absolute() {
                    return replay.path == Path::new(self.text);
                }
                let text = self.text.trim_start_matches("./");
                // Otherwise "play" would mean everything in replays/.
                let of_file = self.text.contains(['/', '.']);
                name.contains(self.text)
                    || (of_file && replay.file.contains(text))
                    || replay.header.closes.iter().any(|issue| {
                        issue.trim_start_matches('#') == self.text.trim_start_matches('#')
                    })
            }
        }
    }
}

fn nearest(replays: &[Arc<Replay>], text: &str) -> Option<String> {
    replays
        .iter()
        .map(|replay| (strsim::jaro_winkler(text, replay.name.as_str()), replay))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, replay)| replay.name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::replay::{Header, ReplayName};

    fn replays() -> Vec<Arc<Replay>> {
        replays_called(&[
            ("peer-discovery-404", "#2397"),
            ("buildinfo-stale-image", "#2395"),
        ])
    }

    fn replays_called(names: &[(&str, &str)]) -> Vec<Arc<Replay>> {
        names
            .iter()
            .map(|(name, closes)| {
                Arc::new(Replay {
                    name: ReplayName::new(*name),
                    suite: crate::domain::suite::SuiteName::default(),
                    path: format!("/r/replays/{name}.sh").into(),
                    file: format!("replays/{name}.sh"),
                    header: Header {
                        closes: vec![(*closes).to_owned()],
                        ..Header::default()
                    },
                })
            })
            .collect()
    }

    fn names(patterns: &[&str]) -> Result<Vec<String>, NothingMatched> {
        let patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
        let selected = select(&replays(), &patterns)?;
        Ok(selected
            .iter()
            .map(|replay| replay.name.to_string())
            .collect())
    }

    #[test]
    fn patterns_are_parts_globs_files_or_issues() {
        let peer = || Ok(vec!["peer-discovery-404".to_owned()]);
        assert_eq!(names(&["peer"]), peer());
        assert_eq!(names(&["peer*"]), peer());
        assert_eq!(names(&["replays/peer-discovery-404.sh"]), peer());
        assert_eq!(names(&["2397"]), peer());
        assert_eq!(names(&["#2397", "peer"]), peer());
        assert_eq!(names(&["*"]).map(|names| names.len()), Ok(2));
        assert_eq!(names(&[]).map(|names| names.len()), Ok(2));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_an_error_although_another_matches() {
        let error = names(&["peer", "buildinfo-stale-imgae"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no replay matches \"buildinfo-stale-imgae\"; did you mean buildinfo-stale-image?"
        );
        assert_eq!(names(&["discovery*"]).unwrap_err().nearest, None);
        let unset = names(&["peer", ""]).unwrap_err().to_string();
        assert_eq!(unset, "no replay matches \"\"");
    }

    #[test]
    fn a_whole_name_means_that_replay_alone() {
        let replays = replays_called(&[("peer", "#1"), ("peer-2", "#2"), ("x[1]", "#3")]);
        for name in ["peer", "x[1]"] {
            let selected = select(&replays, &[name.to_owned()]).unwrap();
            assert_eq!(selected.len(), 1);
            assert_eq!(selected[0].name.as_str(), name);
        }
    }

    #[test]
    fn a_part_of_the_folders_name_is_not_every_replay_in_it() {
        assert!(names(&["play"]).is_err());
        assert!(names(&["sh"]).is_err());
        assert_eq!(names(&["replays/"]).map(|names| names.len()), Ok(2));
        assert_eq!(names(&["404.sh"]).map(|names| names.len()), Ok(1));
    }
}
