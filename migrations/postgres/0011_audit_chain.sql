-- Each event of the audit trail is chained to the one before: one that is removed, altered or moved is found.
ALTER TABLE audit_events ADD COLUMN chain  text;    -- 'changes' or 'sign_ins'; NULL: written by a release before, in no chain
ALTER TABLE audit_events ADD COLUMN number bigint;  -- from 1 on, without gaps; NULL as above
ALTER TABLE audit_events ADD COLUMN hash   text;    -- BLAKE3 of the event and of the hash before; NULL as above
CREATE UNIQUE INDEX audit_events_chain_idx ON audit_events (chain, number);
-- For those that are in no chain.
CREATE INDEX audit_events_unchained_idx ON audit_events (at) WHERE number IS NULL;

-- The ends of each chain.
CREATE TABLE audit_chains (
    chain          text        COLLATE "C" PRIMARY KEY,
    number         bigint      NOT NULL,  -- of the last event; 0: there was none
    hash           text        NOT NULL,  -- of the last event
    forgotten      bigint      NOT NULL,  -- of the last event that was deleted because it was old; 0: none was
    forgotten_hash text        NOT NULL,
    forgotten_at   timestamptz            -- when that event was; NULL: none was
);
INSERT INTO audit_chains (chain, number, hash, forgotten, forgotten_hash)
    VALUES ('changes', 0, '', 0, ''), ('sign_ins', 0, '', 0, '');
