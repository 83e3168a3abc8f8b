-- What tokens have used of Deployments, by hour. Kept for `usage.retention`.
CREATE TABLE usage_hours (
    hour              INTEGER NOT NULL,  -- hours since 1970-01-01, UTC, in which the requests have ended
    token_id          TEXT    NOT NULL,  -- all zeros: a public Deployment, which asks for no token
    deployment        TEXT    NOT NULL,  -- '': refused before any Deployment was open to the token
    requests          INTEGER NOT NULL,  -- let through
    refused           INTEGER NOT NULL,  -- answered by the gateway in the service's place
    bytes_in          INTEGER NOT NULL,  -- of bodies
    bytes_out         INTEGER NOT NULL,
    upstream_us       INTEGER NOT NULL,  -- microseconds that upstreams were busy
    events            INTEGER NOT NULL,  -- of text/event-stream
    prompt_tokens     INTEGER NOT NULL,  -- of language models, as their services say
    completion_tokens INTEGER NOT NULL,
    PRIMARY KEY (hour, token_id, deployment)
) STRICT;

-- What has been added to it: a gateway that does not know whether the store has a batch writes it again, and it counts once.
CREATE TABLE usage_batches (
    id         TEXT    NOT NULL PRIMARY KEY,
    written_at INTEGER NOT NULL  -- milliseconds since 1970-01-01
) STRICT;
CREATE INDEX usage_batches_written_at_idx ON usage_batches (written_at);
