//! Containers that any of several selectors matches.

use std::collections::BTreeMap;

use super::port::{Engine, Result};
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::selector::Selector;

/// Asks once for each selector; a container that several match is there once.
///
/// # Errors
///
/// Fails with the first request that does.
pub async fn list_any(
    engine: &dyn Engine,
    selectors: impl IntoIterator<Item = &Selector> + Send,
) -> Result<BTreeMap<ContainerId, Container>> {
    let selectors: Vec<Selector> = selectors.into_iter().cloned().collect();
    let mut containers = BTreeMap::new();
    for selector in &selectors {
        for container in engine.list(selector).await? {
            containers.insert(container.id.clone(), container);
        }
    }
    Ok(containers)
}
