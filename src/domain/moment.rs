//! Points in time as people type them.

use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, Zoned};

use super::replay::parse_duration;

/// How a moment can be written, for messages.
pub const MOMENT_HELP: &str = "write 10m, 12:03 or 2026-11-21T12:03:00Z";

/// `10m` ago, the last time that it was `12:03`, or a date and time with or without an offset;
/// without one it is in the zone of `now`.
pub fn parse_moment(text: &str, now: &Zoned) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(ago) = parse_duration(text) {
        return now.timestamp().checked_sub(ago).ok();
    }
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment);
    }
    let local = |local: DateTime| local.to_zoned(now.time_zone().clone()).ok();
    if let Ok(time) = text.parse::<Time>() {
        let today = local(now.date().to_datetime(time))?;
        let last = match today > *now {
            true => local(now.date().yesterday().ok()?.to_datetime(time))?,
            false => today,
        };
        return Some(last.timestamp());
    }
    Some(local(text.parse().ok()?)?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_duration_a_time_or_a_date() {
        let now: Zoned = "2026-11-22T01:30:00+01:00[Europe/Berlin]".parse().unwrap();
        for (text, expected) in [
            ("10m", Some("2026-11-22T00:20:00Z")),
            ("90s", Some("2026-11-22T00:28:30Z")),
            (" 2h ", Some("2026-11-21T22:30:00Z")),
            ("01:03", Some("2026-11-22T00:03:00Z")),
            ("01:03:44", Some("2026-11-22T00:03:44Z")),
            ("01:03:44.5", Some("2026-11-22T00:03:44.5Z")),
            // What is yet to come was meant of yesterday.
            ("23:50", Some("2026-11-21T22:50:00Z")),
            ("2026-11-21T12:03:44Z", Some("2026-11-21T12:03:44Z")),
            ("2026-11-21T12:03:44+02:00", Some("2026-11-21T10:03:44Z")),
            ("2026-11-21T12:03:44", Some("2026-11-21T11:03:44Z")),
            ("2026-11-21 12:03", Some("2026-11-21T11:03:00Z")),
            ("yesterday", None),
            ("25:00", None),
            ("-5m", None),
            ("999999999h", None),
            ("", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(parse_moment(text, &now), expected, "{text:?}");
        }
    }
}
