-- Which history of the database this is, for the ids of the events it tells: in milliseconds when it began, so that
-- a later one sorts after it, and by chance. Migrating makes the row where there is none; a backup leaves it out, so
-- that what is restored goes on under another.
CREATE TABLE generation (
    tenant int NOT NULL DEFAULT 0 REFERENCES tenant CHECK (tenant = 0),  -- one row, for all
    generation text NOT NULL DEFAULT lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
        || left(translate(gen_random_uuid()::text, '-', ''), 12),
    PRIMARY KEY (tenant)
);
ALTER TABLE generation ENABLE ROW LEVEL SECURITY;
ALTER TABLE generation FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON generation FOR SELECT TO gemel_serve USING (true);
CREATE POLICY operator ON generation TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT ON generation TO gemel_serve;
