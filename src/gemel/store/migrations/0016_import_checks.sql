-- Relationships that are written together name the same twins again and again: each twin is looked up once.
CREATE OR REPLACE FUNCTION check_twins_of_relationships() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    -- OFFSET 0 keeps these look-ups by key: a plan made for few rows also serves for many.
    IF EXISTS (
        SELECT FROM (SELECT tenant, source_no AS twin_no FROM new_rows
                     UNION SELECT tenant, target_no FROM new_rows) AS n
        WHERE NOT EXISTS (SELECT FROM twin AS t WHERE t.tenant = n.tenant AND t.twin_no = n.twin_no OFFSET 0))
    THEN
        RAISE foreign_key_violation USING MESSAGE = 'a relationship names a twin that is not there';
    END IF;
    RETURN NULL;
END $$;
