-- Room: Usage. The raw log (append-only, by month of event time), its deduplication, the counters, and the
-- events whose subject named no tenant.

-- Identity of an event is (tenant, source, id): event_key is 128 bits of SHA-256 over both. This table is not
-- partitioned, because a key must be unique over all time.
CREATE TABLE event_dedup (
    tenant_id bigint NOT NULL,
    event_key uuid NOT NULL,
    content_hash bigint NOT NULL,
    event_time timestamptz NOT NULL,
    CONSTRAINT event_dedup_pk PRIMARY KEY (tenant_id, event_key)
);

CREATE TABLE usage_event (
    tenant_id bigint NOT NULL,
    ledger_seq bigint NOT NULL,
    event_time timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    event_key uuid NOT NULL,
    reversal_of uuid,
    catalog_version bigint NOT NULL,
    input_tokens bigint,
    cached_input_tokens bigint,
    cache_write_tokens bigint,
    output_tokens bigint,
    reasoning_tokens bigint,
    cost numeric(38,12),
    source text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    subject text NOT NULL,
    provider text,
    model text,
    end_user text,
    feature text,
    cost_center text,
    request_id text,
    data jsonb,
    extensions jsonb,
    CONSTRAINT usage_event_pk PRIMARY KEY (tenant_id, event_time, ledger_seq)
) PARTITION BY RANGE (event_time);

-- The service does not own the table, so it asks this function for a month's partition. It makes nothing else.
CREATE FUNCTION ensure_usage_event_partition(month_start date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    first_day date := date_trunc('month', month_start)::date;
    partition_name text := 'usage_event_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF to_regclass('public.' || partition_name) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('ensure_usage_event_partition', 0));
    -- The table itself is asked: to_regclass would answer from this session's cache, which the wait did not refresh.
    IF EXISTS (
        SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = partition_name
    ) THEN
        RETURN false;
    END IF;
    -- Made apart and attached: that lets readers and writers of the log go on, which CREATE TABLE ... PARTITION OF
    -- would make wait.
    EXECUTE format('CREATE TABLE public.%I (LIKE public.usage_event INCLUDING ALL)', partition_name);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', partition_name);
    EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', partition_name);
    EXECUTE format(
        'ALTER TABLE public.usage_event ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        partition_name,
        first_day::text || ' 00:00:00+00',
        (first_day + interval '1 month')::date::text || ' 00:00:00+00'
    );
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION ensure_usage_event_partition(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_usage_event_partition(date) TO turnpike_service;

-- What a feature counted in a billing period. `quantity` is the value of its aggregation, `charge` the unrounded
-- charge of that quantity (12 digits) under the plan, both written by the transaction that changed them.
-- The `winner_` columns say which event a `max` or `latest` shows.
CREATE TABLE usage_counter (
    tenant_id bigint NOT NULL,
    billing_period_id bigint NOT NULL,
    feature_id bigint NOT NULL,
    cell text NOT NULL,
    quantity numeric(38,12) NOT NULL,
    event_count bigint NOT NULL,
    charge numeric(38,12) NOT NULL,
    winner_time timestamptz,
    winner_id text,
    winner_key uuid,
    CONSTRAINT usage_counter_pk PRIMARY KEY (tenant_id, billing_period_id, feature_id, cell),
    CONSTRAINT usage_counter_period_fk FOREIGN KEY (tenant_id, billing_period_id)
        REFERENCES billing_period (tenant_id, billing_period_id),
    CONSTRAINT usage_counter_feature_fk FOREIGN KEY (feature_id) REFERENCES feature (feature_id),
    CONSTRAINT usage_counter_event_count CHECK (event_count >= 0)
);

-- One row per distinct value that a unique_count feature saw in a period, with how many events carry it.
CREATE TABLE usage_distinct (
    tenant_id bigint NOT NULL,
    billing_period_id bigint NOT NULL,
    feature_id bigint NOT NULL,
    cell text NOT NULL,
    value_key uuid NOT NULL,
    reference_count bigint NOT NULL,
    CONSTRAINT usage_distinct_pk PRIMARY KEY (tenant_id, billing_period_id, feature_id, cell, value_key),
    CONSTRAINT usage_distinct_period_fk FOREIGN KEY (tenant_id, billing_period_id)
        REFERENCES billing_period (tenant_id, billing_period_id),
    CONSTRAINT usage_distinct_references CHECK (reference_count >= 0)
);

-- Events whose subject named nobody. Their key covers the subject too; they belong to tenant 0 until replayed. `event`
-- keeps its text as it was accepted: jsonb would write it longer, perhaps beyond what is accepted when it is replayed.
CREATE TABLE unmatched_event (
    tenant_id bigint NOT NULL,
    event_key uuid NOT NULL,
    content_hash bigint NOT NULL,
    received_at timestamptz NOT NULL,
    event_time timestamptz NOT NULL,
    time_given boolean NOT NULL,
    subject text NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    event json NOT NULL,
    replayed_at timestamptz,
    replayed_tenant_id bigint,
    CONSTRAINT unmatched_event_pk PRIMARY KEY (tenant_id, event_key)
);
CREATE INDEX unmatched_event_waiting ON unmatched_event (tenant_id, subject, event_key) WHERE replayed_at IS NULL;

GRANT SELECT, INSERT ON event_dedup, usage_event TO turnpike_service;
GRANT SELECT, INSERT, UPDATE ON usage_counter, usage_distinct, unmatched_event TO turnpike_service;
GRANT SELECT ON usage_event, usage_counter TO turnpike_tenant;
