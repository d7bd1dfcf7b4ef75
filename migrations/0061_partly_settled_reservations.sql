-- Room: Limits. Whether an event has settled a part of a reservation: what it holds says nothing then of what the call can come to.
-- Of those of before nobody knows.
ALTER TABLE reservation ADD COLUMN is_partly_settled boolean NOT NULL DEFAULT true;
ALTER TABLE reservation ALTER COLUMN is_partly_settled SET DEFAULT false;
