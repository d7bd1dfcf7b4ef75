-- Room: Catalog. A budget may stand in place of another one for one value of what that counts apart: a default for everybody is
-- raised or lowered for one tenant or user. Which one it overrides never changes.
ALTER TABLE budget
    ADD COLUMN overrides text,
    ADD COLUMN overridden_limit_id bigint,
    ADD CONSTRAINT budget_overrides CHECK ((overrides IS NULL) = (overridden_limit_id IS NULL));
CREATE INDEX budget_overriding ON budget (tenant_id, overridden_limit_id, limit_id)
    WHERE overridden_limit_id IS NOT NULL AND archived_at IS NULL;
