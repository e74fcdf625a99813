//! Games, admins, challenges, notifications and mail in PostgreSQL.

use std::time::Duration;

use deadpool_postgres::{GenericClient, Manager, Object, Pool, PoolError, Runtime};
use serde::Serialize;
use tokio_postgres::{NoTls, Row};
use uuid::Uuid;

use super::config::{BootstrapAdmin, Throttle};
use super::mail::{Address, Mail};
use crate::auth::TokenDigest;
use crate::http::chain;

const SCHEMA: &str = include_str!("schema.sql");
/// Backends that boot at the same time make the schema one after the other.
const SCHEMA_LOCK: i64 = 0x6761_6c61;
const POOL_SIZE: usize = 8;
const TIMEOUT: Duration = Duration::from_secs(2);
const BOOT_ATTEMPTS: u32 = 300;
const BOOT_PAUSE: Duration = Duration::from_millis(100);
/// A line of waiting is logged for every this many attempts.
const BOOT_LOG: u32 = 20;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("BACKEND_POSTGRES_DSN: {0}")]
    Dsn(tokio_postgres::Error),
    #[error("the connection pool cannot be made: {0}")]
    Pool(#[from] deadpool_postgres::BuildError),
    #[error("PostgreSQL cannot be reached: {}", chain(.0))]
    Connect(#[from] PoolError),
    #[error("PostgreSQL refused a statement: {}", chain(.0))]
    Statement(#[from] tokio_postgres::Error),
}

/// A game as the API shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Game {
    pub id: Uuid,
    pub name: String,
    /// `starting`, `running`, `finished` or `cancelled`; the last two are for good.
    pub status: String,
    /// Why it was cancelled.
    pub reason: Option<String>,
    pub container_id: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

const GAME: &str = "id, name, status, reason, container_id, \
     to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS created_at, \
     to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS updated_at";

impl TryFrom<&Row> for Game {
    type Error = tokio_postgres::Error;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            status: row.try_get("status")?,
            reason: row.try_get("reason")?,
            container_id: row.try_get("container_id")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}

fn games(rows: &[Row]) -> Result<Vec<Game>, StoreError> {
    Ok(rows.iter().map(Game::try_from).collect::<Result<_, _>>()?)
}

/// What becomes of a request for a challenge.
#[derive(Debug, PartialEq, Eq)]
pub enum Challenged {
    Yes,
    /// Too many of this address; the next is allowed after this many seconds.
    Throttled {
        retry_after: u64,
    },
}

/// What an admin is told.
#[derive(Debug)]
pub struct Notification {
    pub kind: String,
    pub subject: String,
    pub body: String,
}

#[derive(Debug, Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// Connects, makes the schema and the first admin; PostgreSQL has half a minute to come up.
    ///
    /// # Errors
    /// The last attempt's error.
    pub async fn boot(dsn: &str, admin: &BootstrapAdmin) -> Result<Self, StoreError> {
        let store = Self::open(dsn)?;
        for attempt in 1.. {
            match store.migrate(admin).await {
                Ok(()) => break,
                Err(error) if attempt < BOOT_ATTEMPTS => {
                    if attempt % BOOT_LOG == 0 {
                        tracing::warn!(%error, attempt, of = BOOT_ATTEMPTS, "waiting for PostgreSQL");
                    }
                    tokio::time::sleep(BOOT_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(store)
    }

    fn open(dsn: &str) -> Result<Self, StoreError> {
        let mut config: tokio_postgres::Config = dsn.parse().map_err(StoreError::Dsn)?;
        config.connect_timeout(TIMEOUT);
        let pool = Pool::builder(Manager::new(config, NoTls))
            .max_size(POOL_SIZE)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(TIMEOUT))
            .create_timeout(Some(TIMEOUT))
            .recycle_timeout(Some(TIMEOUT))
            .build()?;
        Ok(Self { pool })
    }

    async fn client(&self) -> Result<Object, StoreError> {
        Ok(self.pool.get().await?)
    }

    async fn migrate(&self, admin: &BootstrapAdmin) -> Result<(), StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        transaction
            .execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK])
            .await?;
        transaction.batch_execute(SCHEMA).await?;
        transaction
            .execute(
                "INSERT INTO admins (name, password_hash) VALUES ($1, crypt($2, gen_salt('bf')))
                 ON CONFLICT (name) DO NOTHING",
                &[&admin.name, &admin.password],
            )
            .await?;
        Ok(transaction.commit().await?)
    }

    /// # Errors
    /// PostgreSQL does not answer, or does not have the schema.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.client()
            .await?
            .query_opt("SELECT 1 FROM games LIMIT 1", &[])
            .await?;
        Ok(())
    }

    /// Whether there is an admin of this name and password.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn is_admin(&self, name: &str, password: &str) -> Result<bool, StoreError> {
        let row = self
            .client()
            .await?
            .query_opt(
                "SELECT 1 FROM admins WHERE name = $1 AND password_hash = crypt($2, password_hash)",
                &[&name, &password],
            )
            .await?;
        Ok(row.is_some())
    }

    /// Every game, oldest first.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn games(&self) -> Result<Vec<Game>, StoreError> {
        let statement = format!("SELECT {GAME} FROM games ORDER BY created_at, id");
        games(&self.client().await?.query(&statement, &[]).await?)
    }

    /// The games in one of these states.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn games_that_are(&self, status: &[&str]) -> Result<Vec<Game>, StoreError> {
        let statement =
            format!("SELECT {GAME} FROM games WHERE status = ANY($1) ORDER BY created_at, id");
        games(&self.client().await?.query(&statement, &[&status]).await?)
    }

    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn game(&self, id: Uuid) -> Result<Option<Game>, StoreError> {
        let statement = format!("SELECT {GAME} FROM games WHERE id = $1");
        let row = self.client().await?.query_opt(&statement, &[&id]).await?;
        Ok(row.as_ref().map(Game::try_from).transpose()?)
    }

    /// Stores a game that is starting.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn add_game(&self, name: &str) -> Result<Uuid, StoreError> {
        let id = Uuid::new_v4();
        self.client()
            .await?
            .execute(
                "INSERT INTO games (id, name) VALUES ($1, $2)",
                &[&id, &name],
            )
            .await?;
        Ok(id)
    }

    /// Notes the container before it runs: a backend that dies in between leaves a row that says what to look for.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn set_container(&self, id: Uuid, container: &str) -> Result<(), StoreError> {
        self.client()
            .await?
            .execute(
                "UPDATE games SET container_id = $2, updated_at = now() WHERE id = $1",
                &[&id, &container],
            )
            .await?;
        Ok(())
    }

    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn set_running(&self, id: Uuid) -> Result<bool, StoreError> {
        self.advance(id, &["starting"], "running").await
    }

    /// `false`: the game is over, or there is none.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn finish(&self, id: Uuid) -> Result<bool, StoreError> {
        self.advance(id, &["starting", "running"], "finished").await
    }

    async fn advance(&self, id: Uuid, from: &[&str], to: &str) -> Result<bool, StoreError> {
        let updated = self
            .client()
            .await?
            .execute(
                "UPDATE games SET status = $3, updated_at = now() WHERE id = $1 AND status = ANY($2)",
                &[&id, &from, &to],
            )
            .await?;
        Ok(updated == 1)
    }

    /// Cancels a game for good and tells the admin, both or neither. `false`: it was over already.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn cancel(&self, game: &Game, reason: &str) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let updated = transaction
            .execute(
                "UPDATE games SET status = 'cancelled', reason = $2, updated_at = now()
                 WHERE id = $1 AND status IN ('starting', 'running')",
                &[&game.id, &reason],
            )
            .await?;
        if updated == 1 {
            let subject = format!("Game {} was cancelled", game.name);
            let body = format!("Game {} ({}) was cancelled: {reason}.", game.name, game.id);
            transaction
                .execute(
                    "INSERT INTO notifications (kind, subject, body) VALUES ('game.cancelled', $1, $2)",
                    &[&subject, &body],
                )
                .await?;
        }
        transaction.commit().await?;
        Ok(updated == 1)
    }

    /// Stores a challenge with its mail, unless this address asked for too many.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn challenge(
        &self,
        email: &Address,
        code: TokenDigest,
        country: Option<&str>,
        mail: &Mail,
        throttle: Throttle,
    ) -> Result<Challenged, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        // One request of an address at a time: two at once must not both be the last allowed one.
        transaction
            .execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))",
                &[&email.as_str()],
            )
            .await?;
        let row = transaction
            .query_one(
                "SELECT count(*),
                        coalesce(extract(epoch FROM min(created_at) - now())::double precision + $2, 0)
                 FROM auth_challenges
                 WHERE email = $1 AND created_at > now() - make_interval(secs => $2)",
                &[&email.as_str(), &throttle.window.as_secs_f64()],
            )
            .await?;
        let (asked, seconds): (i64, f64) = (row.try_get(0)?, row.try_get(1)?);
        if asked >= i64::from(throttle.max) {
            // A float that does not fit saturates.
            let retry_after = seconds.ceil().max(1.0) as u64;
            return Ok(Challenged::Throttled { retry_after });
        }
        transaction
            .execute(
                "INSERT INTO auth_challenges (id, email, code_sha256, country) VALUES ($1, $2, $3, $4)",
                &[&Uuid::new_v4(), &email.as_str(), &code.as_bytes(), &country],
            )
            .await?;
        add_mail(&transaction, mail).await?;
        transaction.commit().await?;
        Ok(Challenged::Yes)
    }

    /// Makes a mail to `recipient` of each notification that has none yet, and gives the notifications.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn route_notifications(
        &self,
        recipient: &Address,
    ) -> Result<Vec<Notification>, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let rows = transaction
            .query(
                "UPDATE notifications SET routed_at = now() WHERE id IN
                     (SELECT id FROM notifications WHERE routed_at IS NULL ORDER BY id FOR UPDATE SKIP LOCKED)
                 RETURNING kind, subject, body",
                &[],
            )
            .await?;
        let mut notifications = Vec::with_capacity(rows.len());
        for row in &rows {
            let notification = Notification {
                kind: row.try_get(0)?,
                subject: row.try_get(1)?,
                body: row.try_get(2)?,
            };
            let mail = Mail {
                to: recipient.clone(),
                subject: notification.subject.clone(),
                body: notification.body.clone(),
            };
            add_mail(&transaction, &mail).await?;
            notifications.push(notification);
        }
        transaction.commit().await?;
        Ok(notifications)
    }

    /// The oldest mail that is due, and the moment as mail headers write it. It is not due again for a minute, so that
    /// nobody else sends it at the same time.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn take_mail(&self) -> Result<Option<TakenMail>, StoreError> {
        let row = self
            .client()
            .await?
            .query_opt(
                "UPDATE mails SET attempts = attempts + 1, next_attempt_at = now() + interval '1 minute'
                 WHERE id = (SELECT id FROM mails WHERE status = 'pending' AND next_attempt_at <= now()
                             ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
                 RETURNING id, recipient, subject, body, attempts,
                           to_char(now() AT TIME ZONE 'UTC', 'Dy, DD Mon YYYY HH24:MI:SS +0000')",
                &[],
            )
            .await?;
        row.map(|row| {
            Ok(TakenMail {
                id: row.try_get(0)?,
                recipient: row.try_get(1)?,
                subject: row.try_get(2)?,
                body: row.try_get(3)?,
                attempts: row.try_get(4)?,
                date: row.try_get(5)?,
            })
        })
        .transpose()
    }

    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn mail_was_sent(&self, id: i64) -> Result<(), StoreError> {
        let statement = "UPDATE mails SET status = 'sent', last_error = NULL WHERE id = $1";
        self.client().await?.execute(statement, &[&id]).await?;
        Ok(())
    }

    /// Notes a failed delivery. `retry_in`: none gives up.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn mail_failed(
        &self,
        id: i64,
        error: &str,
        retry_in: Option<Duration>,
    ) -> Result<(), StoreError> {
        self.client()
            .await?
            .execute(
                "UPDATE mails SET last_error = $2,
                        status = CASE WHEN $3::double precision IS NULL THEN 'dead' ELSE 'pending' END,
                        next_attempt_at = now() + make_interval(secs => coalesce($3, 0))
                 WHERE id = $1",
                &[&id, &error, &retry_in.map(|pause| pause.as_secs_f64())],
            )
            .await?;
        Ok(())
    }
}

/// A mail with what it takes to send it.
#[derive(Debug)]
pub struct TakenMail {
    pub id: i64,
    pub recipient: String,
    pub subject: String,
    pub body: String,
    /// This one included.
    pub attempts: i32,
    pub date: String,
}

async fn add_mail(client: &impl GenericClient, mail: &Mail) -> Result<(), StoreError> {
    client
        .execute(
            "INSERT INTO mails (recipient, subject, body) VALUES ($1, $2, $3)",
            &[&mail.to.as_str(), &mail.subject, &mail.body],
        )
        .await?;
    Ok(())
}
