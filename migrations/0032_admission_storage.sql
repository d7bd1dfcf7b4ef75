-- Storage parameters stand apart, see 0007.
ALTER TABLE rate_state SET (fillfactor = 70);
