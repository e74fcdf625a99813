//! A log part by part, for those who read little of it.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::port::Stream;
use crate::domain::line::{Part, PartBatch};

/// The parts of these batches one by one.
pub fn parts(batches: Stream<PartBatch>) -> Stream<Part> {
    batches
        .map_ok(|batch| stream::iter(batch.parts().map(Ok).collect::<Vec<_>>()))
        .try_flatten()
        .boxed()
}
