-- Room: Catalog. Reference tables (no tenant_id of their own rows) are: subject_directory, meter, feature,
-- plan, plan_version, catalog_version. Everything else belongs to a tenant.

CREATE SEQUENCE tenant_id_seq AS bigint;
CREATE SEQUENCE meter_id_seq AS bigint;
CREATE SEQUENCE feature_id_seq AS bigint;
CREATE SEQUENCE plan_id_seq AS bigint;
CREATE SEQUENCE plan_version_id_seq AS bigint;
CREATE SEQUENCE billing_period_id_seq AS bigint;

-- One row: the version of the shared catalogue (meters, features, plans). Usage is stored with the version
-- that metered it, so that a rebuild from raw events meters it the same way.
CREATE TABLE catalog_version (
    singleton boolean NOT NULL DEFAULT true,
    version bigint NOT NULL,
    CONSTRAINT catalog_version_pk PRIMARY KEY (singleton),
    CONSTRAINT catalog_version_single CHECK (singleton)
);
INSERT INTO catalog_version (version) VALUES (1);

CREATE TABLE tenant (
    tenant_id bigint NOT NULL,
    key text NOT NULL,
    name text NOT NULL,
    currency text NOT NULL,
    timezone text NOT NULL,
    cost_center text,
    billing_email text,
    metadata jsonb NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT tenant_pk PRIMARY KEY (tenant_id),
    CONSTRAINT tenant_status CHECK (status IN ('active', 'suspended'))
);

-- Which tenant a key or a registered subject names. A reference table, because a subject must be unique
-- over all tenants and is looked up before the tenant is known.
CREATE TABLE subject_directory (
    subject text NOT NULL,
    tenant_id bigint NOT NULL,
    is_key boolean NOT NULL,
    CONSTRAINT subject_directory_pk PRIMARY KEY (subject)
);
CREATE INDEX subject_directory_by_tenant ON subject_directory (tenant_id, subject);
CREATE INDEX subject_directory_keys ON subject_directory (subject) WHERE is_key;

CREATE TABLE meter (
    meter_id bigint NOT NULL,
    key text NOT NULL,
    name text NOT NULL,
    event_type text NOT NULL,
    aggregation text NOT NULL,
    definition jsonb NOT NULL,
    created_version bigint NOT NULL,
    archived_version bigint,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT meter_pk PRIMARY KEY (meter_id),
    CONSTRAINT meter_key_unique UNIQUE (key),
    CONSTRAINT meter_aggregation CHECK (aggregation IN ('sum', 'count', 'max', 'latest', 'unique_count'))
);

CREATE TABLE feature (
    feature_id bigint NOT NULL,
    key text NOT NULL,
    name text NOT NULL,
    meter_id bigint NOT NULL,
    filters jsonb NOT NULL,
    unit text NOT NULL,
    created_version bigint NOT NULL,
    archived_version bigint,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT feature_pk PRIMARY KEY (feature_id),
    CONSTRAINT feature_key_unique UNIQUE (key),
    CONSTRAINT feature_meter_fk FOREIGN KEY (meter_id) REFERENCES meter (meter_id)
);

CREATE TABLE plan (
    plan_id bigint NOT NULL,
    key text NOT NULL,
    name text NOT NULL,
    currency text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT plan_pk PRIMARY KEY (plan_id),
    CONSTRAINT plan_key_unique UNIQUE (key)
);

CREATE TABLE plan_version (
    plan_version_id bigint NOT NULL,
    plan_id bigint NOT NULL,
    version integer NOT NULL,
    status text NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    published_at timestamptz,
    revision bigint NOT NULL,
    CONSTRAINT plan_version_pk PRIMARY KEY (plan_version_id),
    CONSTRAINT plan_version_unique UNIQUE (plan_id, version),
    CONSTRAINT plan_version_plan_fk FOREIGN KEY (plan_id) REFERENCES plan (plan_id),
    CONSTRAINT plan_version_status CHECK (status IN ('draft', 'published')),
    CONSTRAINT plan_version_published CHECK ((status = 'published') = (published_at IS NOT NULL))
);

-- Every transaction that changes or freezes a tenant's usage locks its row first. ledger_seq orders the
-- tenant's usage by commit; catalog_version rises with every change of the tenant's subjects,
-- subscriptions or limits, so a stale snapshot is noticed inside the transaction.
CREATE TABLE tenant_ledger (
    tenant_id bigint NOT NULL,
    ledger_seq bigint NOT NULL,
    catalog_version bigint NOT NULL,
    CONSTRAINT tenant_ledger_pk PRIMARY KEY (tenant_id)
);

-- A subscription cancelled before it started ends where it starts, and covers nothing. limits_due_at is when it next
-- changes which of the tenant's limits are in force: its start, then its end.
CREATE TABLE subscription (
    tenant_id bigint NOT NULL,
    subscription_id uuid NOT NULL,
    plan_version_id bigint NOT NULL,
    timezone text NOT NULL,
    anchor timestamptz NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz,
    limits_due_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT subscription_pk PRIMARY KEY (tenant_id, subscription_id),
    CONSTRAINT subscription_tenant_fk FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id),
    CONSTRAINT subscription_plan_version_fk FOREIGN KEY (plan_version_id) REFERENCES plan_version (plan_version_id),
    CONSTRAINT subscription_order CHECK (ends_at IS NULL OR ends_at >= starts_at),
    CONSTRAINT subscription_no_overlap EXCLUDE USING gist (
        tenant_id WITH =, tstzrange(starts_at, ends_at, '[)') WITH &&
    )
);
CREATE INDEX subscription_by_id ON subscription (subscription_id);
CREATE INDEX subscription_limits_due ON subscription (limits_due_at) WHERE limits_due_at IS NOT NULL;

CREATE TABLE billing_period (
    tenant_id bigint NOT NULL,
    billing_period_id bigint NOT NULL,
    subscription_id uuid NOT NULL,
    period_index integer NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    status text NOT NULL,
    CONSTRAINT billing_period_pk PRIMARY KEY (tenant_id, billing_period_id),
    CONSTRAINT billing_period_unique UNIQUE (tenant_id, subscription_id, period_index),
    CONSTRAINT billing_period_subscription_fk FOREIGN KEY (tenant_id, subscription_id)
        REFERENCES subscription (tenant_id, subscription_id),
    CONSTRAINT billing_period_order CHECK (ends_at > starts_at),
    CONSTRAINT billing_period_status CHECK (status IN ('open', 'final'))
);

GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO turnpike_service;
GRANT SELECT, UPDATE ON catalog_version TO turnpike_service;
GRANT SELECT, INSERT, UPDATE ON tenant, meter, feature, plan, plan_version, tenant_ledger, subscription,
    billing_period TO turnpike_service;
GRANT SELECT, INSERT, DELETE ON subject_directory TO turnpike_service;
GRANT DELETE ON meter, feature, plan_version TO turnpike_service;
GRANT SELECT ON tenant, subject_directory, meter, feature, plan, plan_version, tenant_ledger, subscription,
    billing_period, catalog_version TO turnpike_tenant;
