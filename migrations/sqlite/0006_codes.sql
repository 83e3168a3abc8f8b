-- The key with which codes in links and cookies carry a tag, so that invented ones are refused without asking the store.
CREATE TABLE code_key (
    id  INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    created_at INTEGER NOT NULL,  -- codes that are older have no tag
    key BLOB    NOT NULL  -- 32 bytes; it proves nothing by itself: what a code stands for is looked up all the same
) STRICT;
INSERT INTO code_key (id, created_at, key)
    VALUES (1, CAST(unixepoch('subsec') * 1000 AS INTEGER), randomblob(32));

-- A hand-over that somebody got for a token that they have pasted at the console, and not for an account.
ALTER TABLE hand_overs ADD COLUMN token_id TEXT REFERENCES api_tokens (id);  -- NULL: for an account

-- Signing in and out are the only events that callers make; old ones are forgotten.
CREATE INDEX audit_events_sign_ins_idx ON audit_events (at)
    WHERE action IN ('session.signed_in', 'session.signed_out', 'browser.signed_in', 'browser.signed_out');
