//! What a container uses.

use std::time::Duration;

/// What a running container has used by one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// `None` where the engine does not count it.
    pub processor: Option<ProcessorTime>,
    /// Bytes without the page cache, as `docker stats` counts them.
    pub memory: u64,
    /// Bytes; `None` where nothing limits it below the machine's own memory.
    pub memory_limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorTime {
    /// Of the container since it was started, over all cores.
    pub own: Duration,
    /// Of the whole machine since it was booted, idle time included.
    pub machine: Duration,
    pub cores: u32,
}

/// What is shown of a container's statistics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Percent of one core since the usage before: 200.0 is two busy cores. `None` where there is
    /// nothing to compare with.
    pub cpu_percent: Option<f64>,
    /// As in [`Usage`].
    pub memory: u64,
    /// As in [`Usage`].
    pub memory_limit: Option<u64>,
}

impl Usage {
    /// The sample between an earlier usage of the same container and this one.
    pub fn since(&self, before: Option<&Self>) -> Sample {
        let before = before.and_then(|before| before.processor);
        Sample {
            cpu_percent: self
                .processor
                .zip(before)
                .and_then(|(now, before)| now.load_since(&before)),
            memory: self.memory,
            memory_limit: self.memory_limit,
        }
    }
}

impl ProcessorTime {
    /// The container's share of the machine's processor time, times the number of cores: what
    /// `docker stats` prints. A container that was started anew begins again.
    fn load_since(&self, before: &Self) -> Option<f64> {
        let own = self.own.checked_sub(before.own)?;
        let machine = self.machine.checked_sub(before.machine)?;
        if machine.is_zero() {
            return None;
        }
        Some(own.as_secs_f64() / machine.as_secs_f64() * f64::from(self.cores) * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(own: u64, machine: u64) -> Usage {
        Usage {
            processor: Some(ProcessorTime {
                own: Duration::from_millis(own),
                machine: Duration::from_millis(machine),
                cores: 4,
            }),
            memory: 60,
            memory_limit: None,
        }
    }

    #[test]
    fn load_is_counted_in_percent_of_one_core() {
        let sample = usage(3_000, 9_000).since(Some(&usage(1_000, 5_000)));
        assert_eq!(sample.cpu_percent, Some(200.0));
        assert_eq!(sample.memory, 60);
    }

    #[test]
    fn load_needs_something_to_compare_with() {
        assert_eq!(usage(3_000, 9_000).since(None).cpu_percent, None);
        let at_once = usage(3_000, 9_000).since(Some(&usage(3_000, 9_000)));
        assert_eq!(at_once.cpu_percent, None);
        let anew = usage(10, 9_000).since(Some(&usage(3_000, 5_000)));
        assert_eq!(anew.cpu_percent, None);
        let uncounted = Usage {
            processor: None,
            ..usage(1, 1)
        };
        let sample = uncounted.since(Some(&usage(1, 1)));
        assert_eq!((sample.cpu_percent, sample.memory), (None, 60));
    }
}
