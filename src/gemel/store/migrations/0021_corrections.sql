-- Deleting and replacing samples: what was done, and which series have keys that were deleted.

-- One row for each deletion or replacement of a range of one twin's samples; `paths` are those that had samples there.
CREATE TABLE correction (
    tenant int NOT NULL REFERENCES tenant,
    twin_no bigint NOT NULL,
    recorded timestamptz NOT NULL,
    action text NOT NULL CHECK (action IN ('deleted', 'replaced')),
    paths text[] NOT NULL,
    valid_from timestamptz NOT NULL,                  -- the source times from here up to but without valid_to
    valid_to timestamptz NOT NULL,
    deleted bigint NOT NULL,                          -- samples that lost their keys
    added bigint NOT NULL,                            -- samples that came in their place
    reason text NOT NULL,
    actor text NOT NULL,
    PRIMARY KEY (tenant, twin_no, recorded)
);

-- The stretch of source times of a series within which keys were deleted: what arrives there is looked up among the
-- superseded, so that what was deleted does not come back. Elsewhere nothing is looked up.
CREATE TABLE sample_gap (
    tenant int NOT NULL REFERENCES tenant,
    series bigint NOT NULL,
    low timestamptz NOT NULL,
    high timestamptz NOT NULL,                        -- inclusive
    PRIMARY KEY (tenant, series)
);

-- Of a value that was deleted: whether the first one for its key came late. Else null: it is said by what holds the key.
ALTER TABLE sample_superseded ADD COLUMN late boolean;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['correction', 'sample_gap'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I TO gemel_serve USING (tenant = current_tenant()) '
            'WITH CHECK (tenant = current_tenant())', t);
        EXECUTE format('CREATE POLICY operator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO gemel_serve', t);
    END LOOP;
END $$;
GRANT UPDATE ON sample_gap TO gemel_serve;
