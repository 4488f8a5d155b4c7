-- Import and deletion jobs: what is asked, how far it is, and the log. How far a job is commits with what it wrote.
CREATE TABLE job (
    tenant int NOT NULL REFERENCES tenant,
    kind text NOT NULL CHECK (kind IN ('import', 'deletion')),
    job_id text NOT NULL,
    status text NOT NULL
        CHECK (status IN ('notstarted', 'running', 'failed', 'succeeded', 'cancelling', 'cancelled')),
    input_uri text,
    output_uri text,
    folder text NOT NULL,                             -- the tenant's own under GEMEL_JOBS_ROOT
    created timestamptz NOT NULL,
    last_action timestamptz NOT NULL,
    finished timestamptz,
    purge timestamptz NOT NULL,
    deadline timestamptz,                             -- a deletion that is not done by then has failed
    error jsonb,
    progress jsonb NOT NULL,                          -- its layout is jobs/progress.py
    actor text NOT NULL,
    key_id text,
    trace_id text NOT NULL,
    worker text,                                      -- who works on it, till the lease ends or is renewed
    lease_until timestamptz,
    PRIMARY KEY (tenant, kind, job_id)
);
-- A tenant has one job at a time.
CREATE UNIQUE INDEX job_active ON job (tenant) WHERE status IN ('notstarted', 'running', 'cancelling');

CREATE TABLE job_log (
    tenant int NOT NULL REFERENCES tenant,
    kind text NOT NULL,
    job_id text NOT NULL,
    log_no bigint NOT NULL,
    lines text NOT NULL,                              -- NDJSON, of one commit
    PRIMARY KEY (tenant, kind, job_id, log_no),
    FOREIGN KEY (tenant, kind, job_id) REFERENCES job ON DELETE CASCADE
);

DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['job', 'job_log']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I TO gemel_serve USING (tenant = current_tenant()) '
            'WITH CHECK (tenant = current_tenant())', t);
        EXECUTE format('CREATE POLICY operator ON %I TO CURRENT_USER USING (true) WITH CHECK (true)', t);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON job, job_log TO gemel_serve;
