//! A sign of life for CI servers, which take silence for a hang.

use std::time::Duration;

use tokio::time::Instant;

/// How long nothing may be printed. Events are no sign of life: beside others a replay's output is
/// held back until its end.
const LONGEST: Duration = Duration::from_secs(60);

/// How long nothing has been printed.
#[derive(Debug)]
pub(super) struct Silence {
    since: Instant,
    printed: u64,
}

impl Silence {
    /// `printed` is how many bytes have been printed so far.
    pub(super) fn begin(now: Instant, printed: u64) -> Self {
        Self {
            since: now,
            printed,
        }
    }

    /// When it is to be broken.
    pub(super) fn end(&self) -> Instant {
        self.since + LONGEST
    }

    /// Whether it has to be broken now. If so, or if something has been printed, it begins anew.
    pub(super) fn is_too_long(&mut self, now: Instant, printed: u64) -> bool {
        let is_over = now >= self.end();
        let is_broken = self.printed != printed;
        if is_broken || is_over {
            *self = Self::begin(now, printed);
        }
        is_over && !is_broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_printed_breaks_a_silence() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silence = Silence::begin(at(0), 10);
        // Events without a word.
        assert!((1..60).all(|second| !silence.is_too_long(at(second), 10)));
        assert_eq!(silence.end(), at(60));
        assert!(silence.is_too_long(at(60), 10));
        // It was said that the work goes on.
        assert!(!silence.is_too_long(at(61), 50));
        assert_eq!(silence.end(), at(121));
        assert!(silence.is_too_long(at(121), 50));
        assert!(!silence.is_too_long(at(122), 50));
        assert!(silence.is_too_long(at(181), 50));
    }
}
