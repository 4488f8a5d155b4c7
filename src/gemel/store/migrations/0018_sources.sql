-- Sources: what is read into the twins, whether it should be, who reads it, and how it goes.

-- What is said of a source is text as it was given: secrets stand in it as references alone. How far it is read
-- is in source_position, under names that begin with 'source:NAME/'.
CREATE TABLE source (
    tenant int NOT NULL REFERENCES tenant,
    name text NOT NULL,
    kind text NOT NULL,
    definition text NOT NULL,
    mapping text,                                     -- of the file that the definition names, if it names one
    version int NOT NULL,                             -- counted on with every change of the definition
    wanted text NOT NULL CHECK (wanted IN ('started', 'stopped')),
    starts int NOT NULL DEFAULT 0,                    -- counted on with every start
    created timestamptz NOT NULL,
    changed timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('starting', 'running', 'waiting', 'stopped', 'failed')),
    since timestamptz NOT NULL,
    failures int NOT NULL DEFAULT 0,                  -- in a row
    next_try timestamptz,
    error_code text,
    error text,
    batches bigint NOT NULL DEFAULT 0,
    events bigint NOT NULL DEFAULT 0,
    accepted bigint NOT NULL DEFAULT 0,
    late bigint NOT NULL DEFAULT 0,
    duplicate bigint NOT NULL DEFAULT 0,
    corrected bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    last_batch timestamptz,
    holder text,                                      -- which process reads it, till the lease ends or is renewed
    lease_until timestamptz,
    PRIMARY KEY (tenant, name)
);
ALTER TABLE source ENABLE ROW LEVEL SECURITY;
ALTER TABLE source FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON source TO gemel_serve USING (tenant = current_tenant()) WITH CHECK (tenant = current_tenant());
CREATE POLICY operator ON source TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON source TO gemel_serve;
