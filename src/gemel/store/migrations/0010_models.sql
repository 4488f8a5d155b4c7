-- What became of each model: its changelog, and from when it should no longer be used.
ALTER TABLE model
    ADD COLUMN deprecated timestamptz,      -- from then on new twins should be of another model
    ADD COLUMN removal timestamptz,         -- when it is meant to be gone
    ADD COLUMN successor text;              -- the model to use in its place

-- Without a reference to model: what happened is kept when the model is deleted.
CREATE TABLE model_log (
    tenant int NOT NULL REFERENCES tenant,
    model_id text NOT NULL,
    log_no bigint GENERATED ALWAYS AS IDENTITY,
    recorded timestamptz NOT NULL,
    actor text,
    kind text NOT NULL,
    note text NOT NULL DEFAULT '',
    changes jsonb NOT NULL DEFAULT '[]',    -- beside the version before: what gemel.models.diff found
    PRIMARY KEY (tenant, model_id, log_no)
);
ALTER TABLE model_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE model_log FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON model_log TO gemel_serve USING (tenant = current_tenant())
    WITH CHECK (tenant = current_tenant());
CREATE POLICY operator ON model_log TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON model_log TO gemel_serve;
