-- Room: Limits. Whether the call of a reservation was asked for again: then it was given out, and is not taken back as one
-- whose caller was told that nothing is held.
ALTER TABLE reservation ADD COLUMN is_repeated boolean NOT NULL DEFAULT false;

-- Room: Webhooks. Nothing is looked up by it.
DROP INDEX webhook_delivery_waiting_age;
