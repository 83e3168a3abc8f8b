-- What tokens have used of Deployments, by hour. Kept for `usage.retention`.
CREATE TABLE usage_hours (
    hour              integer NOT NULL,  -- hours since 1970-01-01, UTC, in which the requests have ended
    token_id          uuid    NOT NULL,  -- all zeros: a public Deployment, which asks for no token
    deployment        text    NOT NULL,  -- '': refused before any Deployment was open to the token
    requests          bigint  NOT NULL,  -- let through
    refused           bigint  NOT NULL,  -- answered by the gateway in the service's place
    bytes_in          bigint  NOT NULL,  -- of bodies
    bytes_out         bigint  NOT NULL,
    upstream_us       bigint  NOT NULL,  -- microseconds that upstreams were busy
    events            bigint  NOT NULL,  -- of text/event-stream
    prompt_tokens     bigint  NOT NULL,  -- of language models, as their services say
    completion_tokens bigint  NOT NULL,
    PRIMARY KEY (hour, token_id, deployment)
);

-- What has been added to it: a gateway that does not know whether the store has a batch writes it again, and it counts once.
CREATE TABLE usage_batches (
    id         uuid        PRIMARY KEY,
    written_at timestamptz NOT NULL
);
CREATE INDEX usage_batches_written_at_idx ON usage_batches (written_at);
