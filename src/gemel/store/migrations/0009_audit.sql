-- A refused call's row has an id of its own, so that one whose writing was interrupted can be written again and
-- is there once. With the time before it, so that the newest stand together at the end of the index.
ALTER TABLE audit ADD COLUMN refusal uuid;
CREATE UNIQUE INDEX audit_refusal ON audit (tenant, at, refusal) WHERE refusal IS NOT NULL;
