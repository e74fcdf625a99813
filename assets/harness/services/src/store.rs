//! Workspaces, tokens and activity in PostgreSQL.

use std::time::Duration;

use deadpool_postgres::{GenericClient, Manager, Object, Pool, PoolError, Runtime};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::{NoTls, Row};
use uuid::Uuid;

use crate::activity::{Entry, NewEntry, Page};
use crate::auth::TokenDigest;
use crate::bugs::{Bug, Bugs};
use crate::http::chain;

const SCHEMA: &str = include_str!("schema.sql");
/// Tenants that boot at the same time make the schema one after the other.
const SCHEMA_LOCK: i64 = 0x7461_636b;
const POOL_SIZE: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(2);
const BOOT_ATTEMPTS: u32 = 30;
const BOOT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("DATABASE_URL: {0}")]
    Url(tokio_postgres::Error),
    #[error("the connection pool cannot be made: {0}")]
    Pool(#[from] deadpool_postgres::BuildError),
    #[error("PostgreSQL cannot be reached: {}", chain(.0))]
    Connect(#[from] PoolError),
    #[error("PostgreSQL refused a statement: {}", detail(.0))]
    Statement(#[from] tokio_postgres::Error),
}

/// `tokio_postgres` keeps the server's own words in the source.
fn detail(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// A workspace as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Workspace {
    pub id: Uuid,
    pub name: String,
    pub role: Option<String>,
    pub tier: i32,
    pub status: String,
    pub url: Option<String>,
    pub parent_id: Option<Uuid>,
    pub agent_card: Option<Value>,
    pub active_tasks: i32,
    #[serde(skip)]
    pub delivery_mode: DeliveryMode,
}

const COLUMNS: &str = "w.id, w.name, w.role, w.tier, w.status, w.url, w.parent_id, w.agent_card, w.active_tasks, \
                       w.delivery_mode";

impl TryFrom<&Row> for Workspace {
    type Error = tokio_postgres::Error;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            role: row.try_get("role")?,
            tier: row.try_get("tier")?,
            status: row.try_get("status")?,
            url: row.try_get("url")?,
            parent_id: row.try_get("parent_id")?,
            agent_card: row.try_get("agent_card")?,
            active_tasks: row.try_get("active_tasks")?,
            delivery_mode: match row.try_get("delivery_mode")? {
                "poll" => DeliveryMode::Poll,
                _ => DeliveryMode::Push,
            },
        })
    }
}

fn workspaces(rows: &[Row]) -> Result<Vec<Workspace>, StoreError> {
    Ok(rows
        .iter()
        .map(Workspace::try_from)
        .collect::<Result<_, _>>()?)
}

#[derive(Debug)]
pub struct NewWorkspace {
    pub name: String,
    pub role: Option<String>,
    pub tier: i32,
    pub parent_id: Option<Uuid>,
}

#[derive(Debug, Clone, Copy)]
pub enum DeliveryMode {
    Push,
    Poll,
}

impl DeliveryMode {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Poll => "poll",
        }
    }
}

#[derive(Debug)]
pub struct Registration {
    pub id: Uuid,
    pub url: Option<String>,
    pub agent_card: Option<Value>,
    pub delivery_mode: DeliveryMode,
    /// What the caller presented.
    pub bearer: Option<TokenDigest>,
    /// Stored if this workspace has no live token yet.
    pub first_token: TokenDigest,
    /// Stored if this workspace has no inbound secret yet.
    pub first_inbound_secret: String,
}

#[derive(Debug)]
pub enum Registered {
    /// `first`: the first token was stored, and is valid from now on.
    Yes { first: bool, inbound_secret: String },
    /// The workspace has live tokens, and the caller presented none of them.
    Refused(Refusal),
    /// The workspace was removed, which is for good.
    Removed,
}

/// Why a workspace's credentials were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Missing,
    Invalid,
}

#[derive(Debug)]
pub struct Heartbeat {
    pub id: Uuid,
    pub error_rate: f64,
    pub sample_error: Option<String>,
    pub active_tasks: i32,
    pub uptime_seconds: i64,
}

/// What became of asking the control plane for an instance.
#[derive(Debug, Clone, Serialize)]
pub struct Provisioning {
    pub instance_id: Option<String>,
    pub error: Option<String>,
}

