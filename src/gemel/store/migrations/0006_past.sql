-- What reads of the past need beside the spans.

-- When a twin's row was written anew: by a put, a change of model or of lifecycle. From valid_from on the twin's
-- entity tag is of `recorded` at least; of its creation it is always.
CREATE TABLE twin_stamp (
    tenant int NOT NULL REFERENCES tenant,
    twin_no bigint NOT NULL,
    recorded timestamptz NOT NULL,
    valid_from timestamptz NOT NULL,
    PRIMARY KEY (tenant, twin_no, recorded)
);
INSERT INTO twin_stamp SELECT tenant, twin_no, recorded, recorded FROM twin WHERE recorded > created;

-- The last samples of twins that were deleted, moved here from latest: both together have every series there is
-- or was.
CREATE TABLE latest_ended (LIKE latest INCLUDING DEFAULTS INCLUDING INDEXES);
INSERT INTO latest_ended (tenant, series, source_time, recorded, num, kind, doc, revision, quality)
SELECT DISTINCT ON (s.tenant, s.series)
    s.tenant, s.series, s.source_time, s.recorded, s.num, s.kind, s.doc, s.revision, s.quality
FROM sample AS s
WHERE NOT EXISTS (SELECT FROM latest AS l WHERE l.tenant = s.tenant AND l.series = s.series)
ORDER BY s.tenant, s.series, s.source_time DESC;

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['twin_stamp', 'latest_ended'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I TO gemel_serve USING (tenant = current_tenant()) '
            'WITH CHECK (tenant = current_tenant())', t);
        EXECUTE format('CREATE POLICY operator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO gemel_serve', t);
    END LOOP;
END $$;
