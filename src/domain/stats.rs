//! What a container uses.

/// One sample of a container's statistics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Percent of one core since the previous sample: 200.0 is two busy cores. `None` for the
    /// first sample, which has nothing to compare with.
    pub cpu_percent: Option<f64>,
    /// Bytes without the page cache, as `docker stats` counts them.
    pub memory: u64,
    /// Bytes; `None` where nothing limits it below the machine's own memory.
    pub memory_limit: Option<u64>,
}
