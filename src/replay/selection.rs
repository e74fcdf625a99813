//! Everything that narrows down which replays run, and in which order.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::order::Order;
use super::select::{NothingMatched, select};
use super::shard::Shard;
use super::tags::TagExpr;
use crate::domain::past::History;
use crate::domain::replay::Replay;

/// Which replays, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Any of these; none means all.
    pub patterns: Vec<String>,
    /// Of any of these; none means of any.
    pub suites: Vec<String>,
    pub tags: Option<TagExpr>,
    pub shard: Option<Shard>,
    /// Only what did not pass when it was last selected, was not reached then, or is new.
    pub last_failed: bool,
    pub order: Order,
}

/// What a selection comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// At least one.
    Replays(Vec<Arc<Replay>>),
    /// None, and nobody made a mistake.
    Nothing(Idle),
}

/// Why there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    EmptyShard(Shard),
    AllPassed { selected: usize },
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyShard(shard) => write!(f, "no replay falls into part {shard}"),
            Self::AllPassed { selected: 1 } => f.write_str("the replay passed when it last ran"),
            Self::AllPassed { selected } => {
                write!(f, "all {selected} replays passed when they last ran")
            }
        }
    }
}

/// A selection that is a mistake. It must not pass for a green run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    #[error(transparent)]
    Pattern(#[from] NothingMatched),
    #[error("no replay is of the suite {suite:?}; there are: {}", .suites.join(", "))]
    UnknownSuite {
        suite: String,
        /// All that have a replay.
        suites: Vec<String>,
    },
    #[error("none of these replays is of the suite {}", .0.join(", "))]
    Suites(Vec<String>),
    #[error("no replay has the tag {tag:?}{}", hint(.nearest.as_ref(), .tags))]
    UnknownTag {
        tag: String,
        nearest: Option<String>,
        /// All that there are.
        tags: Vec<String>,
    },
    #[error("no replay has the tags that `{0}` asks for")]
    Tags(TagExpr),
}

fn hint(nearest: Option<&String>, tags: &[String]) -> String {
    match (nearest, tags) {
        (Some(nearest), _) => format!("; did you mean {nearest}?"),
        (None, []) => "; none has any".to_owned(),
        (None, tags) => format!("; there are: {}", tags.join(", ")),
    }
}

impl Selection {
    /// Whether it takes into account what earlier runs say.
    pub fn needs_history(&self) -> bool {
        self.last_failed || self.order.needs_history()
    }

    /// The replays that it means, out of all.
    ///
    /// # Errors
    ///
    /// Fails on what can only be a mistake: a pattern, a tag or an expression that nothing matches.
    pub fn of(&self, all: &[Arc<Replay>], history: &History) -> Result<Chosen, SelectionError> {
        let mut replays = select(all, &self.patterns)?;
        if !self.suites.is_empty() {
            check_suites(&self.suites, all)?;
            replays.retain(|replay| self.suites.iter().any(|name| *name == *replay.suite));
            if replays.is_empty() {
                return Err(SelectionError::Suites(self.suites.clone()));
            }
        }
        if let Some(tags) = &self.tags {
            check_tags(&tags.wanted(), all)?;
            replays.retain(|replay| tags.matches(&replay.header.tags));
            if replays.is_empty() {
                return Err(SelectionError::Tags(tags.clone()));
            }
        }
        // Before the past is looked at: it differs from machine to machine, and the parts must not.
        if let Some(shard) = self.shard {
            replays = shard.of(&replays);
            if replays.is_empty() {
                return Ok(Chosen::Nothing(Idle::EmptyShard(shard)));
            }
        }
        if self.last_failed {
            let selected = replays.len();
            let passed = |replay: &Arc<Replay>| {
                let past = history.get(&replay.name);
                past.and_then(|past| past.last_ok) == Some(true)
            };
            replays.retain(|replay| !passed(replay));
            if replays.is_empty() && selected > 0 {
                return Ok(Chosen::Nothing(Idle::AllPassed { selected }));
            }
        }
        self.order.sort(&mut replays, history);
        Ok(Chosen::Replays(replays))
    }
}

pub(super) fn check_suites(wanted: &[String], all: &[Arc<Replay>]) -> Result<(), SelectionError> {
    let known: BTreeSet<&str> = all.iter().map(|replay| &*replay.suite).collect();
    match wanted.iter().find(|name| !known.contains(name.as_str())) {
        None => Ok(()),
        Some(unknown) => Err(SelectionError::UnknownSuite {
            suite: unknown.clone(),
            suites: known.into_iter().map(str::to_owned).collect(),
        }),
    }
}

