-- Room: Catalog. The tenant's place in its ledger when a subscription was made: usage stored up to there counted in no limit of which the plan
-- tells what counts. Null for subscriptions of before, of which it is not known.
ALTER TABLE subscription ADD COLUMN counted_after_seq bigint;
