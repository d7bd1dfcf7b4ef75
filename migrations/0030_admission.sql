-- Room: Limits. What admission holds of limits until usage settles it, how fast rates are used, spend caps in force, and
-- which thresholds of a window have fired.

-- Percentages of the amount whose alert was raised, or need not be, under the revision in force.
ALTER TABLE limit_state ADD COLUMN thresholds_fired numeric(38,12)[] NOT NULL DEFAULT '{}';

-- One row for each call that was admitted and holds something of a limit. `admission_key` is 128 bits of SHA-256 over
-- source and id, as an event has it: it makes admissions idempotent.
CREATE TABLE reservation (
    tenant_id bigint NOT NULL,
    reservation_id uuid NOT NULL,
    admission_key uuid NOT NULL,
    content_hash bigint NOT NULL,
    source text NOT NULL,
    admission_id text NOT NULL,
    event_type text NOT NULL,
    subject text NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    suspense_ends_at timestamptz NOT NULL,
    closed_at timestamptz,
    max_output_tokens bigint,
    model text,
    feature text,
    data_class text,
    CONSTRAINT reservation_pk PRIMARY KEY (tenant_id, reservation_id),
    CONSTRAINT reservation_identity UNIQUE (tenant_id, admission_key),
    CONSTRAINT reservation_tenant_fk FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id),
    CONSTRAINT reservation_status CHECK (status IN ('held', 'settled', 'released', 'expired')),
    CONSTRAINT reservation_closing CHECK ((status = 'held') = (closed_at IS NULL)),
    CONSTRAINT reservation_times CHECK (expires_at <= suspense_ends_at)
);
CREATE INDEX reservation_by_id ON reservation (reservation_id);
CREATE INDEX reservation_open ON reservation (suspense_ends_at) WHERE status = 'held';
CREATE INDEX reservation_closed ON reservation (closed_at) WHERE status <> 'held';

-- What an open reservation still holds: so much of one row of `limit_state`, which may be the operator's (tenant 0).
CREATE TABLE reservation_hold (
    tenant_id bigint NOT NULL,
    reservation_id uuid NOT NULL,
    limit_tenant_id bigint NOT NULL,
    limit_id bigint NOT NULL,
    scope_value text NOT NULL,
    window_start timestamptz NOT NULL,
    amount numeric(38,12) NOT NULL,
    CONSTRAINT reservation_hold_pk PRIMARY KEY (
        tenant_id, reservation_id, limit_tenant_id, limit_id, scope_value, window_start
    ),
    CONSTRAINT reservation_hold_reservation_fk FOREIGN KEY (tenant_id, reservation_id)
        REFERENCES reservation (tenant_id, reservation_id) ON DELETE CASCADE,
    CONSTRAINT reservation_hold_amount CHECK (amount >= 0)
);

-- The theoretical arrival time of a rate limit's next unit, in microseconds since 1970.
CREATE TABLE rate_state (
    tenant_id bigint NOT NULL,
    limit_id bigint NOT NULL,
    scope_value text NOT NULL,
    arrival numeric(38,12) NOT NULL,
    CONSTRAINT rate_state_pk PRIMARY KEY (tenant_id, limit_id, scope_value)
);

-- The spend cap of the plan in force, as a limit: one for a tenant, kept with what was used when the plan changes.
CREATE TABLE spend_cap (
    tenant_id bigint NOT NULL,
    limit_id bigint NOT NULL,
    amount numeric(38,12) NOT NULL,
    mode text NOT NULL,
    revision bigint NOT NULL,
    active boolean NOT NULL,
    counted_from timestamptz NOT NULL,
    CONSTRAINT spend_cap_pk PRIMARY KEY (tenant_id, limit_id),
    CONSTRAINT spend_cap_identity UNIQUE (tenant_id),
    CONSTRAINT spend_cap_tenant_fk FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id),
    CONSTRAINT spend_cap_mode CHECK (mode IN ('hard', 'soft')),
    CONSTRAINT spend_cap_amount CHECK (amount >= 0)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON reservation, reservation_hold TO turnpike_service;
GRANT SELECT, INSERT, UPDATE ON rate_state, spend_cap TO turnpike_service;
GRANT SELECT ON reservation, reservation_hold, rate_state, spend_cap TO turnpike_tenant;

DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['reservation', 'reservation_hold', 'rate_state', 'spend_cap'] LOOP
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
