-- The lifecycle of twins, on both axes; and what a span needs for the twin to be shown as it was.

ALTER TABLE twin
    ADD COLUMN lifecycle text NOT NULL DEFAULT 'active'
        CHECK (lifecycle IN ('planned', 'commissioned', 'active', 'maintenance', 'decommissioned')),
    ADD COLUMN lifecycle_from timestamptz;            -- null: since the twin's start, wherever that moves

-- reason and actor are of the transition into the lifecycle, and stay with it from span to span.
ALTER TABLE twin_span
    ADD COLUMN lifecycle text NOT NULL DEFAULT 'active'
        CHECK (lifecycle IN ('planned', 'commissioned', 'active', 'maintenance', 'decommissioned')),
    ADD COLUMN components jsonb NOT NULL DEFAULT '{}',    -- as twin.components
    ADD COLUMN reason text,
    ADD COLUMN actor text;

-- Twins of one model have the same components. Those of a model that no twin has any more stay unknown.
UPDATE twin_span AS s SET components = known.components
FROM (SELECT DISTINCT ON (tenant, model_id) tenant, model_id, components FROM twin ORDER BY tenant, model_id)
    AS known
WHERE known.tenant = s.tenant AND known.model_id = s.model_id AND known.components <> '{}';
