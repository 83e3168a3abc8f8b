-- Everything the gateway keeps. Times are UTC in whole milliseconds; ids are made by the program, written with hyphens.
-- Text is compared byte by byte, SQLite's default.

-- Exactly one row. Every change adds 1 to it before anything else; whoever reads N here can read all changes up to N.
CREATE TABLE change_seq (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    seq      INTEGER NOT NULL
) STRICT;
INSERT INTO change_seq (only_row, seq) VALUES (1, 0);

-- At most one row. It exists once the first admin and the first token have been made.
CREATE TABLE organization (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    name       TEXT    NOT NULL CHECK (name <> ''),
    created_at INTEGER NOT NULL
) STRICT;

-- People who own tokens.
CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL CHECK (name <> ''),
    email         TEXT    NOT NULL CHECK (email <> ''),
    role          TEXT    NOT NULL CHECK (role IN ('admin', 'member')),
    password_hash TEXT    CHECK (password_hash LIKE '$%'),  -- PHC string; NULL: cannot sign in with a password
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER,                                  -- NULL: enabled; disables all their tokens otherwise
    changed_seq   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Tokens are revoked, never deleted: what the audit trail names must stay.
CREATE TABLE api_tokens (
    id           TEXT    NOT NULL PRIMARY KEY,
    owner_id     TEXT    NOT NULL REFERENCES users (id),
    name         TEXT    NOT NULL CHECK (name <> ''),
    description  TEXT    NOT NULL,
    search_text  TEXT    NOT NULL,  -- name, description and id in lower case
    scopes       TEXT    NOT NULL   -- JSON array, never empty: absence is not permission
        CHECK (json_type(scopes) = 'array' AND json_array_length(scopes) > 0),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,           -- NULL: does not expire
    revoked_at   INTEGER,           -- NULL: not revoked
    last_used_at INTEGER            -- NULL: never used; some seconds late
) STRICT;
CREATE UNIQUE INDEX api_tokens_live_name_key ON api_tokens (owner_id, name) WHERE revoked_at IS NULL;
CREATE INDEX api_tokens_newest_idx ON api_tokens (created_at, id);

-- One row per secret: a token has several while a rotation overlaps. `changed_seq` is that of the token's last change;
-- it stands here, with the order of the followers' cursor, so that their read is one walk along one index.
CREATE TABLE token_secrets (
    lookup_id   TEXT    NOT NULL PRIMARY KEY CHECK (length(lookup_id) = 12),
    token_id    TEXT    NOT NULL REFERENCES api_tokens (id),
    hash        TEXT    NOT NULL CHECK (hash LIKE '$%'),  -- PHC string: scheme and parameters inside
    retires_at  INTEGER,                                  -- NULL: no newer secret has replaced it
    changed_seq INTEGER NOT NULL
) STRICT;
CREATE INDEX token_secrets_token_id_idx ON token_secrets (token_id);
CREATE INDEX token_secrets_changed_idx  ON token_secrets (changed_seq, lookup_id);

-- A removed Deployment stays, so that followers learn of the removal, until its name is added again.
CREATE TABLE deployments (
    name        TEXT    NOT NULL PRIMARY KEY,
    spec        TEXT    NOT NULL CHECK (json_valid(spec)),
    created_at  INTEGER NOT NULL,
    removed_at  INTEGER,           -- NULL: live
    changed_seq INTEGER NOT NULL
) STRICT;

-- The custom hosts of live Deployments: a host leads to one Deployment only.
CREATE TABLE deployment_hosts (
    host            TEXT NOT NULL PRIMARY KEY,
    deployment_name TEXT NOT NULL REFERENCES deployments (name)
) STRICT;
CREATE INDEX deployment_hosts_name_idx ON deployment_hosts (deployment_name);

-- Names of Deployments that running gateways have from their file or flags.
CREATE TABLE declared_deployments (
    name        TEXT    NOT NULL PRIMARY KEY,
    declared_at INTEGER NOT NULL   -- last time a gateway said so
) STRICT;

-- Append only. Written in the transaction of the change that it describes.
CREATE TABLE audit_events (
    id         TEXT    NOT NULL PRIMARY KEY,  -- version 7: sorts by time
    at         INTEGER NOT NULL,
    action     TEXT    NOT NULL,              -- 'token.created', 'deployment.removed', …
    actor_kind TEXT    NOT NULL CHECK (actor_kind IN ('cli', 'system', 'user')),
    actor_id   TEXT,                          -- NULL: not a user; no reference, so that the trail outlives what it names
    target     TEXT    NOT NULL,
    detail     TEXT    NOT NULL CHECK (json_valid(detail))
) STRICT;
CREATE INDEX audit_events_at_idx ON audit_events (at);
