//! What is wrong with a container, in a word or two.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::container::{Container, State};
use super::scope::Placement;

/// A run as short as this, after restarts, is one turn of a loop.
const TURN: SignedDuration = SignedDuration::from_secs(60);

/// In the order of what matters most: where there is little room the last go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Badge {
    /// So many stacks claim it: never removed.
    Stacks(usize),
    OutOfMemory,
    RestartLoop,
    /// The engine could not start it.
    StartFailed,
    /// The engine gave up half-way.
    RemovalFailed,
    /// A restart would fail.
    BindSourceGone,
    /// The name that it was made from means another image now, or none.
    StaleImage,
    Restarts(u64),
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stacks(2) => "two stacks",
            Self::Stacks(count) => return write!(f, "{count} stacks"),
            Self::OutOfMemory => "OOM",
            Self::RestartLoop => "restart loop",
            Self::StartFailed => "start failed",
            Self::RemovalFailed => "removal failed",
            Self::BindSourceGone => "bind source gone",
            Self::StaleImage => "stale image",
            Self::Restarts(1) => "1 restart",
            Self::Restarts(count) => return write!(f, "{count} restarts"),
        })
    }
}

/// The badges of a container, what matters most first. `out_of_memory`: an event said so.
pub fn badges(
    container: &Container,
    placement: &Placement,
    out_of_memory: bool,
    now: Timestamp,
) -> Vec<Badge> {
    let detail = container.detail.as_ref();
    let restarts = detail.map_or(0, |detail| detail.restart_count);
    let looping = is_looping(container, now);
    let mut badges = Vec::new();
    let mut add = |badge, applies: bool| {
        if applies {
            badges.push(badge);
        }
    };
    if let Placement::Several(names) = placement {
        add(Badge::Stacks(names.len()), true);
    }
    let killed = detail.is_some_and(|detail| detail.oom_killed);
    add(Badge::OutOfMemory, out_of_memory || killed);
    add(Badge::RestartLoop, looping);
    let failed = detail.is_some_and(|detail| detail.error.is_some());
    let goes = matches!(container.state, State::Removing | State::Dead);
    add(Badge::StartFailed, failed && !goes);
    add(Badge::RemovalFailed, failed && goes);
    add(Badge::BindSourceGone, !container.origins.gone.is_empty());
    add(Badge::StaleImage, container.origins.image.is_some());
    add(Badge::Restarts(restarts), restarts > 0 && !looping);
    badges
}

/// Between two attempts, or just begun again and not for the first time. Only a restart policy
/// counts restarts: people's do not.
fn is_looping(container: &Container, now: Timestamp) -> bool {
    let again = container.detail.as_ref().is_some_and(|detail| {
        detail.restart_count > 1
            && detail
                .started
                .is_some_and(|started| now.duration_since(started) < TURN)
    });
    match container.state {
        State::Restarting => true,
        State::Running => again,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::container::Detail;
    use crate::domain::origins::{Origins, Renamed};

    fn now() -> Timestamp {
        Timestamp::from_second(1_000_000).unwrap()
    }

    fn words(container: &Container, placement: &Placement) -> Vec<String> {
        let badges = badges(container, placement, false, now());
        assert!(badges.is_sorted(), "{badges:?}");
        badges.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_well_has_no_badge() {
        let mut container = Container::bare("c1");
        assert!(words(&container, &Placement::Unclaimed).is_empty());
        container.detail = Some(Detail::default());
        assert!(words(&container, &Placement::Stack("a".into())).is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_said_the_worst_first() {
        let container = Container {
            state: State::Exited,
            detail: Some(Detail {
                oom_killed: true,
                restart_count: 5,
                error: Some("no such file".to_owned()),
                ..Detail::default()
            }),
            origins: Origins {
                gone: vec!["/tmp/x".to_owned()],
                image: Some(Renamed::Nothing),
            },
            ..Container::bare("c1")
        };
        let several = Placement::Several(vec!["a".into(), "b".into()]);
        assert_eq!(
            words(&container, &several),
            [
                "two stacks",
                "OOM",
                "start failed",
                "bind source gone",
                "stale image",
                "5 restarts"
            ]
        );
    }

    #[test]
    fn what_cannot_be_removed_did_not_fail_to_start() {
        // The engine keeps one error for both, and lists what is dead as being removed.
        for (state, expected) in [
            (State::Created, "start failed"),
            (State::Exited, "start failed"),
            (State::Removing, "removal failed"),
            (State::Dead, "removal failed"),
        ] {
            let container = Container {
                state,
                detail: Some(Detail {
                    error: Some("operation not permitted".to_owned()),
                    ..Detail::default()
                }),
                ..Container::bare("c1")
            };
            assert_eq!(words(&container, &Placement::Unclaimed), [expected]);
        }
    }

    #[test]
    fn an_event_of_lost_memory_counts_as_much_as_the_flag() {
        let container = Container::bare("c1");
        let badges = badges(&container, &Placement::Unclaimed, true, now());
        assert_eq!(badges, [Badge::OutOfMemory]);
    }

    #[test]
    fn a_restart_loop_is_a_run_that_ended_soon_again_and_again() {
        let after = |state, restart_count, seconds: i64| {
            let container = Container {
                state,
                detail: Some(Detail {
                    restart_count,
                    started: Some(now() - SignedDuration::from_secs(seconds)),
                    ..Detail::default()
                }),
                ..Container::bare("c1")
            };
            words(&container, &Placement::Unclaimed)
        };
        assert_eq!(after(State::Restarting, 4, 1), ["restart loop"]);
        assert_eq!(after(State::Running, 4, 59), ["restart loop"]);
        assert_eq!(after(State::Running, 4, 60), ["4 restarts"]);
        assert_eq!(after(State::Running, 1, 1), ["1 restart"]);
        assert_eq!(after(State::Exited, 4, 1), ["4 restarts"]);
        let unseen = Container {
            state: State::Restarting,
            ..Container::bare("c1")
        };
        assert_eq!(words(&unseen, &Placement::Unclaimed), ["restart loop"]);
    }
}
