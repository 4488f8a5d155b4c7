-- Where an event in quarantine stood in what it was read from: topic, partition and offset, say.
ALTER TABLE quarantine ADD COLUMN position text;

-- Notifications that their receiver refused for good, or that somebody skipped, kept to be sent again by hand.
CREATE TABLE dead_letter (
    tenant int NOT NULL REFERENCES tenant,
    letter_no bigint GENERATED ALWAYS AS IDENTITY,
    route_id text NOT NULL,
    event_id text NOT NULL,                           -- the event's own: with its route, it is there once
    twin text NOT NULL,                               -- whom it tells of: what orders a log by key
    event bytea NOT NULL,                             -- the CloudEvent as it was sent
    error text NOT NULL,                              -- what the receiver said last
    tries int NOT NULL,                               -- how often it was sent, replays included
    died timestamptz NOT NULL,
    tried timestamptz,                                -- the last replay
    PRIMARY KEY (tenant, letter_no),
    UNIQUE (tenant, route_id, event_id),
    FOREIGN KEY (tenant, route_id) REFERENCES event_route ON DELETE CASCADE
);
ALTER TABLE dead_letter ENABLE ROW LEVEL SECURITY;
ALTER TABLE dead_letter FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON dead_letter TO gemel_serve USING (tenant = current_tenant())
    WITH CHECK (tenant = current_tenant());
CREATE POLICY operator ON dead_letter TO CURRENT_USER USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON dead_letter TO gemel_serve;
