//! What a list does not tell: details, and what became of what containers were made from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::port::{Engine, Inspect};
use crate::domain::container::{Container, Detail};
use crate::domain::id::ContainerId;
use crate::domain::origins::{Findings, NamedImage, Renamed, Subjects};

/// Requests that may be under way at the same time.
const AT_ONCE: usize = 8;
/// How long all of them together may take. What is not answered by then stays unknown.
const LIMIT: Duration = Duration::from_secs(5);

/// Looks for the origins of containers. What cannot be known is not in the answer, so that it
/// never says `gone` of what is there.
pub async fn look_up(engine: &dyn Engine, subjects: &Subjects) -> Findings {
    let deadline = Instant::now() + LIMIT;
    let (gone, renamed) = join(
        missing(engine, &subjects.sources, deadline),
        renamed(engine, &subjects.images, deadline),
    )
    .await;
    Findings { gone, renamed }
}

async fn missing(
    engine: &dyn Engine,
    sources: &BTreeSet<String>,
    deadline: Instant,
) -> BTreeSet<String> {
    if sources.is_empty() {
        return BTreeSet::new();
    }
    let missing = timeout_at(deadline, engine.missing(sources)).await;
    missing.unwrap_or_default()
}

async fn renamed(
    engine: &dyn Engine,
    images: &BTreeSet<NamedImage>,
    deadline: Instant,
) -> BTreeMap<NamedImage, Renamed> {
    let answers = images.iter().cloned().map(|image| async move {
        let now = engine.image_id(&image.name).await;
        (image, now)
    });
    let mut answers = stream::iter(answers).buffer_unordered(AT_ONCE);
    let mut renamed = BTreeMap::new();
    while let Ok(Some((image, now))) = timeout_at(deadline, answers.next()).await {
        if let Some(to) = now.ok().and_then(|now| image.renamed(now)) {
            renamed.insert(image, to);
        }
    }
    renamed
}

/// Completes listed containers by what an inspect tells, and by their origins. One that cannot be
/// inspected in time keeps no detail.
pub async fn complete(engine: &dyn Engine, containers: &mut BTreeMap<ContainerId, Container>) {
    let deadline = Instant::now() + LIMIT;
    let ids: Vec<ContainerId> = containers.keys().cloned().collect();
    let answers = ids.into_iter().map(|id| async move {
        let answer = engine.inspect(&id).await;
        (id, answer)
    });
    let mut answers = stream::iter(answers).buffer_unordered(AT_ONCE);
    while let Ok(Some((id, answer))) = timeout_at(deadline, answers.next()).await {
        let detail: Option<Detail> = answer.as_ref().ok().map(Inspect::detail);
        if let Some(container) = containers.get_mut(&id) {
            container.detail = detail;
        }
    }
    let findings = look_up(engine, &Subjects::of(containers.values())).await;
    for container in containers.values_mut() {
        container.origins = findings.origins(container);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeContainer, FakeEngine, Operation};
    use super::super::{EngineError, ErrorKind, list_any};
    use super::*;
    use crate::domain::container::MountKind;
    use crate::domain::origins::Origins;
    use crate::domain::selector::Selector;

    async fn completed(engine: &FakeEngine) -> BTreeMap<ContainerId, Container> {
        let all = Selector::from_conditions(["a=1".parse().unwrap()]).unwrap();
        let mut containers = list_any(engine, [&all]).await.unwrap();
        complete(engine, &mut containers).await;
        containers
    }

    fn engine(name: &str) -> FakeContainer {
        FakeContainer::new(name)
            .label("a", "1")
            .image("engine:dev", "sha256:11")
            .mount(MountKind::Bind, "/tmp/state", "/state")
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_completed_by_details_and_origins() {
        let fake = FakeEngine::new();
        let id = fake.run(engine("a"));
        let whole = completed(&fake).await;
        assert!(whole[&id].detail.is_some());
        assert!(whole[&id].origins.is_whole());

        fake.tag("engine:dev", "sha256:22");
        fake.lose("/tmp/state");
        let broken = completed(&fake).await;
        let expected = Origins {
            gone: vec!["/tmp/state".to_owned()],
            image: Some(Renamed::To("sha256:22".to_owned())),
        };
        assert_eq!(broken[&id].origins, expected);

        fake.untag("engine:dev");
        let unnamed = completed(&fake).await;
        assert_eq!(unnamed[&id].origins.image, Some(Renamed::Nothing));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_is_not_held_against_a_container() {
        for operation in [Operation::Image, Operation::Missing] {
            let fake = FakeEngine::new();
            let id = fake.run(engine("a"));
            fake.untag("engine:dev");
            fake.lose("/tmp/state");
            fake.hang(operation);
            let containers = completed(&fake).await;
            let origins = &containers[&id].origins;
            let known = (!origins.gone.is_empty(), origins.image.is_some());
            let expected = (
                operation == Operation::Image,
                operation == Operation::Missing,
            );
            assert_eq!(known, expected, "{operation:?}");
        }
        let fake = FakeEngine::new();
        let id = fake.run(engine("a"));
        fake.fail(
            Operation::Image,
            EngineError::new(ErrorKind::Engine, "locked"),
        );
        assert!(completed(&fake).await[&id].origins.is_whole());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_cannot_be_inspected_hides_no_other() {
        let fake = FakeEngine::new();
        let stuck = fake.run(engine("a"));
        let other = fake.run(engine("b"));
        fake.hang_on(Operation::Inspect, stuck.as_str());
        let containers = completed(&fake).await;
        assert_eq!(containers[&stuck].detail, None);
        assert!(containers[&other].detail.is_some());
    }
}
