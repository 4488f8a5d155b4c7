-- What refers to what in the graph is checked once for each statement and not row by row: the look-ups and row
-- locks of foreign keys were a large part of what the database spends on an import. The locks said nothing more:
-- whoever writes a graph holds the tenant's head, so that nobody else takes twins or models away meanwhile.

ALTER TABLE relationship DROP CONSTRAINT relationship_tenant_source_no_fkey;
ALTER TABLE relationship DROP CONSTRAINT relationship_tenant_target_no_fkey;
ALTER TABLE twin DROP CONSTRAINT twin_tenant_model_id_fkey;

CREATE FUNCTION check_twins_of_relationships() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    -- OFFSET 0 keeps these look-ups by key: a plan made for few rows also serves for many.
    IF EXISTS (
        SELECT FROM new_rows AS n
        WHERE NOT EXISTS (SELECT FROM twin AS t WHERE t.tenant = n.tenant AND t.twin_no = n.source_no OFFSET 0)
           OR NOT EXISTS (SELECT FROM twin AS t WHERE t.tenant = n.tenant AND t.twin_no = n.target_no OFFSET 0))
    THEN
        RAISE foreign_key_violation USING MESSAGE = 'a relationship names a twin that is not there';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER twins_exist_insert AFTER INSERT ON relationship REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION check_twins_of_relationships();
CREATE TRIGGER twins_exist_update AFTER UPDATE ON relationship REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION check_twins_of_relationships();

CREATE FUNCTION check_relationships_of_twins() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF EXISTS (
        SELECT FROM old_rows AS o
        WHERE EXISTS (SELECT FROM relationship AS r
                      WHERE r.tenant = o.tenant AND r.source_no = o.twin_no OFFSET 0)
           OR EXISTS (SELECT FROM relationship AS r
                      WHERE r.tenant = o.tenant AND r.target_no = o.twin_no OFFSET 0))
    THEN
        RAISE foreign_key_violation USING MESSAGE = 'a twin is taken away that has relationships';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER no_relationships AFTER DELETE ON twin REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION check_relationships_of_twins();

CREATE FUNCTION check_models_of_twins() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT tenant, model_id FROM new_rows) AS n
        WHERE NOT EXISTS (SELECT FROM model AS m WHERE m.tenant = n.tenant AND m.model_id = n.model_id OFFSET 0))
    THEN
        RAISE foreign_key_violation USING MESSAGE = 'a twin names a model that is not there';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER models_exist AFTER INSERT ON twin REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION check_models_of_twins();

CREATE FUNCTION check_changed_twin() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF (NEW.tenant, NEW.twin_no) <> (OLD.tenant, OLD.twin_no) THEN
        RAISE foreign_key_violation USING MESSAGE = 'the number of a twin never changes';
    END IF;
    IF NOT EXISTS (SELECT FROM model AS m WHERE m.tenant = NEW.tenant AND m.model_id = NEW.model_id) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a twin names a model that is not there';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER changed_twin AFTER UPDATE ON twin FOR EACH ROW
    WHEN ((NEW.tenant, NEW.twin_no, NEW.model_id) IS DISTINCT FROM (OLD.tenant, OLD.twin_no, OLD.model_id))
    EXECUTE FUNCTION check_changed_twin();

CREATE FUNCTION check_twins_of_models() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    IF EXISTS (
        SELECT FROM old_rows AS o
        WHERE EXISTS (SELECT FROM twin AS t WHERE t.tenant = o.tenant AND t.model_id = o.model_id OFFSET 0)
          AND NOT EXISTS (SELECT FROM model AS m
                          WHERE m.tenant = o.tenant AND m.model_id = o.model_id OFFSET 0))
    THEN
        RAISE foreign_key_violation USING MESSAGE = 'a model is taken away that has twins';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER no_twins_delete AFTER DELETE ON model REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION check_twins_of_models();
CREATE TRIGGER no_twins_update AFTER UPDATE ON model REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION check_twins_of_models();
