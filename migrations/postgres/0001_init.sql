-- Everything the gateway keeps. Times are UTC in whole milliseconds; ids are made by the program.
-- Text that is compared byte by byte (cursors, names, sorted lists) is COLLATE "C", so that no locale reorders it.

-- Exactly one row. Every change adds 1 to it before anything else, so its row lock puts the writers in an order, and
-- whoever reads N here can read all changes up to N.
CREATE TABLE change_seq (
    only_row boolean PRIMARY KEY CHECK (only_row),
    seq      bigint  NOT NULL
);
INSERT INTO change_seq (only_row, seq) VALUES (true, 0);

-- At most one row. It exists once the first admin and the first token have been made.
CREATE TABLE organization (
    only_row   boolean     PRIMARY KEY CHECK (only_row),
    name       text        NOT NULL CHECK (name <> ''),
    created_at timestamptz NOT NULL
);

-- People who own tokens.
CREATE TABLE users (
    id            uuid        PRIMARY KEY,
    name          text        NOT NULL CHECK (name <> ''),
    email         text        NOT NULL CHECK (email <> ''),
    role          text        NOT NULL CHECK (role IN ('admin', 'member')),
    password_hash text        CHECK (password_hash LIKE '$%'),  -- PHC string; NULL: cannot sign in with a password
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz,                                  -- NULL: enabled; disables all their tokens otherwise
    changed_seq   bigint      NOT NULL
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Tokens are revoked, never deleted: what the audit trail names must stay.
CREATE TABLE api_tokens (
    id           uuid        PRIMARY KEY,
    owner_id     uuid        NOT NULL REFERENCES users (id),
    name         text        NOT NULL CHECK (name <> ''),
    description  text        NOT NULL,
    search_text  text        NOT NULL,                                  -- name, description and id in lower case
    scopes       text[]      NOT NULL CHECK (cardinality(scopes) > 0),  -- never empty: absence is not permission
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz                                            -- NULL: does not expire, not 'infinity'
        CHECK (expires_at < timestamptz '10000-01-01 00:00:00Z'),
    revoked_at   timestamptz,                                           -- NULL: not revoked
    last_used_at timestamptz                                            -- NULL: never used; some seconds late
);
CREATE UNIQUE INDEX api_tokens_live_name_key ON api_tokens (owner_id, name) WHERE revoked_at IS NULL;
CREATE INDEX api_tokens_newest_idx ON api_tokens (created_at, id);

-- One row per secret: a token has several while a rotation overlaps. `changed_seq` is that of the token's last change;
-- it stands here, with the order of the followers' cursor, so that their read is one walk along one index.
CREATE TABLE token_secrets (
    lookup_id   text        COLLATE "C" PRIMARY KEY CHECK (length(lookup_id) = 12),
    token_id    uuid        NOT NULL REFERENCES api_tokens (id),
    hash        text        NOT NULL CHECK (hash LIKE '$%'),  -- PHC string: scheme and parameters inside
    retires_at  timestamptz,                                  -- NULL: no newer secret has replaced it
    changed_seq bigint      NOT NULL
);
CREATE INDEX token_secrets_token_id_idx ON token_secrets (token_id);
CREATE INDEX token_secrets_changed_idx  ON token_secrets (changed_seq, lookup_id);

-- A removed Deployment stays, so that followers learn of the removal, until its name is added again.
CREATE TABLE deployments (
    name        text        COLLATE "C" PRIMARY KEY,
    spec        jsonb       NOT NULL,
    created_at  timestamptz NOT NULL,
    removed_at  timestamptz,           -- NULL: live
    changed_seq bigint      NOT NULL
);

-- The custom hosts of live Deployments: a host leads to one Deployment only.
CREATE TABLE deployment_hosts (
    host            text COLLATE "C" PRIMARY KEY,
    deployment_name text COLLATE "C" NOT NULL REFERENCES deployments (name)
);
CREATE INDEX deployment_hosts_name_idx ON deployment_hosts (deployment_name);

-- Names of Deployments that running gateways have from their file or flags.
CREATE TABLE declared_deployments (
    name        text        COLLATE "C" PRIMARY KEY,
    declared_at timestamptz NOT NULL   -- last time a gateway said so
);

-- Append only. Written in the transaction of the change that it describes.
CREATE TABLE audit_events (
    id         uuid        PRIMARY KEY,  -- version 7: sorts by time
    at         timestamptz NOT NULL,
    action     text        NOT NULL,     -- 'token.created', 'deployment.removed', …
    actor_kind text        NOT NULL CHECK (actor_kind IN ('cli', 'system', 'user')),
    actor_id   uuid,                     -- NULL: not a user; no reference, so that the trail outlives what it names
    target     text        NOT NULL,
    detail     jsonb       NOT NULL
);
CREATE INDEX audit_events_at_idx ON audit_events (at);
