-- The key with which codes in links and cookies carry a tag, so that invented ones are refused without asking the store.
CREATE TABLE code_key (
    id  integer NOT NULL PRIMARY KEY CHECK (id = 1),
    created_at timestamptz NOT NULL,  -- codes that are older have no tag
    key bytea   NOT NULL  -- 32 bytes; it proves nothing by itself: what a code stands for is looked up all the same
);
INSERT INTO code_key (id, created_at, key)
    VALUES (1, now(), decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- A hand-over that somebody got for a token that they have pasted at the console, and not for an account.
ALTER TABLE hand_overs ADD COLUMN token_id uuid REFERENCES api_tokens (id);  -- NULL: for an account

-- Signing in and out are the only events that callers make; old ones are forgotten.
CREATE INDEX audit_events_sign_ins_idx ON audit_events (at)
    WHERE action IN ('session.signed_in', 'session.signed_out', 'browser.signed_in', 'browser.signed_out');
