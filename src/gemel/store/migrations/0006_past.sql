-- What reads of the past need beside the spans.

-- Each time that a twin's row was written anew, and since when that is so: at a moment, the twin's entity tag is
-- of the last of them, or of its creation. A trigger writes it, so that no write of a row forgets it, but where
-- the write itself told of it: a transition of lifecycle may be so since earlier.
CREATE TABLE twin_stamp (
    tenant int NOT NULL REFERENCES tenant,
    twin_no bigint NOT NULL,
    recorded timestamptz NOT NULL,
    valid_from timestamptz NOT NULL,
    PRIMARY KEY (tenant, twin_no, recorded)
);
INSERT INTO twin_stamp SELECT tenant, twin_no, recorded, recorded FROM twin WHERE recorded > created;

CREATE FUNCTION stamp_twins() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    INSERT INTO twin_stamp (tenant, twin_no, recorded, valid_from)
    SELECT n.tenant, n.twin_no, n.recorded, n.recorded
    FROM new_rows AS n JOIN old_rows AS o USING (tenant, twin_no) WHERE n.recorded <> o.recorded
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER stamp_twins AFTER UPDATE ON twin REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION stamp_twins();

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
