//! Durations as the backend's settings write them: `500ms`, `30s`, `10m`, `1h`.

use std::time::Duration;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a duration: {0:?}; they look like 500ms, 30s, 10m or 1h, and are not zero")]
pub struct NotADuration(String);

/// Reads one number with its unit. Zero is refused: a worker without a pause would spin.
///
/// # Errors
/// Anything else.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let error = || NotADuration(text.to_owned());
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| error())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(error()),
    };
    number
        .checked_mul(milliseconds)
        .filter(|total| *total > 0)
        .map(Duration::from_millis)
        .ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit() {
        for (text, ms) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            "5",
            "ms",
            "0s",
            "-1s",
            "1.5s",
            "1 s",
            "1d",
            "99999999999999999999s",
            "9999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
