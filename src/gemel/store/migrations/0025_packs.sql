-- Samples packed: a row a series would take a fifth of a commit's time and four fifths of its space. What is newer than
-- everything of its series lands in sample_head, a row for some neighbouring twins; from there it is packed by series.
-- Both hold plain numbers alone (revision 0, good quality); what is else, or late, or corrected, is a row of sample.

-- What one commit brought of the series of one bucket: eight twins with neighbouring numbers.
CREATE TABLE sample_head (
    tenant int NOT NULL DEFAULT current_tenant(),
    bucket bigint NOT NULL,                           -- series >> 23
    change_no bigint NOT NULL,                        -- that under which the feed is told of them, or of the first
    part int NOT NULL,                                -- counts its rows
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL,
    series bigint[] NOT NULL,
    source_times timestamptz[] NOT NULL,
    recorded_times timestamptz[] NOT NULL,
    nums double precision[] NOT NULL,
    kinds smallint[],                                 -- null where all are doubles
    PRIMARY KEY (tenant, bucket, change_no, part)
) PARTITION BY HASH (tenant);

-- Samples of one series and week, in the order of time. Packs of a series do not overlap.
CREATE TABLE sample_pack (
    tenant int NOT NULL REFERENCES tenant,
    series bigint NOT NULL,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL,
    source_times timestamptz[] NOT NULL,
    recorded_times timestamptz[] NOT NULL,
    nums double precision[] NOT NULL,
    kinds smallint[],
    PRIMARY KEY (tenant, series, first_time)
);

-- Rows are cut so that two fit a page; to compress them or put them elsewhere would cost more than to write them.
DO $$
DECLARE t text; c text;
BEGIN
    FOREACH t IN ARRAY ARRAY['sample_head', 'sample_pack'] LOOP
        FOREACH c IN ARRAY ARRAY['source_times', 'recorded_times', 'nums', 'kinds'] LOOP
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET STORAGE PLAIN', t, c);
        END LOOP;
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I TO gemel_serve USING (tenant = current_tenant()) '
            'WITH CHECK (tenant = current_tenant())', t);
        EXECUTE format('CREATE POLICY operator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON %I TO gemel_serve', t);
    END LOOP;
END $$;
ALTER TABLE sample_head ALTER COLUMN series SET STORAGE PLAIN;

-- COPY is refused on a table with row-level security: as of sample, it goes to a leaf, as gemel_copy, without the tenant.
CREATE TABLE sample_head_leaf PARTITION OF sample_head FOR VALUES WITH (MODULUS 1, REMAINDER 0)
    WITH (autovacuum_vacuum_scale_factor = 0.5, autovacuum_vacuum_threshold = 5000, vacuum_truncate = off);
GRANT INSERT (bucket, change_no, part, first_time, last_time, series, source_times, recorded_times, nums, kinds)
    ON sample_head_leaf TO gemel_copy;

-- Pages that stay: a plan made while the head is empty must not be one that reads all of it, for plans are kept.
INSERT INTO sample_head (tenant, bucket, change_no, part, first_time, last_time, series, source_times, recorded_times, nums)
SELECT 0, 0, 0, n, 'epoch', 'epoch', '{}', '{}', '{}', '{}' FROM generate_series(1, 2000) AS n;
DELETE FROM sample_head;
