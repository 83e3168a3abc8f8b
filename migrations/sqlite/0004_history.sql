-- Which history a number of `change_seq` belongs to, and what a receipt has to know of replicas.

-- A random mark for each of the last changes. After a restore the numbers are passed again with other contents: then
-- the marks differ.
CREATE TABLE change_marks (
    seq  INTEGER PRIMARY KEY,
    mark TEXT NOT NULL
) STRICT;
INSERT INTO change_marks (seq, mark) SELECT seq, lower(hex(randomblob(16))) FROM change_seq;

-- In the database, so that the release before this one, which may open the file again, marks its changes, too.
CREATE TRIGGER mark_change AFTER UPDATE ON change_seq BEGIN
    INSERT INTO change_marks (seq, mark) VALUES (NEW.seq, lower(hex(randomblob(16))))
        ON CONFLICT (seq) DO UPDATE SET mark = excluded.mark;
    DELETE FROM change_marks WHERE seq <= NEW.seq - 10000;
END;

ALTER TABLE replicas ADD COLUMN applied_mark TEXT;  -- of `applied_seq`; NULL: not known, the number alone counts
-- For how long after its last beat a replica may decide by what it knew, in milliseconds; NULL: without limit
ALTER TABLE replicas ADD COLUMN holds_ms INTEGER;
-- Killed ones of earlier releases: nobody would ever remove them.
DELETE FROM replicas WHERE beat_at < CAST(unixepoch('subsec') * 1000 AS INTEGER) - 60000;
