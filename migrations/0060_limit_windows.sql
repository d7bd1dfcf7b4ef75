-- Room: Limits. Rows that were made by freeing a hold of nothing had an empty window. What never counted anything goes, and the
-- others end after a year, which is where the longest billing period does, so that nothing takes them for over before they are.
DELETE FROM limit_state
WHERE window_end <= window_start AND used = 0 AND held = 0 AND overshoot = 0 AND floored = 0
    AND thresholds_fired = '{}';
UPDATE limit_state
SET window_end = CASE WHEN window_start = '0001-01-01 00:00:00Z' THEN '9999-12-31 23:59:59.999999Z'
    ELSE window_start + interval '366 days' END
WHERE window_end <= window_start;
