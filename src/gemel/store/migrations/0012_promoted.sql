-- Paths whose present values are indexed, so that a query finds its twins without looking at all of them.
-- In the head, which every writer reads anyway: who writes a sample knows whether its path is promoted.
ALTER TABLE tenant_head ADD COLUMN promoted int[] NOT NULL DEFAULT '{}';

-- Narrow rows beside latest: an index on latest itself would cost every write of every path, and an operator on
-- jsonb is kept from its index by row-level security.
CREATE TABLE promoted_value (
    tenant int NOT NULL REFERENCES tenant,
    path_no int NOT NULL,
    twin_no bigint NOT NULL,
    num double precision,                   -- a number, whole ones beyond 2^53 rounded
    text text COLLATE "C",                  -- a text, or the first 500 characters of it
    flag boolean,
    PRIMARY KEY (tenant, path_no, twin_no)
);
CREATE INDEX promoted_num ON promoted_value (tenant, path_no, num, twin_no) WHERE num IS NOT NULL;
CREATE INDEX promoted_text ON promoted_value (tenant, path_no, text, twin_no) WHERE text IS NOT NULL;
CREATE INDEX promoted_flag ON promoted_value (tenant, path_no, flag, twin_no) WHERE flag IS NOT NULL;

ALTER TABLE promoted_value ENABLE ROW LEVEL SECURITY;
ALTER TABLE promoted_value FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON promoted_value TO gemel_serve USING (tenant = current_tenant())
    WITH CHECK (tenant = current_tenant());
CREATE POLICY operator ON promoted_value TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON promoted_value TO gemel_serve;
