-- Cold weeks: of each, a file outside of the database has the samples of one tenant; their bounds stay rows of sample.

-- All frozen weeks end by then. Null: there are none.
ALTER TABLE tenant_head ADD COLUMN frozen timestamptz;

-- After how many days a tenant's weeks are frozen. Null: as the platform's default, which is never.
ALTER TABLE tenant ADD COLUMN freeze_days int CHECK (freeze_days > 0);

CREATE TABLE cold_week (
    tenant int NOT NULL REFERENCES tenant,
    week timestamptz NOT NULL,                        -- the Monday on which it begins
    name text NOT NULL,                               -- of the file, within the cold store
    digest text NOT NULL,                             -- SHA-256 of the file, in hex
    samples bigint NOT NULL,
    bytes bigint NOT NULL,
    recorded timestamptz NOT NULL,                    -- the newest of all of the week's samples when it was frozen
    frozen timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, week)
);

-- Series that were taken out of a week's file again, for a change: what the file has of them no longer counts.
CREATE TABLE cold_thawed (
    tenant int NOT NULL REFERENCES tenant,
    week timestamptz NOT NULL,
    series bigint NOT NULL,
    PRIMARY KEY (tenant, week, series)
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['cold_week', 'cold_thawed'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I TO gemel_serve USING (tenant = current_tenant()) '
            'WITH CHECK (tenant = current_tenant())', t);
        EXECUTE format('CREATE POLICY operator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT ON %I TO gemel_serve', t);
    END LOOP;
END $$;
GRANT INSERT ON cold_thawed TO gemel_serve;
