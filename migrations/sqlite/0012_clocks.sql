-- How far a gateway's clock is ahead of the database's, in milliseconds, as it was at its last beat: times of tokens are
-- judged by it. NULL: a gateway of an earlier release, which does not say.
ALTER TABLE replicas ADD COLUMN clock_ahead_ms INTEGER;
