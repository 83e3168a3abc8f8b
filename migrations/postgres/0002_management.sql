-- What the management API adds: browser logins, replicas, usage, requests that are done once.

-- Logins of `bentoml cloud login` in a browser. Kept for a day after their end, so that who still asks is told.
CREATE TABLE logins (
    code_hash   text        PRIMARY KEY,            -- BLAKE3 of the code in hexadecimal; the code itself is nowhere
    asked_from  text        NOT NULL,               -- address of who asked for the code
    asked_with  text        NOT NULL,               -- what it called itself (User-Agent)
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    decided_at  timestamptz,                        -- NULL: nobody has approved or refused it
    approved_by uuid        REFERENCES users (id),  -- NULL: undecided or refused
    scopes      text[],                             -- what was granted; NULL as above
    claimed_at  timestamptz                         -- NULL: its token has not been made
);
CREATE INDEX logins_expires_idx ON logins (expires_at);

-- Running gateways. One that is killed stays until another one tidies up; it counts as long as its beat is fresh.
CREATE TABLE replicas (
    id          uuid        PRIMARY KEY,
    name        text        NOT NULL,   -- for people: host and process
    applied_seq bigint      NOT NULL,   -- what it decides by holds every change up to this one
    beat_at     timestamptz NOT NULL    -- by the database's clock
);

-- Requests that were let through, by token and UTC day. Some seconds late.
CREATE TABLE token_usage (
    token_id uuid    NOT NULL REFERENCES api_tokens (id),
    day      integer NOT NULL,          -- days since 1970-01-01
    requests bigint  NOT NULL,
    PRIMARY KEY (token_id, day)
);

-- A request that the caller has named (Idempotency-Key) is done once.
ALTER TABLE audit_events ADD COLUMN request_key  text;  -- NULL: not named
ALTER TABLE audit_events ADD COLUMN request_hash text;  -- BLAKE3 of what was asked; NULL as above
CREATE UNIQUE INDEX audit_events_request_key ON audit_events (actor_id, request_key) WHERE request_key IS NOT NULL;
