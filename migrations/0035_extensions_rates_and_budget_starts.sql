-- Room: Limits, Catalog. What an open reservation was asked for, and whom the credential attributed it to: one that is extended over
-- the end of a window is measured anew, to hold in the next one too. Forgotten when it closes.
ALTER TABLE reservation
    ADD COLUMN call text,
    ADD COLUMN client_id text,
    ADD COLUMN cost_center text;

-- For the busiest rows of a rate. Not over the arrival time, which every admission changes.
CREATE INDEX rate_state_by_limit ON rate_state (limit_id);

-- From which usage on a budget counts, by the order in which usage was stored: after the tenant's ledger sequence, or where it
-- belongs to no tenant, since the version of the shared catalogue that it came with. Null for budgets of before, of which it
-- is not known.
ALTER TABLE budget
    ADD COLUMN counted_after_seq bigint,
    ADD COLUMN since_version bigint;
