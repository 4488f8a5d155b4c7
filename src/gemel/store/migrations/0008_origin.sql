-- Who or what made each value so: every write has recorded times of its own, and by them its origin is found.

-- The recorded times that an act used, from the first to the last; null where it wrote none. Acts of a tenant
-- never overlap.
ALTER TABLE audit ADD COLUMN recorded_from timestamptz, ADD COLUMN recorded_to timestamptz;
CREATE INDEX audit_recorded ON audit (tenant, recorded_to) WHERE recorded_to IS NOT NULL;

-- One row for each request of events that left a value: its events have the recorded times from recorded_from
-- on, each its own.
CREATE TABLE origin (
    tenant int NOT NULL REFERENCES tenant,
    recorded_from timestamptz NOT NULL,
    recorded_to timestamptz NOT NULL,
    newest timestamptz NOT NULL,                      -- the newest source time of its values, for retention
    body bytea NOT NULL,                              -- MessagePack, deflated; its layout is history/origins.py
    PRIMARY KEY (tenant, recorded_to)
);
ALTER TABLE origin ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX origin_newest ON origin (tenant, newest);

ALTER TABLE origin ENABLE ROW LEVEL SECURITY;
ALTER TABLE origin FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON origin TO gemel_serve USING (tenant = current_tenant())
    WITH CHECK (tenant = current_tenant());
CREATE POLICY operator ON origin TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON origin TO gemel_serve;

-- Whether a value was behind its series' last when it came. It stands in what were bytes of padding.
ALTER TABLE sample ADD COLUMN late boolean NOT NULL DEFAULT false;
DO $$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT relid FROM pg_partition_tree('sample') WHERE isleaf AND level > 0
    LOOP
        EXECUTE format('GRANT INSERT (late) ON %s TO gemel_copy', leaf);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ensure_sample_week(week date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    leaf text := 'sample_' || to_char(week, 'YYYY_MM_DD');
BEGIN
    IF to_regclass(leaf) IS NOT NULL THEN RETURN; END IF;
    PERFORM pg_advisory_xact_lock(hashtext('gemel.sample_week'));
    -- Not to_regclass: waiting for the lock does not refresh what it looks names up in.
    IF EXISTS (SELECT FROM pg_class WHERE relname = leaf) THEN RETURN; END IF;
    IF extract(isodow FROM week) <> 1 THEN RAISE EXCEPTION 'week % does not start on a Monday', week; END IF;
    EXECUTE format('CREATE TABLE %I (LIKE sample INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES, '
        'CONSTRAINT week CHECK (source_time >= %L AND source_time < %L)) '
        'WITH (autovacuum_vacuum_insert_scale_factor = 0.2)',
        leaf, week::timestamp AT TIME ZONE 'UTC', (week + 7)::timestamp AT TIME ZONE 'UTC');
    EXECUTE format('ALTER TABLE sample ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        leaf, week::timestamp AT TIME ZONE 'UTC', (week + 7)::timestamp AT TIME ZONE 'UTC');
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT week', leaf);
    EXECUTE format('GRANT INSERT (series, source_time, recorded, num, revision, quality, kind, doc, late) '
        'ON %I TO gemel_copy', leaf);
EXCEPTION WHEN invalid_object_definition THEN
    RETURN;  -- before the retention line, where one leaf holds what was kept: nothing is written there
END
$$;
