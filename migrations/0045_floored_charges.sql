-- Room: Limits. What a limit counts of charges falls no lower than zero: by how much it would have fallen lower. What is used less that is what
-- was charged in all. Usage that is voided whose charge was below zero gives that back first.
ALTER TABLE limit_state ADD COLUMN floored numeric(38,12) NOT NULL DEFAULT 0;
