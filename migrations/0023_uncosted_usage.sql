-- Room: Usage. How much of what a counter counts has no known provider cost: so many events, and the quantity of these
-- where the meter sums or counts. A price that follows the cost does not charge them yet, and invoices say so.
ALTER TABLE usage_counter
    ADD COLUMN uncosted_events bigint NOT NULL DEFAULT 0,
    ADD COLUMN uncosted_quantity numeric(38,12) NOT NULL DEFAULT 0;
