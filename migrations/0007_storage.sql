-- Storage parameters stand apart: they change speed, never meaning. Rows that are updated in place leave room
-- on their page, and only key columns are indexed, so that updates stay heap-only.
ALTER TABLE tenant_ledger SET (fillfactor = 70);
ALTER TABLE usage_counter SET (fillfactor = 70);
ALTER TABLE usage_distinct SET (fillfactor = 70);
ALTER TABLE limit_state SET (fillfactor = 70);
