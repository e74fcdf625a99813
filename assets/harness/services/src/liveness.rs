//! Which workspaces are alive: keys in Redis that expire unless a heartbeat renews them.

use std::collections::HashSet;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands as _, Client, RedisResult};
use uuid::Uuid;

/// `ws:<id>` lives this many seconds; a workspace beats every 30.
const ONLINE_TTL: u64 = 180;
/// `ws:<id>:url` and `ws:<id>:internal_url` live this many seconds.
const URL_TTL: u64 = 300;
const TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that reconnects by itself.
#[derive(Clone)]
pub struct Liveness {
    connection: ConnectionManager,
}

impl std::fmt::Debug for Liveness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Liveness")
    }
}

impl Liveness {
    /// Does not connect yet: the first command does.
    ///
    /// # Errors
    /// `url` is not a Redis address.
    pub fn open(url: &str) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?;
        Ok(Self { connection })
    }

    /// # Errors
    /// Redis did not answer in time.
    pub async fn ping(&self) -> RedisResult<()> {
        redis::cmd("PING")
            .query_async(&mut self.connection.clone())
            .await
    }

    /// Marks a workspace alive.
    ///
    /// # Errors
    /// Redis did not answer in time.
    pub async fn beat(&self, id: Uuid) -> RedisResult<()> {
        self.connection
            .clone()
            .set_ex(online_key(id), "online", ONLINE_TTL)
            .await
    }

    /// Caches where a workspace can be reached: by its peers, and by the tenant itself.
    ///
    /// # Errors
    /// Redis did not answer in time.
    pub async fn remember(&self, id: Uuid, address: Address, url: &str) -> RedisResult<()> {
        self.connection
            .clone()
            .set_ex(address.key(id), url, URL_TTL)
            .await
    }

    /// A cached address.
    ///
    /// # Errors
    /// Redis did not answer in time.
    pub async fn address(&self, id: Uuid, address: Address) -> RedisResult<Option<String>> {
        self.connection.clone().get(address.key(id)).await
    }

    /// Drops all that is known of a workspace.
    ///
    /// # Errors
    /// Redis did not answer in time.
    pub async fn forget(&self, id: Uuid) -> RedisResult<()> {
        self.connection
            .clone()
            .del(&[
                online_key(id),
                Address::Public.key(id),
                Address::Internal.key(id),
            ])
            .await
    }

    /// Which of `ids` are alive.
    ///
    /// # Errors
    /// Redis did not answer in time.
    pub async fn alive(&self, ids: &[Uuid]) -> RedisResult<HashSet<Uuid>> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let keys: Vec<String> = ids.iter().copied().map(online_key).collect();
        let values: Vec<Option<String>> = self.connection.clone().mget(keys).await?;
        Ok(ids
            .iter()
            .copied()
            .zip(values)
            .filter_map(|(id, value)| value.map(|_| id))
            .collect())
    }
}

fn online_key(id: Uuid) -> String {
    format!("ws:{id}")
}

/// Which of a workspace's addresses.
#[derive(Debug, Clone, Copy)]
pub enum Address {
    Public,
    /// Only the tenant can use it.
    Internal,
}

impl Address {
    fn key(self, id: Uuid) -> String {
        match self {
            Self::Public => format!("ws:{id}:url"),
            Self::Internal => format!("ws:{id}:internal_url"),
        }
    }
}
