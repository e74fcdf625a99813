//! What is long for a replay, by how long it took before.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::domain::past::History;
use crate::domain::replay::ReplayName;

/// A replay that takes milliseconds may take longer for no reason of its own.
const LEAST: Duration = Duration::from_secs(1);

/// For each replay that has been timed, so many times its median, and a second at least.
pub fn limits(history: &History, factor: NonZeroU32) -> BTreeMap<ReplayName, Duration> {
    history
        .iter()
        .filter_map(|(name, past)| {
            let limit = past.median?.saturating_mul(factor.get());
            Some((name.clone(), limit.max(LEAST)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::past::Past;

    #[test]
    fn a_limit_is_a_multiple_of_what_it_took_and_a_second_at_least() {
        let timed = |name: &str, milliseconds: Option<u64>| {
            let past = Past {
                median: milliseconds.map(Duration::from_millis),
                last_ok: Some(true),
            };
            (ReplayName::new(name), past)
        };
        let history = History::from([
            timed("short", Some(3)),
            timed("long", Some(4_000)),
            timed("never-passed", None),
        ]);
        let limits = limits(&history, NonZeroU32::new(5).unwrap());
        let of = |name: &str| limits.get(&ReplayName::new(name)).copied();
        assert_eq!(of("short"), Some(Duration::from_secs(1)));
        assert_eq!(of("long"), Some(Duration::from_secs(20)));
        assert_eq!(of("never-passed"), None);
    }
}
