-- Event routes: where notifications can go, and which go there.

-- A receiver of notifications. What is secret of it is encrypted under the data directory's key.
CREATE TABLE endpoint (
    tenant int NOT NULL REFERENCES tenant,
    name text NOT NULL,
    kind text NOT NULL,
    settings jsonb NOT NULL,                          -- what may be shown: url, whether signed, names of headers
    sealed bytea,                                     -- signing secret and values of headers
    created timestamptz NOT NULL,
    changed timestamptz NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- A route and how far its delivery is: all changes up to change_no are dealt with, and of the one after it the
-- notifications that begin before position.
CREATE TABLE event_route (
    tenant int NOT NULL REFERENCES tenant,
    route_id text NOT NULL,
    endpoint text NOT NULL,
    filter text NOT NULL,
    created timestamptz NOT NULL,
    change_no bigint NOT NULL,
    position int NOT NULL DEFAULT 0,
    delivered bigint NOT NULL DEFAULT 0,              -- notifications that the endpoint acknowledged
    delivered_at timestamptz,
    failures int NOT NULL DEFAULT 0,                  -- in a row
    failing_since timestamptz,
    next_try timestamptz,
    error text,
    stopped text,                                     -- why it is not tried again by itself
    PRIMARY KEY (tenant, route_id),
    FOREIGN KEY (tenant, endpoint) REFERENCES endpoint
);
CREATE INDEX event_route_endpoint ON event_route (tenant, endpoint);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['endpoint', 'event_route']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I TO gemel_serve USING (tenant = current_tenant()) '
            'WITH CHECK (tenant = current_tenant())', t);
        EXECUTE format('CREATE POLICY operator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
    END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON endpoint, event_route TO gemel_serve;