/// A tag that is excluded need not be there: `not slow` is no mistake where nothing is slow.
pub(super) fn check_tags(wanted: &[&str], all: &[Arc<Replay>]) -> Result<(), SelectionError> {
    let known: BTreeSet<&str> = all
        .iter()
        .flat_map(|replay| &replay.header.tags)
        .map(String::as_str)
        .collect();
    let Some(unknown) = wanted.iter().find(|tag| !known.contains(*tag)) else {
        return Ok(());
    };
    let nearest = known
        .iter()
        .map(|tag| (strsim::jaro_winkler(unknown, tag), tag))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, tag)| (*tag).to_owned());
    Err(SelectionError::UnknownTag {
        tag: (*unknown).to_owned(),
        nearest,
        tags: known.into_iter().map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::past::Past;
    use crate::domain::replay::{Header, ReplayName};

    fn all() -> Vec<Arc<Replay>> {
        [("a", "net"), ("b", "net slow"), ("c", "db"), ("d", "")]
            .map(|(name, tags)| {
                Arc::new(Replay {
                    name: ReplayName::new(name),
                    suite: crate::domain::suite::SuiteName::default(),
                    path: name.into(),
                    file: format!("replays/{name}.sh"),
                    header: Header {
                        tags: tags.split_whitespace().map(str::to_owned).collect(),
                        ..Header::default()
                    },
                })
            })
            .into()
    }

    fn past(last_ok: &[(&str, Option<bool>)]) -> History {
        last_ok
            .iter()
            .map(|(name, last_ok)| {
                let past = Past {
                    last_ok: *last_ok,
                    median: None,
                };
                (ReplayName::new(*name), past)
            })
            .collect()
    }

    fn names(chosen: &Chosen) -> Vec<&str> {
        match chosen {
            Chosen::Replays(replays) => replays.iter().map(|r| r.name.as_str()).collect(),
            Chosen::Nothing(idle) => panic!("{idle}"),
        }
    }

    fn tagged(expression: &str) -> Selection {
        Selection {
            tags: Some(expression.parse().unwrap()),
            ..Selection::default()
        }
    }

    #[test]
    fn patterns_and_tags_must_both_match() {
        let none = History::new();
        let of = |selection: &Selection| selection.of(&all(), &none);
        assert_eq!(
            names(&of(&Selection::default()).unwrap()),
            ["a", "b", "c", "d"]
        );
        assert_eq!(names(&of(&tagged("net or db")).unwrap()), ["a", "b", "c"]);
        assert_eq!(names(&of(&tagged("not fast")).unwrap()).len(), 4);
        let both = Selection {
            patterns: vec!["a".to_owned(), "c".to_owned()],
            ..tagged("net")
        };
        assert_eq!(names(&of(&both).unwrap()), ["a"]);
    }

    #[test]
    fn a_suite_is_part_of_the_selection() {
        let mut all = all();
        for at in [1, 3] {
            Arc::make_mut(&mut all[at]).suite = "e2e".into();
        }
        let of = |suites: &[&str], patterns: &[&str]| {
            let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
            let selection = Selection {
                suites: strings(suites),
                patterns: strings(patterns),
                ..Selection::default()
            };
            selection.of(&all, &History::new())
        };
        assert_eq!(names(&of(&["e2e"], &[]).unwrap()), ["b", "d"]);
        assert_eq!(names(&of(&["e2e"], &["a", "d"]).unwrap()), ["d"]);
        assert_eq!(of(&["e2e", "replays"], &[]), of(&[], &[]));
        let error =
            |suites: &[&str], patterns: &[&str]| of(suites, patterns).unwrap_err().to_string();
        assert_eq!(
            error(&["e2e", "unit"], &[]),
            "no replay is of the suite \"unit\"; there are: e2e, replays"
        );
        assert_eq!(
            error(&["e2e"], &["a"]),
            "none of these replays is of the suite e2e"
        );
    }

    #[test]
    fn a_tag_that_nothing_has_is_a_mistake_although_another_matches() {
        let error = |expression: &str| {
            let chosen = tagged(expression).of(&all(), &History::new());
            chosen.unwrap_err().to_string()
        };
        assert_eq!(
            error("net or slwo"),
            "no replay has the tag \"slwo\"; did you mean slow?"
        );
        assert_eq!(
            error("x"),
            "no replay has the tag \"x\"; there are: db, net, slow"
        );
        assert_eq!(
            error("db and net"),
            "no replay has the tags that `db and net` asks for"
        );
        let chosen = tagged("x").of(&all()[3..], &History::new());
        assert_eq!(
            chosen.unwrap_err().to_string(),
            "no replay has the tag \"x\"; none has any"
        );
    }

    #[test]
    fn last_failed_is_what_failed_was_not_reached_or_is_new() {
        let selection = Selection {
            last_failed: true,
            ..Selection::default()
        };
        let history = past(&[("a", Some(true)), ("b", Some(false)), ("c", None)]);
        let chosen = selection.of(&all(), &history).unwrap();
        assert_eq!(names(&chosen), ["b", "c", "d"]);
        let green = past(&["a", "b", "c", "d"].map(|name| (name, Some(true))));
        assert_eq!(
            selection.of(&all(), &green),
            Ok(Chosen::Nothing(Idle::AllPassed { selected: 4 }))
        );
    }

    /// Else two machines would share the replays by what each of them happens to remember.
    #[test]
    fn parts_do_not_depend_on_the_past() {
        let part = |index: u32, history: &History| {
            let selection = Selection {
                shard: Some(format!("slice:{index}/2").parse().unwrap()),
                last_failed: true,
                order: Order::FailedFirst,
                ..Selection::default()
            };
            let chosen = selection.of(&all(), history).unwrap();
            names(&chosen).join(" ")
        };
        assert_eq!(part(1, &past(&[("a", Some(true))])), "c");
        assert_eq!(part(2, &History::new()), "b d");
    }

    #[test]
    fn an_empty_part_is_no_mistake() {
        let shard = "slice:3/3".parse().unwrap();
        let selection = Selection {
            patterns: vec!["a".to_owned()],
            shard: Some(shard),
            ..Selection::default()
        };
        let chosen = selection.of(&all(), &History::new()).unwrap();
        assert_eq!(chosen, Chosen::Nothing(Idle::EmptyShard(shard)));
        let Chosen::Nothing(idle) = chosen else {
            panic!()
        };
        assert_eq!(idle.to_string(), "no replay falls into part slice:3/3");
    }
}
