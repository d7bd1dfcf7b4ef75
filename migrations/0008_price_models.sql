-- Room: Usage. What the price models need beside quantity and event count: the provider cost of the counted usage in
-- the plan's currency, for cost_plus. ledger_seq is the ledger sequence of the last event that changed the counter:
-- what was counted is what the tenant's events up to there give. Zero stands for a counter that the release before
-- wrote last.
ALTER TABLE usage_counter
    ADD COLUMN cost numeric(38,12) NOT NULL DEFAULT 0,
    ADD COLUMN ledger_seq bigint NOT NULL DEFAULT 0;
