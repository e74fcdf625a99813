//! Logs as they stand, once, in the exact order of time.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};

use super::{Assembly, FollowOptions, LogEvent, merge};
use crate::domain::container::Container;
use crate::domain::line::{Line, Mark, SourceId};
use crate::engine::{Engine, EngineError, ErrorKind, LogRequest};

/// The logs of these containers as they stand now, merged by time; `follow` is not looked at.
///
/// A log that cannot be read because of its logging driver gives a mark. Any other error is
/// named after its container, and ends only that container's log.
pub fn dump(
    engine: &Arc<dyn Engine>,
    containers: &[Container],
    options: FollowOptions,
) -> impl Stream<Item = Result<LogEvent, EngineError>> + Send + use<> {
    let sources = containers
        .iter()
        .map(|container| one(engine.as_ref(), container, options))
        .collect();
    merge(sources)
}

type Events = BoxStream<'static, Result<LogEvent, EngineError>>;

fn one(engine: &dyn Engine, container: &Container, options: FollowOptions) -> Events {
    let request = LogRequest {
        tail: options.tail,
        since: options.since,
        follow: false,
    };
    let parts = engine.logs(&container.id, request);
    let source = SourceId(container.name.as_str().into());
    let created = container.created;
    let batches = stream::unfold(
        (parts, Some(Assembly::default())),
        |(mut parts, assembly)| async move {
            let mut assembly = assembly?;
            let mut lines = Vec::new();
            match parts.next().await {
                Some(Ok(part)) => {
                    assembly.push(&part, |line| lines.push(Ok(line)));
                    Some((lines, (parts, Some(assembly))))
                }
                Some(Err(error)) => {
                    lines.extend(assembly.finish().into_iter().map(Ok));
                    lines.push(Err(error));
                    Some((lines, (parts, None)))
                }
                None => {
                    lines.extend(assembly.finish().into_iter().map(Ok));
                    Some((lines, (parts, None)))
                }
            }
        },
    );
    batches
        .flat_map(stream::iter)
        .filter(move |line: &Result<Line, EngineError>| {
            let early = match (line, options.since) {
                (Ok(line), Some(since)) => line.at < since,
                _ => false,
            };
            std::future::ready(!early)
        })
        .map(move |line| {
            let source = source.clone();
            match line {
                Ok(line) => Ok(LogEvent::Line { source, line }),
                Err(error) if error.kind == ErrorKind::Unsupported => Ok(LogEvent::Mark {
                    source,
                    at: created,
                    mark: Mark::Unreadable {
                        cause: error.message,
                    },
                }),
                Err(error) => Err(EngineError {
                    message: format!("{}: {}", source.0, error.message),
                    ..error
                }),
            }
        })
        .boxed()
}
