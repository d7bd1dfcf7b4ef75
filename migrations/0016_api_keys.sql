-- Room: Identity. What a key is narrowed to and whom its usage is attributed to, its rotation, and when it was used.
-- A release before this one knows no narrowing, so keys are narrowed only once it is gone.
ALTER TABLE api_key
    ADD COLUMN models text[],
    ADD COLUMN features text[],
    ADD COLUMN data_classes text[],
    ADD COLUMN cost_center text,
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD COLUMN last_used_at timestamptz,
    ADD COLUMN previous_secret_hash bytea,
    ADD COLUMN previous_secret_expires_at timestamptz,
    ADD CONSTRAINT api_key_previous_secret CHECK (
        (previous_secret_hash IS NULL) = (previous_secret_expires_at IS NULL)
        AND (previous_secret_hash IS NULL OR octet_length(previous_secret_hash) = 32)
    );
