-- What is over is looked for within changes, for which all others wait: not through everything there is.
CREATE INDEX api_tokens_owner_idx ON api_tokens (owner_id);
CREATE INDEX token_secrets_sessions_idx ON token_secrets (retires_at) WHERE deployment IS NOT NULL;
CREATE INDEX hand_overs_expires_idx ON hand_overs (expires_at);
CREATE INDEX hand_overs_user_idx ON hand_overs (user_id);
CREATE INDEX invitations_expires_idx ON invitations (expires_at);
CREATE INDEX logins_approved_idx ON logins (approved_by);
