-- Room: Catalog. What providers charge, by provider, model, and class of tokens or other unit, from an instant on.
-- An entry never changes; its successor has a later start. One that a price set names is used, and stays.
-- created_version is the version of the shared catalogue that added it: usage rated at an earlier one does not know it.
ALTER TABLE catalog_version ADD COLUMN price_version bigint NOT NULL DEFAULT 0;

CREATE TABLE price_book (
    price_id uuid NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    component text NOT NULL,
    above_input_tokens bigint NOT NULL,
    unit_amount numeric(38,12) NOT NULL,
    currency text NOT NULL,
    effective_from timestamptz NOT NULL,
    source text NOT NULL,
    created_version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT price_book_pk PRIMARY KEY (price_id),
    CONSTRAINT price_book_unique UNIQUE (provider, model, component, above_input_tokens, effective_from),
    CONSTRAINT price_book_threshold CHECK (above_input_tokens >= 0),
    CONSTRAINT price_book_unit_amount CHECK (unit_amount >= 0)
);

-- The prices that a cost was computed with, each combination once. A reported one stands for what a trusted sender said.
CREATE SEQUENCE price_set_id_seq AS bigint;

CREATE TABLE price_set (
    price_set_id bigint NOT NULL,
    set_key text NOT NULL,
    currency text NOT NULL,
    is_reported boolean NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT price_set_pk PRIMARY KEY (price_set_id),
    CONSTRAINT price_set_key_unique UNIQUE (set_key)
);

CREATE TABLE price_set_entry (
    price_set_id bigint NOT NULL,
    price_id uuid NOT NULL,
    CONSTRAINT price_set_entry_pk PRIMARY KEY (price_set_id, price_id),
    CONSTRAINT price_set_entry_set_fk FOREIGN KEY (price_set_id) REFERENCES price_set (price_set_id),
    CONSTRAINT price_set_entry_price_fk FOREIGN KEY (price_id) REFERENCES price_book (price_id)
);
CREATE INDEX price_set_entry_by_price ON price_set_entry (price_id);

CREATE TABLE fx_rate (
    fx_rate_id uuid NOT NULL,
    from_currency text NOT NULL,
    to_currency text NOT NULL,
    rate numeric(38,12) NOT NULL,
    effective_from timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT fx_rate_pk PRIMARY KEY (fx_rate_id),
    CONSTRAINT fx_rate_unique UNIQUE (from_currency, to_currency, effective_from),
    CONSTRAINT fx_rate_positive CHECK (rate > 0),
    CONSTRAINT fx_rate_currencies CHECK (from_currency <> to_currency)
);

-- Room: Usage. provider_cost is what the provider charges for the event, in the currency of its price set; both are null
-- where there is no price. fx_rate_id is the rate to the tenant's currency, where that is another. An event that was
-- rated after it was stored says at which ledger sequence, and at which version of the shared catalogue.
ALTER TABLE usage_event
    ADD COLUMN provider_cost numeric(38,12),
    ADD COLUMN price_set_id bigint,
    ADD COLUMN fx_rate_id uuid,
    ADD COLUMN rated_ledger_seq bigint,
    ADD COLUMN rated_version bigint;

-- Usage of models that has no provider cost yet, by day of event time: `price` where the price book has none, `fx_rate`
-- where it can't be converted to the tenant's currency. attempted_version is the version of the price book that was
-- tried last.
CREATE TABLE unpriced_usage (
    tenant_id bigint NOT NULL,
    reason text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    day_start timestamptz NOT NULL,
    event_count bigint NOT NULL,
    input_tokens numeric(38,12) NOT NULL,
    output_tokens numeric(38,12) NOT NULL,
    attempted_version bigint NOT NULL,
    CONSTRAINT unpriced_usage_pk PRIMARY KEY (tenant_id, reason, provider, model, day_start),
    CONSTRAINT unpriced_usage_reason CHECK (reason IN ('price', 'fx_rate')),
    CONSTRAINT unpriced_usage_event_count CHECK (event_count >= 0)
);

ALTER TABLE unpriced_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE unpriced_usage FORCE ROW LEVEL SECURITY;
CREATE POLICY unpriced_usage_service ON unpriced_usage TO turnpike_service USING (true) WITH CHECK (true);
DO $$
BEGIN
    EXECUTE format('CREATE POLICY unpriced_usage_owner ON unpriced_usage TO %I USING (true) WITH CHECK (true)',
        current_user);
END
$$;
CREATE POLICY unpriced_usage_tenant ON unpriced_usage TO turnpike_tenant
    USING (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint)
    WITH CHECK (tenant_id = nullif(current_setting('turnpike.tenant_id', true), '')::bigint);

GRANT USAGE ON SEQUENCE price_set_id_seq TO turnpike_service;
GRANT SELECT, INSERT, DELETE ON price_book TO turnpike_service;
GRANT SELECT, INSERT ON price_set, price_set_entry TO turnpike_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON fx_rate, unpriced_usage TO turnpike_service;
GRANT UPDATE (provider_cost, price_set_id, fx_rate_id, rated_ledger_seq, rated_version) ON usage_event
    TO turnpike_service;
