//! Picks replays by pattern.

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
/// A pattern with `*`, `?` or `[` is a glob over the whole name or file; another one may stand
/// anywhere in them, or be an issue that the replay closes.
///
/// # Errors
///
/// Fails on the first pattern that matches nothing.
pub fn select(
    replays: &[Arc<Replay>],
    patterns: &[String],
) -> Result<Vec<Arc<Replay>>, NothingMatched> {
    let matchers: Vec<Matcher<'_>> = patterns.iter().map(|text| Matcher::new(text)).collect();
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

struct Matcher<'a> {
    text: &'a str,
    glob: Option<glob::Pattern>,
}

impl<'a> Matcher<'a> {
    fn new(text: &'a str) -> Self {
        let glob = text
            .contains(['*', '?', '['])
            .then(|| glob::Pattern::new(text).ok())
            .flatten();
        Self { text, glob }
    }

    fn matches(&self, replay: &Replay) -> bool {
        let name = replay.name.as_str();
        match &self.glob {
            Some(glob) => glob.matches(name) || glob.matches(&replay.file),
            None => {
                name.contains(self.text)
                    || replay.file.contains(self.text)
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
        [
            ("peer-discovery-404", "#2397"),
            ("buildinfo-stale-image", "#2395"),
        ]
        .into_iter()
        .map(|(name, closes)| {
            Arc::new(Replay {
                name: ReplayName::new(name),
                path: format!("/r/replays/{name}.sh").into(),
                file: format!("replays/{name}.sh"),
                header: Header {
                    closes: vec![closes.to_owned()],
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
    }
}
