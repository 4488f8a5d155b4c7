-- The audit trail by action. In byte order, so that a prefix is a range: LIKE is not leakproof, and row-level
-- security keeps what is not leakproof out of an index.
CREATE INDEX audit_by_action ON audit (tenant, action COLLATE "C", audit_no);
