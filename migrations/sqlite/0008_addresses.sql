-- Where the gateway, its Deployments and its console are reached, as JSON: for commands, which may have another
-- configuration. NULL: a gateway of an earlier release, which does not say.
ALTER TABLE replicas ADD COLUMN addresses TEXT;
