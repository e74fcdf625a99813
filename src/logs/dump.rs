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
                Some(Ok(batch)) => {
                    for (at, channel, bytes) in batch.iter() {
                        assembly.push(at, channel, bytes, |at, channel, bytes| {
                            let bytes = bytes.into();
                            lines.push(Ok(Line { at, channel, bytes }));
                        });
                    }
                    Some((lines, (parts, Some(assembly))))
                }
                Some(Err(error)) => {
                    lines.extend(assembly.finish().lines().map(Ok));
                    lines.push(Err(error));
                    Some((lines, (parts, None)))
                }
                None => {
                    lines.extend(assembly.finish().lines().map(Ok));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ContainerId;
    use crate::domain::line::Channel;
    use crate::engine::Tail;
    use crate::engine::fake::{FakeContainer, FakeEngine, Operation};

    const EVERYTHING: FollowOptions = FollowOptions {
        tail: Tail::All,
        whole_groups: false,
        new_from_start: false,
        since: None,
        follow: false,
    };

    async fn dumped(
        engine: &FakeEngine,
        ids: &[&ContainerId],
        options: FollowOptions,
    ) -> Vec<String> {
        let containers: Vec<Container> =
            ids.iter().map(|id| engine.container(id).unwrap()).collect();
        let engine: Arc<dyn Engine> = Arc::new(engine.clone());
        dump(&engine, &containers, options)
            .map(|event| match event {
                Ok(LogEvent::Line { source, line }) => {
                    format!("{} {}", source.0, String::from_utf8_lossy(&line.bytes))
                }
                Ok(LogEvent::Mark { source, mark, .. }) => format!("{} {mark:?}", source.0),
                Err(error) => format!("error {error}"),
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn logs_are_read_once_and_merged() {
        let engine = FakeEngine::new();
        let a = engine.run(FakeContainer::new("a"));
        let b = engine.run(FakeContainer::new("b"));
        engine.line(&a, "1");
        engine.line(&b, "2");
        engine.line(&a, &"x".repeat(20_000));
        engine.write(&b, Channel::Out, b"torn");
        let long = format!("a {}", "x".repeat(20_000));
        assert_eq!(
            dumped(&engine, &[&a, &b], EVERYTHING).await,
            ["a 1", "b 2", &*long, "b torn"]
        );
        let options = FollowOptions {
            tail: Tail::Last(1),
            ..EVERYTHING
        };
        assert_eq!(dumped(&engine, &[&b], options).await, ["b torn"]);
    }

    #[tokio::test]
    async fn since_is_exact() {
        let engine = FakeEngine::new();
        let a = engine.run(FakeContainer::new("a"));
        engine.line(&a, "before");
        engine.line(&a, "after");
        let options = FollowOptions {
            since: Some(engine.now()),
            ..EVERYTHING
        };
        assert_eq!(dumped(&engine, &[&a], options).await, ["a after"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let engine = FakeEngine::new();
        let mute = engine.run(FakeContainer::new("mute").unreadable());
        let bad = engine.run(FakeContainer::new("bad"));
        let good = engine.run(FakeContainer::new("good"));
        engine.line(&good, "here");
        let odd = EngineError::new(ErrorKind::Engine, "odd");
        engine.fail_on(Operation::Logs, bad.as_str(), odd);
        let told = dumped(&engine, &[&mute, &bad, &good], EVERYTHING).await;
        assert!(told.contains(&"error bad: odd".to_owned()), "{told:?}");
        assert!(told.contains(&"good here".to_owned()), "{told:?}");
        assert!(
            told.iter().any(|told| told.starts_with("mute Unreadable")),
            "{told:?}"
        );
        assert_eq!(told.len(), 3);
    }
}
