-- Room: TurnpikeServer. What the service was started with last of the settings by which stored data is made or judged, so
-- that commands beside it go by the same. A reference table for the operator alone, without secrets. An empty value is a
-- setting that was not given.
CREATE TABLE service_setting (
    name text NOT NULL,
    value text NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT service_setting_pk PRIMARY KEY (name)
);
GRANT SELECT, INSERT, UPDATE ON service_setting TO turnpike_service;
