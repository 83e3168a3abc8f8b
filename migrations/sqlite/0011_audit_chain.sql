-- Each event of the audit trail is chained to the one before: one that is removed, altered or moved is found.
ALTER TABLE audit_events ADD COLUMN chain  TEXT;     -- 'changes' or 'sign_ins'; NULL: written by a release before, in no chain
ALTER TABLE audit_events ADD COLUMN number INTEGER;  -- from 1 on, without gaps; NULL as above
ALTER TABLE audit_events ADD COLUMN hash   TEXT;     -- BLAKE3 of the event and of the hash before; NULL as above
CREATE UNIQUE INDEX audit_events_chain_idx ON audit_events (chain, number);
-- For those that are in no chain.
CREATE INDEX audit_events_unchained_idx ON audit_events (at) WHERE number IS NULL;

-- The ends of each chain.
CREATE TABLE audit_chains (
    chain          TEXT    NOT NULL PRIMARY KEY,
    number         INTEGER NOT NULL,  -- of the last event; 0: there was none
    hash           TEXT    NOT NULL,  -- of the last event
    forgotten      INTEGER NOT NULL,  -- of the last event that was deleted because it was old; 0: none was
    forgotten_hash TEXT    NOT NULL,
    forgotten_at   INTEGER            -- when that event was; NULL: none was
) STRICT;
INSERT INTO audit_chains (chain, number, hash, forgotten, forgotten_hash)
    VALUES ('changes', 0, '', 0, ''), ('sign_ins', 0, '', 0, '');
