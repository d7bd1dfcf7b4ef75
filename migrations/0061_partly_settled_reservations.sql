-- Room: Limits. Whether an event has settled a part of a reservation: what it holds says nothing then of what the call can come to.
ALTER TABLE reservation ADD COLUMN is_partly_settled boolean NOT NULL DEFAULT false;
