-- Quarantine as a workbench: where an event broke its rule, and which mapping made it; how long one waits.
ALTER TABLE quarantine
    ADD COLUMN place text,                            -- JSON Pointer of the offending part of raw, where known
    ADD COLUMN mapping text;                          -- label of the mapping that made the event, where one did
CREATE INDEX quarantine_code ON quarantine (tenant, code, quarantine_no);
CREATE INDEX quarantine_received ON quarantine (tenant, received);

-- After how many days an event is given up; a tenant without a row keeps them for ever.
CREATE TABLE quarantine_expiry (
    tenant int NOT NULL REFERENCES tenant,
    days int NOT NULL CHECK (days > 0),
    PRIMARY KEY (tenant)
);
ALTER TABLE quarantine_expiry ENABLE ROW LEVEL SECURITY;
ALTER TABLE quarantine_expiry FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON quarantine_expiry TO gemel_serve USING (tenant = current_tenant())
    WITH CHECK (tenant = current_tenant());
CREATE POLICY operator ON quarantine_expiry TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantine_expiry TO gemel_serve;
