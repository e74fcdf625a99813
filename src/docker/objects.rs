//! Networks, volumes and images.

use bollard::query_parameters::{
    InspectNetworkOptions, ListNetworksOptions, ListVolumesOptions, RemoveVolumeOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::containers::{label_filter, removal};
use super::{DockerEngine, convert};
use crate::domain::id::ContainerId;
use crate::domain::selector::Selector;
use crate::engine::{EngineError, ErrorKind, NetworkInfo, Removal, VolumeInfo};

/// Inspects of networks that may be under way at the same time.
const AT_ONCE: usize = 4;

pub(super) async fn networks(
    engine: &DockerEngine,
    selector: &Selector,
) -> Result<Vec<NetworkInfo>, EngineError> {
    let options = ListNetworksOptions {
        filters: Some(label_filter(selector)),
    };
    let listed = engine
        .bounded(engine.docker.list_networks(Some(options)))
        .await?;
    let mine: Vec<NetworkInfo> = listed
        .into_iter()
        .filter_map(|network| {
            Some(NetworkInfo {
                id: network.id?,
                name: network.name.unwrap_or_default(),
                created: network.created.as_deref().and_then(convert::moment),
                labels: convert::labels(network.labels),
                attached: Vec::new(),
            })
        })
        .filter(|network| selector.matches(&network.labels))
        .collect();
    // The list does not say what is attached.
    let inspected: Vec<Option<NetworkInfo>> = stream::iter(mine)
        .map(|network| with_attached(engine, network))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(inspected.into_iter().flatten().collect())
}

/// `None` if the network has gone since it was listed.
async fn with_attached(
    engine: &DockerEngine,
    network: NetworkInfo,
) -> Result<Option<NetworkInfo>, EngineError> {
    let answer = engine
        .bounded(
            engine
                .docker
                .inspect_network(&network.id, None::<InspectNetworkOptions>),
        )
        .await;
    match answer {
        Ok(inspected) => {
            let mut attached: Vec<ContainerId> = inspected
                .containers
                .unwrap_or_default()
                .into_keys()
                .map(ContainerId::new)
                .collect();
            attached.sort();
            Ok(Some(NetworkInfo {
                attached,
                ..network
            }))
        }
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn volumes(
    engine: &DockerEngine,
    selector: &Selector,
) -> Result<Vec<VolumeInfo>, EngineError> {
    let options = ListVolumesOptions {
        filters: Some(label_filter(selector)),
    };
    let listed = engine
        .bounded(engine.docker.list_volumes(Some(options)))
        .await?;
    Ok(listed
        .volumes
        .unwrap_or_default()
        .into_iter()
        .map(|volume| VolumeInfo {
            name: volume.name,
            created: volume.created_at.as_deref().and_then(convert::moment),
            labels: convert::labels(Some(volume.labels)),
        })
        .filter(|volume| selector.matches(&volume.labels))
        .collect())
}

pub(super) async fn image_id(
    engine: &DockerEngine,
    reference: &str,
) -> Result<Option<String>, EngineError> {
    let answer = engine.bounded(engine.docker.inspect_image(reference)).await;
    match answer {
        Ok(image) => Ok(image.id),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn remove_network(
    engine: &DockerEngine,
    id: &str,
) -> Result<Removal, EngineError> {
    removal(engine.bounded(engine.docker.remove_network(id)).await)
}

pub(super) async fn remove_volume(
    engine: &DockerEngine,
    name: &str,
) -> Result<Removal, EngineError> {
    let answer = engine
        .bounded(
            engine
                .docker
                .remove_volume(name, None::<RemoveVolumeOptions>),
        )
        .await;
    removal(answer)
}