/// A token as it is listed: never the token itself.
#[derive(Debug, Clone, Serialize)]
pub struct TokenEntry {
    pub id: Uuid,
    pub created_at: String,
}

/// A time in SQL as the API writes it: RFC 3339 in UTC, with microseconds.
macro_rules! rfc3339 {
    ($column:literal) => {
        concat!(
            "to_char(",
            $column,
            " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        )
    };
}

/// Does not connect yet.
fn pool(config: tokio_postgres::Config) -> Result<Pool, deadpool_postgres::BuildError> {
    Pool::builder(Manager::new(config, NoTls))
        .max_size(POOL_SIZE)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(TIMEOUT))
        .create_timeout(Some(TIMEOUT))
        .recycle_timeout(Some(TIMEOUT))
        .build()
}

#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
    /// The database that is named like the role: what a connection without a database's name falls back to.
    fallback: Pool,
    bugs: Bugs,
}

impl Store {
    /// Connects and makes the schema; PostgreSQL has half a minute to come up.
    ///
    /// # Errors
    /// The last attempt's error.
    pub async fn boot(url: &str, bugs: Bugs) -> Result<Self, StoreError> {
        let store = Self::open(url, bugs)?;
        for attempt in 1.. {
            match store.migrate().await {
                Ok(()) => break,
                Err(error) if attempt < BOOT_ATTEMPTS => {
                    tracing::warn!(%error, attempt, of = BOOT_ATTEMPTS, "waiting for PostgreSQL");
                    tokio::time::sleep(BOOT_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(store)
    }

    fn open(url: &str, bugs: Bugs) -> Result<Self, StoreError> {
        let mut config: tokio_postgres::Config = url.parse().map_err(StoreError::Url)?;
        config.connect_timeout(TIMEOUT);
        let mut fallback = config.clone();
        fallback.dbname(config.get_user().unwrap_or_default());
        Ok(Self {
            pool: pool(config)?,
            fallback: pool(fallback)?,
            bugs,
        })
    }

    async fn client(&self) -> Result<Object, StoreError> {
        if self.bugs.has(Bug::TenantIsolation) {
            return Ok(self.fallback.get().await?);
        }
        Ok(self.pool.get().await?)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        transaction
            .execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK])
            .await?;
        transaction.batch_execute(SCHEMA).await?;
        Ok(transaction.commit().await?)
    }

    /// # Errors
    /// PostgreSQL does not answer, or does not have the schema.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.client()
            .await?
            .query_opt("SELECT 1 FROM workspaces LIMIT 1", &[])
            .await?;
        Ok(())
    }

    /// Every workspace that was not removed, oldest first.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn list(&self) -> Result<Vec<Workspace>, StoreError> {
        let statement = format!(
            "SELECT {COLUMNS} FROM workspaces w WHERE w.status <> 'removed' ORDER BY w.created_at, w.id"
        );
        workspaces(&self.client().await?.query(&statement, &[]).await?)
    }

