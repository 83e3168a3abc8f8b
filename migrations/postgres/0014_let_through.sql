-- Whose requests have passed that will be refused once their Deployment is enforced (`enforce_from`). Only those of late are
-- kept, as many as the gateway says.
CREATE TABLE let_through (
    deployment text   NOT NULL,
    reason     text   NOT NULL,  -- code of the refusal
    token_id   uuid   NOT NULL,  -- all zeros: no token was proven
    network    text   NOT NULL,  -- the client's IPv4 address or IPv6 /64; '': a token was proven, or one of too many
    requests   bigint NOT NULL,
    first_ms   bigint NOT NULL,  -- milliseconds since 1970-01-01
    last_ms    bigint NOT NULL,
    PRIMARY KEY (deployment, reason, token_id, network)
);
CREATE INDEX let_through_last_ms_idx ON let_through (last_ms);
