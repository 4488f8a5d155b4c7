-- What each tenant costs: how much of each kind is stored of it, and how much came and went. The owner writes both,
-- a while apart; no request does.

-- A tier that is not here has nothing of the tenant.
CREATE TABLE tenant_stored (
    tenant int NOT NULL REFERENCES tenant,
    tier text NOT NULL,
    bytes bigint NOT NULL,                            -- on disk, with indexes and its share of free space
    samples bigint,                                   -- null: the tier holds something else
    changed timestamptz NOT NULL,                     -- since when it is so
    PRIMARY KEY (tenant, tier)
);

-- Hours become days once they are old: the row of midnight then stands for its day.
CREATE TABLE tenant_traffic (
    tenant int NOT NULL REFERENCES tenant,
    hour timestamptz NOT NULL,
    channel text NOT NULL,
    calls bigint NOT NULL,
    received bigint NOT NULL,
    sent bigint NOT NULL,
    PRIMARY KEY (tenant, hour, channel)
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['tenant_stored', 'tenant_traffic'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I TO gemel_serve USING (tenant = current_tenant()) '
            'WITH CHECK (tenant = current_tenant())', t);
        EXECUTE format('CREATE POLICY operator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT ON %I TO gemel_serve', t);
    END LOOP;
END $$;
