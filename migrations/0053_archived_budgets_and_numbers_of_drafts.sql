-- Room: Catalog. A tenant's budgets in force are read without those that it has archived.
CREATE INDEX budget_in_force ON budget (tenant_id, limit_id) WHERE archived_at IS NULL;

-- The number of the last draft, so that none is given out again when a draft is deleted.
ALTER TABLE plan ADD COLUMN last_version integer NOT NULL DEFAULT 0;
UPDATE plan
SET last_version = made.version
FROM (SELECT plan_id, max(version) AS version FROM plan_version GROUP BY plan_id) AS made
WHERE made.plan_id = plan.plan_id;

-- A draft that is deleted is looked for here.
CREATE INDEX subscription_by_plan_version ON subscription (plan_version_id);
CREATE INDEX subscription_segment_by_plan_version ON subscription_segment (plan_version_id);
