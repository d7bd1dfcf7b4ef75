-- Room: Limits. What an open reservation was asked for, and whom the credential attributed it to: one that is extended over
-- the end of a window is measured anew, to hold in the next one too. Forgotten when it closes.
ALTER TABLE reservation
    ADD COLUMN call text,
    ADD COLUMN client_id text,
    ADD COLUMN cost_center text,
    ADD CONSTRAINT reservation_call CHECK (status = 'held' OR (call IS NULL AND client_id IS NULL AND cost_center IS NULL));

-- For the busiest rows of a rate. Not over the arrival time, which every admission changes.
CREATE INDEX rate_state_by_limit ON rate_state (limit_id);
