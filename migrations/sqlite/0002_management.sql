-- What the management API adds: browser logins, replicas, usage, requests that are done once.

-- Logins of `bentoml cloud login` in a browser. Kept for a day after their end, so that who still asks is told.
CREATE TABLE logins (
    code_hash   TEXT    NOT NULL PRIMARY KEY,   -- BLAKE3 of the code in hexadecimal; the code itself is nowhere
    asked_from  TEXT    NOT NULL,               -- address of who asked for the code
    asked_with  TEXT    NOT NULL,               -- what it called itself (User-Agent)
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    decided_at  INTEGER,                        -- NULL: nobody has approved or refused it
    approved_by TEXT    REFERENCES users (id),  -- NULL: undecided or refused
    scopes      TEXT    CHECK (json_valid(scopes)),  -- JSON array that was granted; NULL as above
    claimed_at  INTEGER                         -- NULL: its token has not been made
) STRICT;
CREATE INDEX logins_expires_idx ON logins (expires_at);

-- Running gateways. One that is killed stays until another one tidies up; it counts as long as its beat is fresh.
CREATE TABLE replicas (
    id          TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,   -- for people: host and process
    applied_seq INTEGER NOT NULL,   -- what it decides by holds every change up to this one
    beat_at     INTEGER NOT NULL    -- by the database's clock
) STRICT;

-- Requests that were let through, by token and UTC day. Some seconds late.
CREATE TABLE token_usage (
    token_id TEXT    NOT NULL REFERENCES api_tokens (id),
    day      INTEGER NOT NULL,      -- days since 1970-01-01
    requests INTEGER NOT NULL,
    PRIMARY KEY (token_id, day)
) STRICT, WITHOUT ROWID;

-- A request that the caller has named (Idempotency-Key) is done once.
ALTER TABLE audit_events ADD COLUMN request_key  TEXT;  -- NULL: not named
ALTER TABLE audit_events ADD COLUMN request_hash TEXT;  -- BLAKE3 of what was asked; NULL as above
CREATE UNIQUE INDEX audit_events_request_key ON audit_events (actor_id, request_key) WHERE request_key IS NOT NULL;
