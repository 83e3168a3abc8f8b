-- Which history a number of `change_seq` belongs to, and what a receipt has to know of replicas.

-- A random mark for each of the last changes. After a fail-over that lost commits, or a restore, the numbers are passed
-- again with other contents: then the marks differ.
CREATE TABLE change_marks (
    seq  bigint PRIMARY KEY,
    mark text   NOT NULL
);
INSERT INTO change_marks (seq, mark) SELECT seq, gen_random_uuid()::text FROM change_seq;

-- In the database, so that the release before this one, which runs on while this one migrates, marks its changes, too.
CREATE FUNCTION mark_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change_marks (seq, mark) VALUES (NEW.seq, gen_random_uuid()::text)
        ON CONFLICT (seq) DO UPDATE SET mark = excluded.mark;
    DELETE FROM change_marks WHERE seq <= NEW.seq - 10000;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_change AFTER UPDATE ON change_seq FOR EACH ROW EXECUTE FUNCTION mark_change();

ALTER TABLE replicas ADD COLUMN applied_mark text;  -- of `applied_seq`; NULL: not known, the number alone counts
-- For how long after its last beat a replica may decide by what it knew, in milliseconds; NULL: without limit
ALTER TABLE replicas ADD COLUMN holds_ms bigint;
-- Killed ones of earlier releases: nobody would ever remove them.
DELETE FROM replicas WHERE beat_at < now() - interval '1 minute';
