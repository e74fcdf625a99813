CREATE TABLE IF NOT EXISTS workspaces (
    id                uuid PRIMARY KEY,
    name              text NOT NULL,
    role              text,
    tier              integer NOT NULL,
    status            text NOT NULL DEFAULT 'provisioning' CHECK (status IN ('provisioning', 'online', 'failed', 'removed')),
    parent_id         uuid REFERENCES workspaces (id),
    url               text,
    agent_card        jsonb,
    delivery_mode     text NOT NULL DEFAULT 'push' CHECK (delivery_mode IN ('push', 'poll')),
    inbound_secret    text,
    instance_id       text,
    provision_error   text,
    active_tasks      integer NOT NULL DEFAULT 0,
    error_rate        double precision NOT NULL DEFAULT 0,
    sample_error      text,
    uptime_seconds    bigint NOT NULL DEFAULT 0,
    last_heartbeat_at timestamptz,
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS workspaces_parent ON workspaces (parent_id);

CREATE TABLE IF NOT EXISTS workspace_auth_tokens (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id uuid NOT NULL REFERENCES workspaces (id),
    sha256       bytea NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    revoked_at   timestamptz
);

CREATE INDEX IF NOT EXISTS workspace_auth_tokens_workspace ON workspace_auth_tokens (workspace_id);

CREATE TABLE IF NOT EXISTS org_auth_tokens (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sha256     bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE TABLE IF NOT EXISTS activity_logs (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    workspace_id  uuid NOT NULL REFERENCES workspaces (id),
    activity_type text NOT NULL,
    source_id     uuid,
    target_id     uuid,
    method        text,
    summary       text,
    status        text NOT NULL DEFAULT 'ok',
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX IF NOT EXISTS activity_logs_page ON activity_logs (workspace_id, created_at DESC, id DESC);