    /// One workspace, unless it was removed.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn find(&self, id: Uuid) -> Result<Option<Workspace>, StoreError> {
        let statement =
            format!("SELECT {COLUMNS} FROM workspaces w WHERE w.id = $1 AND w.status <> 'removed'");
        let row = self.client().await?.query_opt(&statement, &[&id]).await?;
        Ok(row.as_ref().map(Workspace::try_from).transpose()?)
    }

    /// The parent, the children and the siblings of a workspace, oldest first. A workspace without a parent has no
    /// siblings. `needle`, if any, must occur in the name or the role, in upper or lower case.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn peers(
        &self,
        of: &Workspace,
        needle: Option<&str>,
    ) -> Result<Vec<Workspace>, StoreError> {
        let statement = format!(
            "SELECT {COLUMNS} FROM workspaces w
             WHERE w.status <> 'removed' AND w.id <> $1
               AND (w.id = $2 OR w.parent_id = $1 OR w.parent_id = $2)
               AND ($3::text IS NULL
                    OR position(lower($3) IN lower(w.name)) > 0
                    OR position(lower($3) IN lower(coalesce(w.role, ''))) > 0)
             ORDER BY w.created_at, w.id"
        );
        workspaces(
            &self
                .client()
                .await?
                .query(&statement, &[&of.id, &of.parent_id, &needle])
                .await?,
        )
    }

    /// Stores a workspace under an id of its own.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn create(&self, new: &NewWorkspace) -> Result<Uuid, StoreError> {
        let id = Uuid::new_v4();
        self.client()
            .await?
            .execute(
                "INSERT INTO workspaces (id, name, role, tier, parent_id) VALUES ($1, $2, $3, $4, $5)",
                &[&id, &new.name, &new.role, &new.tier, &new.parent_id],
            )
            .await?;
        Ok(id)
    }

    /// Marks a workspace removed and revokes its tokens. `false`: there is none.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn remove(&self, id: Uuid) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let removed = transaction
            .execute(
                "UPDATE workspaces SET status = 'removed' WHERE id = $1 AND status <> 'removed'",
                &[&id],
            )
            .await?;
        transaction
            .execute(
                "UPDATE workspace_auth_tokens SET revoked_at = now() WHERE workspace_id = $1 AND revoked_at IS NULL",
                &[&id],
            )
            .await?;
        transaction.commit().await?;
        Ok(removed == 1)
    }

    /// Adds a token to a workspace, and returns the token's id. `None`: there is no such workspace.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn add_token(
        &self,
        id: Uuid,
        token: TokenDigest,
    ) -> Result<Option<Uuid>, StoreError> {
        let row = self
            .client()
            .await?
            .query_opt(
                "INSERT INTO workspace_auth_tokens (workspace_id, sha256)
                 SELECT id, $2 FROM workspaces WHERE id = $1 AND status <> 'removed' RETURNING id",
                &[&id, &token.as_bytes()],
            )
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// A workspace's live tokens, oldest first.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn tokens(&self, id: Uuid) -> Result<Vec<TokenEntry>, StoreError> {
        let rows = self
            .client()
            .await?
            .query(
                concat!(
                    "SELECT id, ",
                    rfc3339!("created_at"),
                    " AS created_at FROM workspace_auth_tokens
                     WHERE workspace_id = $1 AND revoked_at IS NULL ORDER BY created_at, id"
                ),
                &[&id],
            )
            .await?;
        token_entries(&rows)
    }

    /// Revokes one of a workspace's tokens. `false`: it has no such live token.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn revoke_token(&self, id: Uuid, token_id: Uuid) -> Result<bool, StoreError> {
        let revoked = self
            .client()
            .await?
            .execute(
                "UPDATE workspace_auth_tokens SET revoked_at = now()
                 WHERE workspace_id = $1 AND id = $2 AND revoked_at IS NULL",
                &[&id, &token_id],
            )
            .await?;
        Ok(revoked == 1)
    }

    /// Whether this is a live token of that workspace, and of no other.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn is_workspace_token(
        &self,
        id: Uuid,
        token: TokenDigest,
    ) -> Result<bool, StoreError> {
        let row = self
            .client()
            .await?
            .query_one(
                "SELECT EXISTS (SELECT 1 FROM workspace_auth_tokens
                                WHERE sha256 = $2 AND revoked_at IS NULL AND (workspace_id = $1 OR $3))",
                &[&id, &token.as_bytes(), &self.bugs.has(Bug::WorkspaceTokenCrosses)],
            )
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Adds a token of the whole organisation, and returns its id.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn add_org_token(&self, token: TokenDigest) -> Result<Uuid, StoreError> {
        let row = self
            .client()
            .await?
            .query_one(
                "INSERT INTO org_auth_tokens (sha256) VALUES ($1) RETURNING id",
                &[&token.as_bytes()],
            )
            .await?;
        Ok(row.try_get(0)?)
    }

    /// The organisation's live tokens, oldest first.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn org_tokens(&self) -> Result<Vec<TokenEntry>, StoreError> {
        let rows = self
            .client()
            .await?
            .query(
                concat!(
                    "SELECT id, ",
                    rfc3339!("created_at"),
                    " AS created_at FROM org_auth_tokens
                     WHERE revoked_at IS NULL ORDER BY created_at, id"
                ),
                &[],
            )
            .await?;
        token_entries(&rows)
    }

    /// Revokes a token of the organisation. `false`: there is no such live token.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn revoke_org_token(&self, token_id: Uuid) -> Result<bool, StoreError> {
        let revoked = self
            .client()
            .await?
            .execute(
                "UPDATE org_auth_tokens SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL",
                &[&token_id],
            )
            .await?;
        Ok(revoked == 1)
    }

    /// Whether this is a live token of the organisation.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn is_org_token(&self, token: TokenDigest) -> Result<bool, StoreError> {
        let row = self
            .client()
            .await?
            .query_one(
                "SELECT EXISTS (SELECT 1 FROM org_auth_tokens WHERE sha256 = $1 AND revoked_at IS NULL)",
                &[&token.as_bytes()],
            )
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Records what became of provisioning. A workspace that announced itself meanwhile runs, whatever was answered.
    /// `false`: it was removed meanwhile, and nobody needs the instance.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn provisioned(&self, id: Uuid, outcome: &Provisioning) -> Result<bool, StoreError> {
        let row = self
            .client()
            .await?
            .query_opt(
                "UPDATE workspaces
                 SET instance_id = $2, provision_error = $3::text,
                     status = CASE WHEN status = 'provisioning' AND $3::text IS NOT NULL THEN 'failed' ELSE status END
                 WHERE id = $1 RETURNING status <> 'removed'",
                &[&id, &outcome.instance_id, &outcome.error],
            )
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
    }

    /// What became of provisioning a workspace; removed ones too. `None`: there is no such workspace.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn provisioning(&self, id: Uuid) -> Result<Option<Provisioning>, StoreError> {
        let row = self
            .client()
            .await?
            .query_opt(
                "SELECT instance_id, provision_error FROM workspaces WHERE id = $1",
                &[&id],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Provisioning {
            instance_id: row.try_get(0)?,
            error: row.try_get(1)?,
        }))
    }

    /// Adds an entry to a workspace's activity. `None`: there is no such workspace.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn add_activity(&self, entry: &NewEntry) -> Result<Option<Entry>, StoreError> {
        let row = self
            .client()
            .await?
            .query_opt(
                concat!(
                    "INSERT INTO activity_logs AS a
                         (workspace_id, activity_type, source_id, target_id, method, summary, status)
                     SELECT id, $2, $3, $4, $5, $6, $7 FROM workspaces WHERE id = $1 AND status <> 'removed'
                     RETURNING a.id, a.workspace_id, a.activity_type, a.source_id, a.target_id, a.method, a.summary,
                               a.status, ", rfc3339!("a.created_at"), " AS created_at"
                ),
                &[
                    &entry.workspace_id,
                    &entry.activity_type,
                    &entry.source_id,
                    &entry.target_id,
                    &entry.method,
                    &entry.summary,
                    &entry.status,
                ],
            )
            .await?;
        Ok(row.as_ref().map(Entry::try_from).transpose()?)
    }

    /// A page of a workspace's activity, newest first, all of it older than `before`.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn activity(&self, id: Uuid, page: &Page) -> Result<Vec<Entry>, StoreError> {
        let rows = self
            .client()
            .await?
            .query(
                concat!(
                    "SELECT a.id, a.workspace_id, a.activity_type, a.source_id, a.target_id, a.method, a.summary,
                            a.status, ", rfc3339!("a.created_at"), " AS created_at
                     FROM activity_logs a
                     WHERE a.workspace_id = $1
                       AND ($2::text IS NULL OR a.activity_type = $2)
                       AND ($3::uuid IS NULL OR a.source_id = $3 OR a.target_id = $3)
                       AND ($4::timestamptz IS NULL OR a.created_at < $4 OR ($6 AND a.created_at = $4))
                     ORDER BY a.created_at DESC, a.id DESC LIMIT $5"
                ),
                &[
                    &id,
                    &page.activity_type,
                    &page.peer,
                    &page.before,
                    &page.limit,
                    &self.bugs.has(Bug::ActivityPageOverlap),
                ],
            )
            .await?;
        Ok(rows.iter().map(Entry::try_from).collect::<Result<_, _>>()?)
    }

    /// Whether any workspace has a live token: a fresh install has none.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn any_live_token(&self) -> Result<bool, StoreError> {
        let row = self
            .client()
            .await?
            .query_one(
                "SELECT EXISTS (SELECT 1 FROM workspace_auth_tokens WHERE revoked_at IS NULL)",
                &[],
            )
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Whether a caller may speak for a workspace: with one of its live tokens, or with anything while it has none.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn authorize(
        &self,
        id: Uuid,
        bearer: Option<TokenDigest>,
    ) -> Result<Result<(), Refusal>, StoreError> {
        authorize(&self.client().await?, id, bearer).await
    }

    /// Registers a workspace, and makes one of the given id if there is none: a runtime may outlive its row.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn register(&self, registration: &Registration) -> Result<Registered, StoreError> {
        let mut client = self.client().await?;
        // The row that the first statement writes stays locked until the end: two first registrations cannot both
        // get a token. Dropping the transaction undoes it.
        let transaction = client.transaction().await?;
        let row = transaction
            .query_opt(
                "INSERT INTO workspaces AS w
                     (id, name, tier, url, agent_card, delivery_mode, inbound_secret, status, last_heartbeat_at)
                 VALUES ($1, $1::uuid::text, 3, $2, $3, $4, $5, 'online', now())
                 ON CONFLICT (id) DO UPDATE
                 SET url = excluded.url, agent_card = excluded.agent_card, delivery_mode = excluded.delivery_mode,
                     inbound_secret = coalesce(w.inbound_secret, excluded.inbound_secret),
                     status = 'online', last_heartbeat_at = now()
                 WHERE w.status <> 'removed'
                 RETURNING w.inbound_secret",
                &[
                    &registration.id,
                    &registration.url,
                    &registration.agent_card,
                    &registration.delivery_mode.as_str(),
                    &registration.first_inbound_secret,
                ],
            )
            .await?;
        let Some(row) = row else {
            return Ok(Registered::Removed);
        };
        let inbound_secret = row.try_get(0)?;
        if let Err(refusal) = authorize(&transaction, registration.id, registration.bearer).await? {
            return Ok(Registered::Refused(refusal));
        }
        let added = transaction
            .execute(
                "INSERT INTO workspace_auth_tokens (workspace_id, sha256)
                 SELECT $1, $2 WHERE NOT EXISTS
                     (SELECT 1 FROM workspace_auth_tokens WHERE workspace_id = $1 AND revoked_at IS NULL)",
                &[&registration.id, &registration.first_token.as_bytes()],
            )
            .await?;
        transaction.commit().await?;
        Ok(Registered::Yes {
            first: added == 1,
            inbound_secret,
        })
    }

    /// Stores what a heartbeat reports. `false`: there is no such workspace.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn heartbeat(&self, beat: &Heartbeat) -> Result<bool, StoreError> {
        let updated = self
            .client()
            .await?
            .execute(
                "UPDATE workspaces
                 SET error_rate = $2, sample_error = $3, active_tasks = $4, uptime_seconds = $5,
                     status = 'online', last_heartbeat_at = now()
                 WHERE id = $1 AND status <> 'removed'",
                &[
                    &beat.id,
                    &beat.error_rate,
                    &beat.sample_error,
                    &beat.active_tasks,
                    &beat.uptime_seconds,
                ],
            )
            .await?;
        Ok(updated == 1)
    }
}

fn token_entries(rows: &[Row]) -> Result<Vec<TokenEntry>, StoreError> {
    rows.iter()
        .map(|row| {
            Ok(TokenEntry {
                id: row.try_get("id")?,
                created_at: row.try_get("created_at")?,
            })
        })
        .collect()
}

async fn authorize(
    client: &impl GenericClient,
    id: Uuid,
    bearer: Option<TokenDigest>,
) -> Result<Result<(), Refusal>, StoreError> {
    let row = client
        .query_one(
            "SELECT count(*) > 0, coalesce(bool_or(sha256 = $2), false)
             FROM workspace_auth_tokens WHERE workspace_id = $1 AND revoked_at IS NULL",
            &[&id, &bearer.as_ref().map(TokenDigest::as_bytes)],
        )
        .await?;
    let (has_tokens, matches): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    Ok(match (has_tokens, matches, bearer) {
        (false, _, _) | (true, true, _) => Ok(()),
        (true, false, None) => Err(Refusal::Missing),
        (true, false, Some(_)) => Err(Refusal::Invalid),
    })
}
