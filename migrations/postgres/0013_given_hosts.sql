-- Every host that a Deployment has been given beside its name, in the store or by a configuration. Never deleted: callers may
-- go on sending there after the Deployment is gone, so that whoever has it next must be somebody who may move hosts.
CREATE TABLE given_hosts (
    host text COLLATE "C" PRIMARY KEY
);
INSERT INTO given_hosts (host) SELECT DISTINCT jsonb_array_elements_text(spec -> 'hosts') FROM deployments;
