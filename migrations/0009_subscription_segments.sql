-- Room: Catalog. A change of plan splits the subscription, and with it the anchored period it falls in, into segments;
-- it ends neither. A tenant may have its own prices in a segment and its own quotas beside the plan's.

-- What a subscription is billed by from `starts_at` on, until the next segment starts. Ordinals count from 0 without a
-- gap. `overrides` stands in place of what the plan version says, in the form of its definition. A segment is never
-- changed; one that has not started and has no usage may be deleted.
CREATE TABLE subscription_segment (
    tenant_id bigint NOT NULL,
    subscription_id uuid NOT NULL,
    ordinal integer NOT NULL,
    plan_version_id bigint NOT NULL,
    starts_at timestamptz NOT NULL,
    overrides jsonb,
    created_at timestamptz NOT NULL,
    CONSTRAINT subscription_segment_pk PRIMARY KEY (tenant_id, subscription_id, ordinal),
    CONSTRAINT subscription_segment_start_unique UNIQUE (tenant_id, subscription_id, starts_at),
    CONSTRAINT subscription_segment_subscription_fk FOREIGN KEY (tenant_id, subscription_id)
        REFERENCES subscription (tenant_id, subscription_id),
    CONSTRAINT subscription_segment_plan_version_fk FOREIGN KEY (plan_version_id)
        REFERENCES plan_version (plan_version_id),
    CONSTRAINT subscription_segment_ordinal CHECK (ordinal >= 0)
);

INSERT INTO subscription_segment (tenant_id, subscription_id, ordinal, plan_version_id, starts_at, created_at)
SELECT tenant_id, subscription_id, 0, plan_version_id, starts_at, created_at
FROM subscription;

-- What a tenant has in place of its plan's quota, or beside its plan's quotas. `mode` and `overage` are the plan's where
-- they are null. One that was removed stays, inactive, so that its revision never repeats.
CREATE TABLE quota_override (
    tenant_id bigint NOT NULL,
    feature_id bigint NOT NULL,
    window_kind text NOT NULL,
    amount numeric(38,12) NOT NULL,
    mode text,
    overage text,
    active boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT quota_override_pk PRIMARY KEY (tenant_id, feature_id, window_kind),
    CONSTRAINT quota_override_tenant_fk FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id),
    CONSTRAINT quota_override_feature_fk FOREIGN KEY (feature_id) REFERENCES feature (feature_id),
    CONSTRAINT quota_override_window CHECK (
        window_kind IN ('minute', 'hour', 'day', 'week', 'month', 'billing_period', 'lifetime')
    ),
    CONSTRAINT quota_override_mode CHECK (mode IN ('hard', 'soft')),
    CONSTRAINT quota_override_overage CHECK (overage IN ('denied', 'allowed')),
    CONSTRAINT quota_override_amount CHECK (amount >= 0)
);

-- Each segment that sees usage in an anchored period has a row of its own, with the bounds of the whole period. Index -1
-- is the trial, which ends at the anchor.
ALTER TABLE billing_period
    ADD COLUMN segment integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT billing_period_segment CHECK (segment >= 0),
    DROP CONSTRAINT billing_period_unique,
    ADD CONSTRAINT billing_period_unique UNIQUE (tenant_id, subscription_id, period_index, segment);

-- A counter's `charge` is what its segment adds to those before it. `running_quantity` is the period's quantity through
-- the segment; null where no segment but this one has any, so that it is the quantity itself.
ALTER TABLE usage_counter ADD COLUMN running_quantity numeric(38,12);

GRANT SELECT, INSERT, DELETE ON subscription_segment TO turnpike_service;
GRANT SELECT, INSERT, UPDATE ON quota_override TO turnpike_service;
GRANT SELECT ON subscription_segment, quota_override TO turnpike_tenant;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['subscription_segment', 'quota_override'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', owned);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', owned);
        EXECUTE format('CREATE POLICY %I ON %I TO turnpike_service USING (true) WITH CHECK (true)',
            owned || '_service', owned);
        EXECUTE format('CREATE POLICY %I ON %I TO %I USING (true) WITH CHECK (true)',
            owned || '_owner', owned, current_user);
        EXECUTE format('CREATE POLICY %I ON %I TO turnpike_tenant '
            'USING (tenant_id = nullif(current_setting(''turnpike.tenant_id'', true), '''')::bigint) '
            'WITH CHECK (tenant_id = nullif(current_setting(''turnpike.tenant_id'', true), '''')::bigint)',
            owned || '_tenant', owned);
    END LOOP;
END
$$;
