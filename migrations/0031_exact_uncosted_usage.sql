-- Room: Usage. Whether a counter notes all of its events without a known provider cost. Those that were made before this,
-- by releases that noted none or some, may miss a few: what they note is at most what there is.
ALTER TABLE usage_counter ADD COLUMN uncosted_exact boolean NOT NULL DEFAULT false;
