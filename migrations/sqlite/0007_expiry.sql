-- What has ended stays so, also when the clock is set back: a gateway writes down that it has seen the end.
ALTER TABLE api_tokens ADD COLUMN expired_at INTEGER;  -- NULL: nobody has seen it expire; it may have, by the clock

CREATE INDEX api_tokens_expires_at_idx ON api_tokens (expires_at)
    WHERE expired_at IS NULL AND revoked_at IS NULL AND expires_at IS NOT NULL;
-- A secret whose end was seen ends in 1970.
CREATE INDEX token_secrets_retires_at_idx ON token_secrets (retires_at) WHERE retires_at > 0;
