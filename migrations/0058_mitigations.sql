-- Room: Catalog. What operators, for a time, have admission refuse: calls within a scope, and why. `ended_at` is written once,
-- when a mitigation is lifted or, by a worker, when its time is over; it is `expires_at` then. A reference table: it is part of
-- the shared catalogue, and no tenant may read what operators note of it.
CREATE TABLE mitigation (
    mitigation_id uuid NOT NULL,
    scope jsonb NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    lift_reason text,
    CONSTRAINT mitigation_pk PRIMARY KEY (mitigation_id),
    CONSTRAINT mitigation_times CHECK (created_at < expires_at AND ended_at <= expires_at)
);
CREATE INDEX mitigation_open ON mitigation (expires_at) WHERE ended_at IS NULL;
CREATE INDEX mitigation_of_tenant ON mitigation ((scope ->> 'tenant'), mitigation_id);

GRANT SELECT, INSERT, UPDATE ON mitigation TO turnpike_service;
