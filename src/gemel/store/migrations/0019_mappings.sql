-- Mappings of payloads by name. What a version says is never changed: values name the mapping that made them.
CREATE TABLE mapping (
    tenant int NOT NULL REFERENCES tenant,
    name text COLLATE "C" NOT NULL,
    version int NOT NULL,
    digest text NOT NULL,                   -- of what it says, as in the label name@digest
    document text NOT NULL,                 -- as it was sent, comments and all
    created timestamptz NOT NULL,
    PRIMARY KEY (tenant, name, version)
);
ALTER TABLE mapping ENABLE ROW LEVEL SECURITY;
ALTER TABLE mapping FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON mapping TO gemel_serve USING (tenant = current_tenant())
    WITH CHECK (tenant = current_tenant());
CREATE POLICY operator ON mapping TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON mapping TO gemel_serve;
