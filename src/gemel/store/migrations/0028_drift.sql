-- What producers promised, source by source and version by version, and where what comes has drifted from it.
ALTER TABLE source
    ADD COLUMN contract text,                         -- of the file that the definition names, if it names one
    ADD COLUMN contract_label text;                   -- name and version, where the definition has a contract

-- What a version says is never changed.
CREATE TABLE source_contract (
    tenant int NOT NULL REFERENCES tenant,
    source text NOT NULL,
    name text NOT NULL,
    major int NOT NULL,
    minor int NOT NULL,
    document text NOT NULL,
    created timestamptz NOT NULL,
    PRIMARY KEY (tenant, source, name, major, minor)
);

-- One row for each way in which a source drifts: a rule of its contract and a field, or a thing that is silent.
CREATE TABLE source_drift (
    tenant int NOT NULL REFERENCES tenant,
    source text NOT NULL,
    finding text COLLATE "C" NOT NULL,
    field text COLLATE "C" NOT NULL,                  -- '' for the whole sample
    thing text COLLATE "C" NOT NULL,                  -- who is silent; '' for every other finding
    contract text NOT NULL,                           -- name and version of the contract that it drifted from last
    policy text NOT NULL CHECK (policy IN ('accept', 'quarantine', 'stop')),
    lasting boolean NOT NULL,                         -- a silence that has not ended
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    count bigint NOT NULL,
    example text NOT NULL,
    PRIMARY KEY (tenant, source, finding, field, thing)
);

-- When each thing of a source was last heard of, as JSON: { thing: µs since 1970 }.
CREATE TABLE source_heard (
    tenant int NOT NULL REFERENCES tenant,
    source text NOT NULL,
    things text NOT NULL,
    PRIMARY KEY (tenant, source)
);

DO $$
DECLARE
    each text;
BEGIN
    FOREACH each IN ARRAY ARRAY['source_contract', 'source_drift', 'source_heard'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', each);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', each);
        EXECUTE format('CREATE POLICY own ON %I TO gemel_serve USING (tenant = current_tenant()) '
                       'WITH CHECK (tenant = current_tenant())', each);
        EXECUTE format('CREATE POLICY operator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', each);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO gemel_serve', each);
    END LOOP;
END
$$;
