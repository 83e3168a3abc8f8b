-- Whose requests have passed that will be refused once their Deployment is enforced (`enforce_from`). Only those of late are
-- kept, as many as the gateway says.
CREATE TABLE let_through (
    deployment TEXT    NOT NULL,
    reason     TEXT    NOT NULL,  -- code of the refusal
    token_id   TEXT    NOT NULL,  -- all zeros: no token was proven
    network    TEXT    NOT NULL,  -- the client's IPv4 address or IPv6 /64; '': a token was proven, or one of too many
    requests   INTEGER NOT NULL,
    first_ms   INTEGER NOT NULL,  -- milliseconds since 1970-01-01
    last_ms    INTEGER NOT NULL,
    PRIMARY KEY (deployment, reason, token_id, network)
) STRICT;
CREATE INDEX let_through_last_ms_idx ON let_through (last_ms);
