-- What browsers add: people who have signed in, links that work once, browser sessions of Deployments, and figures for
-- the overview. Of every code and session id only the hash is here: BLAKE3 in hexadecimal.

-- People's browsers at the console.
CREATE TABLE console_sessions (
    id_hash    TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    address    TEXT    NOT NULL,  -- where it was begun
    client     TEXT    NOT NULL   -- what the browser called itself (User-Agent)
) STRICT;
CREATE INDEX console_sessions_user_idx    ON console_sessions (user_id);
CREATE INDEX console_sessions_expires_idx ON console_sessions (expires_at);

-- Links by which a user sets their name and password, once.
CREATE TABLE invitations (
    code_hash  TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER             -- NULL: still good
) STRICT;
CREATE INDEX invitations_user_idx ON invitations (user_id);

-- Who users are to a provider of single sign-on.
CREATE TABLE identities (
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    user_id    TEXT    NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT;

-- From a console session to a Deployment's host. Deleted when used.
CREATE TABLE hand_overs (
    code_hash  TEXT    NOT NULL PRIMARY KEY,
    nonce_hash TEXT    NOT NULL,  -- of the browser that asked
    user_id    TEXT    NOT NULL REFERENCES users (id),
    deployment TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- A browser session is a further secret of its token, good for one Deployment and in a cookie only. A release that does
-- not know this column takes it for none of its tokens: the text that was hashed begins otherwise.
ALTER TABLE token_secrets ADD COLUMN deployment TEXT;  -- NULL: a secret of the token itself

-- What went through, by minute. Some seconds late, and kept for a little more than a day.
CREATE TABLE traffic (
    minute  INTEGER NOT NULL,      -- minutes since 1970-01-01
    metric  TEXT    NOT NULL,      -- 'requests', 'latency.7', 'refused.token_expired', 'token'
    subject TEXT    NOT NULL,      -- a Deployment, or a token's id; '' for neither
    total   INTEGER NOT NULL,
    PRIMARY KEY (minute, metric, subject)
) STRICT, WITHOUT ROWID;
