-- Room: Limits. A quota of a plan becomes one usage_limit row per subscribed tenant; what is used in a window
-- is one limit_state row, made on first use. A new window is a new row; nothing is ever reset.

CREATE SEQUENCE limit_id_seq AS bigint;

CREATE TABLE usage_limit (
    tenant_id bigint NOT NULL,
    limit_id bigint NOT NULL,
    feature_id bigint NOT NULL,
    window_kind text NOT NULL,
    amount numeric(38,12) NOT NULL,
    mode text NOT NULL,
    overage text NOT NULL,
    revision bigint NOT NULL,
    active boolean NOT NULL,
    counted_from timestamptz,
    CONSTRAINT usage_limit_pk PRIMARY KEY (tenant_id, limit_id),
    CONSTRAINT usage_limit_identity UNIQUE (tenant_id, feature_id, window_kind),
    CONSTRAINT usage_limit_tenant_fk FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id),
    CONSTRAINT usage_limit_feature_fk FOREIGN KEY (feature_id) REFERENCES feature (feature_id),
    CONSTRAINT usage_limit_window CHECK (
        window_kind IN ('minute', 'hour', 'day', 'week', 'month', 'billing_period', 'lifetime')
    ),
    CONSTRAINT usage_limit_mode CHECK (mode IN ('hard', 'soft')),
    CONSTRAINT usage_limit_overage CHECK (overage IN ('denied', 'allowed')),
    CONSTRAINT usage_limit_amount CHECK (amount >= 0)
);

CREATE TABLE limit_state (
    tenant_id bigint NOT NULL,
    limit_id bigint NOT NULL,
    scope_value text NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    used numeric(38,12) NOT NULL,
    held numeric(38,12) NOT NULL,
    overshoot numeric(38,12) NOT NULL,
    limit_amount numeric(38,12) NOT NULL,
    limit_revision bigint NOT NULL,
    CONSTRAINT limit_state_pk PRIMARY KEY (tenant_id, limit_id, scope_value, window_start),
    CONSTRAINT limit_state_limit_fk FOREIGN KEY (tenant_id, limit_id) REFERENCES usage_limit (tenant_id, limit_id),
    CONSTRAINT limit_state_held CHECK (held >= 0)
);

GRANT USAGE ON SEQUENCE limit_id_seq TO turnpike_service;
GRANT SELECT, INSERT, UPDATE ON usage_limit, limit_state TO turnpike_service;
GRANT SELECT ON usage_limit, limit_state TO turnpike_tenant;
