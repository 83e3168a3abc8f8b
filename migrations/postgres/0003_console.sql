-- What browsers add: people who have signed in, links that work once, browser sessions of Deployments, and figures for
-- the overview. Of every code and session id only the hash is here: BLAKE3 in hexadecimal.

-- People's browsers at the console.
CREATE TABLE console_sessions (
    id_hash    text        PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    address    text        NOT NULL,  -- where it was begun
    client     text        NOT NULL   -- what the browser called itself (User-Agent)
);
CREATE INDEX console_sessions_user_idx    ON console_sessions (user_id);
CREATE INDEX console_sessions_expires_idx ON console_sessions (expires_at);

-- Links by which a user sets their name and password, once.
CREATE TABLE invitations (
    code_hash  text        PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz          -- NULL: still good
);
CREATE INDEX invitations_user_idx ON invitations (user_id);

-- Who users are to a provider of single sign-on.
CREATE TABLE identities (
    issuer     text        NOT NULL,
    subject    text        NOT NULL,
    user_id    uuid        NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject)
);

-- From a console session to a Deployment's host. Deleted when used.
CREATE TABLE hand_overs (
    code_hash  text        PRIMARY KEY,
    nonce_hash text        NOT NULL,  -- of the browser that asked
    user_id    uuid        NOT NULL REFERENCES users (id),
    deployment text        NOT NULL,
    expires_at timestamptz NOT NULL
);

-- A browser session is a further secret of its token, good for one Deployment and in a cookie only. A release that does
-- not know this column takes it for none of its tokens: the text that was hashed begins otherwise.
ALTER TABLE token_secrets ADD COLUMN deployment text;  -- NULL: a secret of the token itself

-- What went through, by minute. Some seconds late, and kept for a little more than a day.
CREATE TABLE traffic (
    minute  bigint NOT NULL,  -- minutes since 1970-01-01
    metric  text   NOT NULL,  -- 'requests', 'latency.7', 'refused.token_expired', 'token'
    subject text   NOT NULL,  -- a Deployment, or a token's id; '' for neither
    total   bigint NOT NULL,
    PRIMARY KEY (minute, metric, subject)
);
