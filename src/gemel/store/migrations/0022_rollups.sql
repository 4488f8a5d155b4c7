-- Roll-ups of samples by minute, hour and day: what history of long ranges is read from.

-- Source times before `rolled` were folded; who writes a sample before `rolling` marks it as stale. Between the two a
-- fold is at work. Null: nothing was folded yet.
ALTER TABLE tenant_head ADD COLUMN rolling timestamptz, ADD COLUMN rolled timestamptz;

-- A bucket that is not here is read from samples: it has too few of them, or a number that is too great to be summed up.
CREATE TABLE rollup (
    tenant int NOT NULL REFERENCES tenant,
    series bigint NOT NULL,
    minutes smallint NOT NULL,                        -- 1, 60 or 1440
    bucket timestamptz NOT NULL,                      -- when it starts, aligned to 1970
    samples bigint NOT NULL,                          -- not of bad quality, and no removals
    numbers bigint NOT NULL,                          -- those among them that are numbers
    total double precision,
    low double precision,
    high double precision,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL,
    PRIMARY KEY (tenant, series, minutes, bucket)
);

-- Days of series of which a sample before `rolling` was written, replaced or deleted since they were folded. Series -1
-- stands for all. The mark is the recorded time (µs) of the latest such write.
CREATE TABLE rollup_stale (
    tenant int NOT NULL REFERENCES tenant,
    series bigint NOT NULL,
    day timestamptz NOT NULL,
    mark bigint NOT NULL,
    PRIMARY KEY (tenant, series, day)
);
CREATE INDEX rollup_stale_day ON rollup_stale (tenant, day, series);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['rollup', 'rollup_stale'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I TO gemel_serve USING (tenant = current_tenant()) '
            'WITH CHECK (tenant = current_tenant())', t);
        EXECUTE format('CREATE POLICY operator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT ON %I TO gemel_serve', t);
    END LOOP;
END $$;
GRANT INSERT, UPDATE ON rollup_stale TO gemel_serve;
